import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from blockskim import QuestionAnswerer
from blockskim.data.examples import Example
from blockskim.data.windows import make_windows
from blockskim.errors import ConfigError, ModelError
from blockskim.inference.loading import load, load_tokenizer
from blockskim.inference.runner import run_windows
from blockskim.inference.shipped import shipped_model
from blockskim.model.modeling import BlockSkimForQuestionAnswering
from tiny_answerers import TEXT, answerer, dense_for, new_model, save_model, save_plain
from tiny_models import make_batch, new_dense_model, new_skim_model
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


@pytest.mark.parametrize("save", [save_model, save_plain])
def test_weights_loaded_in_inference_mode_are_as_any_others(save, tmp_path):
    """PyTorch keeps account of their changes, and they can be trained."""
    directory = save(tmp_path / "model")
    with torch.inference_mode():
        models = [load(directory, "cpu", "float32").model]
        made = BlockSkimForQuestionAnswering.from_pretrained if save is save_model else None
        models.append((made or BlockSkimForQuestionAnswering.from_backbone)(directory, dtype=torch.bfloat16))
    assert not any(weight.is_inference() for model in models for weight in model.parameters())


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


def not_finite(value):
    def spoil(directory):
        path = directory / "model.safetensors"
        weights = load_file(path)
        weights["encoder.embeddings.LayerNorm.bias"][3] = value
        save_file(weights, path, metadata={"format": "pt"})

    return spoil


def broken_config(directory):
    (directory / "config.json").write_text("{")


def broken_tokenizer(directory):
    (directory / "tokenizer.json").write_text("{}")


def empty_vocabulary(directory):
    path = directory / "tokenizer.json"
    values = json.loads(path.read_text())
    values["model"]["vocab"] = {}
    path.write_text(json.dumps(values))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (remove("tokenizer.json"), "has no tokenizer.json"),
        (remove("model.safetensors"), "has no weights"),
        (remove("config.json"), "has no config.json"),
        (pickled, "only pytorch_model.bin, a pickle file"),
        (without_head, "the weights lack 'qa_outputs.bias'"),
        (cut_off, "model.safetensors is damaged"),
        (not_finite(float("nan")), "'encoder.embeddings.LayerNorm.bias' holds NaN or infinity in bfloat16|float32"),
        (not_finite(float("inf")), "'encoder.embeddings.LayerNorm.bias' holds NaN or infinity in bfloat16|float32"),
        (broken_config, "config"),
        (rewritten(num_labels=10**9), "config.json: num_labels is 1000000000"),
        (broken_tokenizer, "the tokenizer of .* can't be loaded"),
        (empty_vocabulary, "the tokenizer of .* can't be loaded: .*vocabulary"),
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
        ("nowhere", "there is no such directory, and as a hub id it can't be loaded"),
        ("x" * 300, "no such model directory; the name has 300 characters"),
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
    monkeypatch.setattr("blockskim.inference.shipped.resources.files", lambda _: tmp_path)
    with pytest.raises(ModelError, match="comes without a model"):
        load()
    (tmp_path / "default_model").mkdir()
    (tmp_path / "default_model" / "config.json").write_text("{}")
    assert shipped_model() == tmp_path / "default_model"


def test_a_tokenizer_of_a_model_directory(stored):
    assert load_tokenizer(stored).is_fast


