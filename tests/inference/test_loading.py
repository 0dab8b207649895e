import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from blockskim.answering.answerer import QuestionAnswerer
from blockskim.data.examples import Example
from blockskim.data.windows import make_windows
from blockskim.errors import ConfigError, ModelError
from blockskim.inference.loading import load, load_tokenizer, shipped_model
from blockskim.inference.runner import run_windows
from blockskim.model.modeling import BlockSkimForQuestionAnswering
from tiny_answerers import TEXT, answerer, dense_for, new_model, save_model, save_plain
from tiny_models import new_dense_model
from tiny_tokenizers import KINDS, fixed_tokenizer

every_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A model directory. Copy it to change it."""
    return save_model(tmp_path_factory.mktemp("stored"))


@pytest.fixture
def directory(stored, tmp_path):
    """A model directory that a test may spoil."""
    return shutil.copytree(stored, tmp_path / "model")


@every_kind
def test_a_stored_model_answers_as_before(kind, tmp_path):
    qa = QuestionAnswerer(save_model(tmp_path, kind), dtype="float32", device="cpu")
    assert qa("Who?", TEXT, top_k=3) == answerer(kind)("Who?", TEXT, top_k=3)


@every_kind
def test_a_plain_checkpoint_answers_and_skips_nothing(kind, tmp_path):
    qa = QuestionAnswerer(str(save_plain(tmp_path, kind)), dtype="float32", device="cpu")
    assert not qa.loaded.skims
    found = qa("Who?", TEXT, return_trace=True)
    trace = found.pop("trace")
    assert trace.flops == trace.dense_flops
    expected = answerer(kind)("Who?", TEXT, dense=True)
    assert found == {**expected, "score": pytest.approx(expected["score"], rel=1e-4)}
    assert qa("Who?", TEXT, threshold=0.0)["answer"] == found["answer"]
    with pytest.raises(ConfigError, match="needs a Block-Skim model"):
        qa("Who?", TEXT, threshold=0.5)


def test_a_model_knows_itself_whether_its_predictors_are_trained(directory):
    model = BlockSkimForQuestionAnswering.from_backbone(dense_for("wordpiece"))
    qa = QuestionAnswerer(model, fixed_tokenizer("wordpiece"))
    assert not qa.loaded.skims
    assert qa("Who?", TEXT)["answer"]
    with pytest.raises(ConfigError, match="predictors"):
        qa("Who?", TEXT, threshold=0.5)
    model.has_trained_predictors = True
    assert qa.loaded.skims
    qa("Who?", TEXT, threshold=0.5)
    # Directories of earlier versions say nothing of it, and were written after training.
    path = directory / "config.json"
    stored = json.loads(path.read_text())
    assert stored.pop("trained_predictors") is True
    path.write_text(json.dumps(stored))
    assert load(directory, "cpu", "float32").skims
    path.write_text(json.dumps({**stored, "trained_predictors": False}))
    loaded = load(directory, "cpu", "float32")
    assert not loaded.skims
    with pytest.raises(ConfigError, match="never trained"):
        next(iter(run_windows(loaded.model, make_windows([Example("1", "Who?", TEXT)], loaded.tokenizer))))


def test_half_precision_weights_are_converted(directory):
    weights = directory / "model.safetensors"
    halved = {name: value.half() if value.is_floating_point() else value for name, value in load_file(weights).items()}
    save_file(halved, weights, metadata={"format": "pt"})
    loaded = load(directory, device="cpu", dtype="float32")
    assert {value.dtype for value in loaded.model.parameters()} == {torch.float32}
    assert load(directory, device="cpu", dtype="bfloat16").model.dtype == torch.bfloat16
    assert not loaded.model.training


def test_threads_are_set():
    before = torch.get_num_threads()
    try:
        QuestionAnswerer(new_model(), fixed_tokenizer("wordpiece"), threads=1)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
    with pytest.raises(ConfigError, match="threads is 0"):
        load("anything", threads=0)


def test_threads_stay_as_they_are_unless_asked_for(stored, monkeypatch):
    def never(_count):
        raise AssertionError("nobody asked for it")

    monkeypatch.setattr(torch, "set_num_threads", never)
    QuestionAnswerer(new_model(), fixed_tokenizer("wordpiece"))("Who?", TEXT)
    QuestionAnswerer(stored, device="cpu")("Who?", TEXT)
    load(stored)


def remove(name):
    def spoil(directory):
        (directory / name).unlink()

    return spoil


def pickled(directory):
    (directory / "model.safetensors").rename(directory / "pytorch_model.bin")


def without_head(directory):
    path = directory / "model.safetensors"
    save_file({name: value for name, value in load_file(path).items() if "qa_outputs" not in name}, path)


def cut_off(directory):
    path = directory / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])


def rewritten(**values):
    def spoil(directory):
        path = directory / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))

    return spoil


def another_size(directory):
    path = directory / "config.json"
    stored = json.loads(path.read_text())
    stored["encoder_config"]["intermediate_size"] += 1
    path.write_text(json.dumps(stored))


def more_tokens(directory):
    tokenizer = load_tokenizer(directory)
    tokenizer.add_tokens(["[MORE]"])
    tokenizer.save_pretrained(directory)


def pickled_shards(directory):
    (directory / "model.safetensors").rename(directory / "model-00001.safetensors")
    (directory / "pytorch_model.bin").write_bytes(b"never read")
    index = {"weight_map": {"qa_outputs.bias": "pytorch_model.bin"}}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))


def broken_config(directory):
    (directory / "config.json").write_text("{")


def broken_tokenizer(directory):
    (directory / "tokenizer.json").write_text("{}")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (remove("tokenizer.json"), "has no tokenizer.json"),
        (remove("model.safetensors"), "has no weights"),
        (remove("config.json"), "has no config.json"),
        (pickled, "only pytorch_model.bin, a pickle file"),
        (without_head, "the weights lack 'qa_outputs.bias'"),
        (cut_off, "model"),
        (broken_config, "config"),
        (broken_tokenizer, "the tokenizer of .* can't be loaded"),
        (another_size, r"the weight '.*' has the shape \(\d+.*\), but config.json calls for \("),
        (more_tokens, "the tokenizer has ids up to .* embeddings for"),
        (pickled_shards, "index.json names 'pytorch_model.bin'; weights are read from files that end in .safetensors"),
        (rewritten(model_type="t5"), "'t5' are not supported; supported are"),
        (rewritten(skim={"block_size": 7}), "block_size is 7"),
        (rewritten(skim={"bloc_size": 8}), "unknown skim setting"),
    ],
)
def test_a_directory_that_is_not_whole_is_told_of_in_a_line(directory, spoil, message):
    spoil(directory)
    with pytest.raises(ModelError, match=message) as caught:
        load(directory, device="cpu")
    assert "\n" not in str(caught.value)


def test_an_encoder_without_a_head_can_not_answer(tmp_path):
    new_dense_model("bert").base_model.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="without a question-answering head; train one on it: blockskim train"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("./nowhere", "no such model directory"),
        ("nowhere", "no such model directory"),
        ("someone/nothing", "there is no such directory, and as a hub id it can't be loaded"),
        (__file__, "is a file"),
    ],
)
def test_a_model_that_is_not_there_is_told_of_in_a_line(name, message):
    with pytest.raises(ModelError, match=message) as caught:
        load(name)
    assert "\n" not in str(caught.value)


def test_devices_and_formats_are_checked(stored):
    with pytest.raises(ConfigError, match="device is"):
        load(stored, device="abacus")
    with pytest.raises(ConfigError, match="dtype is"):
        load(stored, dtype="int3")


def test_without_a_shipped_model_another_is_asked_for(monkeypatch, tmp_path):
    monkeypatch.setattr("blockskim.inference.loading.resources.files", lambda _: tmp_path)
    with pytest.raises(ModelError, match="comes without a model"):
        load()
    (tmp_path / "default_model").mkdir()
    (tmp_path / "default_model" / "config.json").write_text("{}")
    assert shipped_model() == tmp_path / "default_model"


def test_a_tokenizer_of_a_model_directory(stored):
    assert load_tokenizer(stored).is_fast