@pytest.mark.parametrize("owner", ["", "some--"])
@pytest.mark.parametrize("subfolder", [None, "inner"])
def test_hub_ids_with_and_without_an_owner_and_their_revisions(owner, subfolder, stored, tmp_path):
    commits = {"main": "a" * 40, "second": "b" * 40}
    cached = tmp_path / f"models--{owner}tiny-qa"
    (cached / "refs").mkdir(parents=True)
    for revision, commit in commits.items():
        (cached / "refs" / revision).write_text(commit)
        folder = shutil.copytree(stored, cached / "snapshots" / commit / (subfolder or ""))
        path = folder / "config.json"
        values = json.loads(path.read_text())
        values["skim"]["thresholds"] = {"main": 0.25, "second": 0.75}[revision]
        path.write_text(json.dumps(values))
    name = f"{owner}tiny-qa".replace("--", "/")
    hub = {"cache_dir": str(tmp_path), **({} if subfolder is None else {"subfolder": subfolder})}
    assert set(load(name, "cpu", "float32", **hub).model.thresholds) == {0.25}
    assert set(QuestionAnswerer(name, dtype="float32", revision="second", **hub).model.thresholds) == {0.75}
    assert BlockSkimForQuestionAnswering.from_pretrained(name, revision="second", **hub).thresholds[0] == 0.75
    BlockSkimForQuestionAnswering.from_pretrained(name, local_files_only=True, **hub)
    assert load_tokenizer(name, **hub).is_fast
    with pytest.raises(ModelError, match="there is no such directory, and as a hub id it can't be loaded"):
        load(name, revision="third", **hub)


def test_a_subfolder_of_a_directory(stored, tmp_path):
    shutil.copytree(stored, tmp_path / "deep")
    assert load(tmp_path, "cpu", subfolder="deep").skims
    with pytest.raises(ModelError, match="no such model directory"):
        load(tmp_path, subfolder="deeper")


def test_arguments_that_no_hub_takes_are_refused(stored):
    with pytest.raises(ConfigError, match="unknown argument 'revison'"):
        load(stored, revison="main")
    with pytest.raises(ConfigError, match="unknown argument 'revison'"):
        QuestionAnswerer(new_model(), fixed_tokenizer("wordpiece"), revison="main")


def compiled_and_parallel(model):
    return torch.compile(torch.nn.DataParallel(model))


@pytest.mark.parametrize("wrap", [torch.compile, torch.nn.DataParallel, compiled_and_parallel])
def test_wrapped_models_answer_as_the_model_inside(wrap):
    qa = QuestionAnswerer(wrap(new_model()), fixed_tokenizer("wordpiece"))
    assert qa("Who?", TEXT) == answerer()("Who?", TEXT)


def test_models_of_transformers_are_refused_by_name():
    with pytest.raises(ConfigError, match=r"the model is a BertForQuestionAnswering; it must be .*from_backbone"):
        QuestionAnswerer(new_dense_model("bert"), fixed_tokenizer("wordpiece"))


def test_resized_embeddings_are_saved_and_loaded(tmp_path):
    tokenizer = load_tokenizer(save_model(tmp_path / "before"))
    tokenizer.add_tokens(["harrowford"])
    for name, part in (("whole", lambda model: model), ("encoder", lambda model: model.encoder)):
        model = new_model()
        part(model).resize_token_embeddings(len(tokenizer), mean_resizing=False)
        model.save_pretrained(tmp_path / name)
        tokenizer.save_pretrained(tmp_path / name)
        stored = json.loads((tmp_path / name / "config.json").read_text())
        assert stored["encoder_config"]["vocab_size"] == len(tokenizer)
        assert "vocab_size" not in stored
        again = load(tmp_path / name, "cpu", "float32").model
        assert again.get_input_embeddings().weight.equal(model.get_input_embeddings().weight)
        BlockSkimForQuestionAnswering.from_backbone(again)


@pytest.mark.parametrize("inputs", [("match",), ("question", "hidden"), ("tiles",)])
@pytest.mark.filterwarnings("ignore")
def test_quantised_linear_layers_answer_nearly_as_before(inputs):
    model = new_skim_model("bert", inputs, "context", 8)
    batch = make_batch("bert", [(4, 60), (5, 30)])
    expected = model.skim(**batch.inputs, thresholds=0.0, score_all_layers=True)
    quantised = torch.ao.quantization.quantize_dynamic(model, {torch.nn.Linear}, dtype=torch.qint8)
    found = quantised.skim(**batch.inputs, thresholds=0.0, score_all_layers=True)
    real = batch.real
    assert (found.start_logits - expected.start_logits)[real].abs().max() < 0.5
    assert np.nanmax(np.abs(found.trace.probabilities - expected.trace.probabilities)) < 0.3
    assert quantised(**batch.inputs).start_logits[real].allclose(found.start_logits[real], atol=0.2)
