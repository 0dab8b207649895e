"""Which engine answers, and that both give the same answers, traces and pages."""

import re

import numpy as np
import pytest

from blockskim import QuestionAnswerer
from blockskim.answering import backend_choice
from blockskim.answering.backend_choice import choose_exported
from blockskim.answering.model_choice import ModelChoice
from blockskim.errors import ConfigError, ModelError
from blockskim.exporting.exported_model import ExportedModel
from blockskim.inference.loading import LoadedModel
from hashing_backend import HashingBackend
from tiny_answerers import TEXT, answerer, new_model, save_model
from tiny_exports import exported_answerer
from tiny_tokenizers import fixed_tokenizer, tokenizer, word_piece

QUESTIONS = ["Where is the nest?", "Who counted them?", "What is red?", "When were there 2,500 nests?"]
LONG = " ".join(f"{TEXT} The kite number {number} eats at {number + 3}." for number in range(8))
WAYS = [{}, {"dense": True}, {"threshold": 0.5}, {"threshold": [0.2, 0.8]}, {"point": "fast"}, {"threshold": 1.0}]
every_way = pytest.mark.parametrize("way", WAYS, ids=str)
KINDS = ("wordpiece", pytest.param("bytes", marks=pytest.mark.slow))


@pytest.fixture(scope="module", params=KINDS)
def pair(request):
    """An answerer of each engine, of the same directory."""
    directory = exported_answerer(request.param).directory
    return tuple(
        QuestionAnswerer(directory, backend=backend, device="cpu", dtype="float32") for backend in ("torch", "onnx")
    )


@pytest.fixture(scope="module")
def plain_directory(tmp_path_factory):
    """A model directory that was not exported."""
    return save_model(tmp_path_factory.mktemp("plain") / "model")


@pytest.fixture
def directory():
    return exported_answerer().directory


def same(found, expected):
    assert len(found) == len(expected)
    for one, two in zip(found, expected, strict=True):
        assert one["score"] == pytest.approx(two["score"], abs=1e-4)
        assert {**one, "score": None, "trace": None} == {**two, "score": None, "trace": None}


def same_trace(found, expected):
    for name in ("question", "context", "document", "layers", "kept_by_layer", "flops", "dense_flops"):
        assert getattr(found, name) == getattr(expected, name), name
    assert [span[:2] for span in found.spans] == [span[:2] for span in expected.spans]
    for one, two in zip(found.windows, expected.windows, strict=True):
        assert (one.start, one.end, one.tokens) == (two.start, two.end, two.tokens)
        for mine, other in zip(one.blocks, two.blocks, strict=True):
            assert (mine.start, mine.end, mine.dropped_in) == (other.start, other.end, other.dropped_in)
            np.testing.assert_allclose(mine.probabilities, other.probabilities, rtol=0, atol=1e-5)


def page(trace):
    """The page without what it says of time, and without the last digit of probabilities."""
    return re.sub(r"\d+\.\d+ s|(?<=\.\d)\d+", "", trace.to_html())


@pytest.mark.slow
@every_way
@pytest.mark.parametrize("length", [60, pytest.param(384, marks=pytest.mark.slow)])
def test_both_engines_answer_alike(pair, way, length):
    torch, onnx = pair
    settings = {
        "top_k": 3,
        "max_seq_len": min(length, torch.model.position_limit),
        "doc_stride": 20,
        "return_trace": True,
    }
    for question in QUESTIONS:
        expected, found = (engine(question, LONG, **settings, **way) for engine in (torch, onnx))
        same(found, expected)
        same_trace(found[0]["trace"], expected[0]["trace"])
        assert page(found[0]["trace"]) == page(expected[0]["trace"])


@pytest.mark.slow
@every_way
def test_both_engines_search_alike(pair, way):
    documents = {"short": TEXT, "long": LONG, "blank": " ", "other": "A man from Cardiff says it is red."}
    expected, found = (engine.search(QUESTIONS, documents, top_k=4, max_seq_len=80, **way) for engine in pair)
    for one, two in zip(found, expected, strict=True):
        assert one.question == two.question
        same(one.answers, two.answers)
        for mine, other in zip(one.traces, two.traces, strict=True):
            same_trace(mine, other)


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [1, 2, 32])
def test_batches_are_no_matter(pair, batch_size):
    _, onnx = pair
    expected = onnx(QUESTIONS, LONG, max_seq_len=60, threshold=0.9)
    same(onnx(QUESTIONS, LONG, max_seq_len=60, threshold=0.9, batch_size=batch_size), expected)


def test_the_directory_of_an_exported_model_is_known_by_itself(directory, plain_directory):
    qa = QuestionAnswerer(directory, device="cpu")
    assert isinstance(qa.model, ExportedModel)
    assert qa.model.threads >= 1
    same([qa(QUESTIONS[0], TEXT)], [answerer()(QUESTIONS[0], TEXT)])
    assert isinstance(QuestionAnswerer(str(directory), threads=3).model, ExportedModel)
    assert QuestionAnswerer(directory, threads=3).model.threads == 3
    assert isinstance(QuestionAnswerer(plain_directory).loaded, LoadedModel)
    assert isinstance(QuestionAnswerer(directory, backend="torch").loaded, LoadedModel)
    assert isinstance(QuestionAnswerer(directory, dtype="float32").model, ExportedModel)


@pytest.mark.parametrize(
    "given",
    [
        {"device": "cuda"},
        {"dtype": "bfloat16"},
        {"dtype": "float16"},
        {"backend": "torch"},
    ],
    ids=str,
)
def test_what_only_pytorch_has_is_left_to_it(directory, given):
    assert choose_exported(ModelChoice(name=directory, **given)) is None


@pytest.mark.parametrize("backend", ["auto", "onnx"])
@pytest.mark.parametrize("given", [{"revision": "main"}, {"local_files_only": True}, {"cache_dir": "none"}], ids=str)
def test_arguments_for_the_hub_change_nothing_of_a_directory(directory, given, backend):
    assert choose_exported(ModelChoice(name=directory, device="cpu", backend=backend), given) == directory


def test_a_subfolder_of_a_directory_is_looked_into(directory, plain_directory):
    for backend in ("auto", "onnx"):
        choice = ModelChoice(name=directory.parent, device="cpu", backend=backend)
        assert choose_exported(choice, {"subfolder": directory.name}) == directory
    qa = QuestionAnswerer(directory.parent, device="cpu", subfolder=directory.name)
    assert qa.model.directory == directory
    choice = ModelChoice(name=plain_directory.parent, device="cpu")
    assert choose_exported(choice, {"subfolder": plain_directory.name}) is None
    # The directory itself does not count then.
    assert choose_exported(ModelChoice(name=directory, device="cpu"), {"subfolder": "none"}) is None
    with pytest.raises(ModelError, match=r"none was not exported \(it has no export.json\)"):
        QuestionAnswerer(directory, backend="onnx", subfolder="none")


@pytest.mark.parametrize("backend", ["auto", "onnx", "torch"])
@pytest.mark.parametrize("name", ["some/hub-id", "directory", None])
def test_unknown_arguments_are_refused(directory, name, backend):
    with pytest.raises(ConfigError, match="unknown argument 'trust_remote_code'; for reading from the hub there are"):
        QuestionAnswerer(directory if name == "directory" else name, backend=backend, trust_remote_code=True)


def test_a_gpu_is_used_if_there_is_one(directory, monkeypatch):
    monkeypatch.setattr(backend_choice, "_has_gpu", lambda: True)
    assert choose_exported(ModelChoice(name=directory)) is None
    assert choose_exported(ModelChoice(name=directory, device="cpu")) == directory
    assert choose_exported(ModelChoice(name=directory, backend="onnx")) == directory


def test_without_onnx_runtime_pytorch_answers(directory, monkeypatch):
    monkeypatch.setattr(backend_choice, "has", lambda name: name != "onnxruntime")
    assert choose_exported(ModelChoice(name=directory, device="cpu")) is None


def test_what_can_not_go_through_onnx_runtime_is_left_to_pytorch(plain_directory):
    for name in (plain_directory, "some/hub-id", plain_directory / "none", 3):
        assert choose_exported(ModelChoice(name=name, device="cpu")) is None


def test_the_shipped_model_may_be_an_exported_one(directory, plain_directory, monkeypatch):
    monkeypatch.setattr(backend_choice, "shipped_model", lambda: directory)
    assert choose_exported(ModelChoice(device="cpu", backend="onnx")) == directory
    # Where PyTorch is installed, an answerer of it has the model of PyTorch, unless it is asked for otherwise.
    assert choose_exported(ModelChoice(device="cpu")) is None
    monkeypatch.setattr(backend_choice, "has", lambda package: package != "torch")
    assert choose_exported(ModelChoice(device="cpu")) == directory
    monkeypatch.setattr(backend_choice, "shipped_model", lambda: plain_directory)
    assert choose_exported(ModelChoice(device="cpu")) is None
    with pytest.raises(ModelError, match="the shipped model was not exported"):
        choose_exported(ModelChoice(device="cpu", backend="onnx"))


ONNX = {"backend": "onnx"}
CONTRADICTIONS = {
    "a-gpu": ({**ONNX, "device": "cuda"}, "device is 'cuda', but the backend onnx computes on the CPU"),
    "half-precision": (
        {**ONNX, "dtype": "bfloat16"},
        "dtype is 'bfloat16', but the backend onnx has auto, float32, int8",
    ),
    "unknown-number-format": (
        {**ONNX, "dtype": "float12"},
        "dtype is 'float12', but the backend onnx has auto, float32, int8",
    ),
    "int8-of-pytorch": (
        {"backend": "torch", "dtype": "int8"},
        "dtype is 'int8', which an exported model has; it takes the backend onnx",
    ),
    "int8-on-a-gpu": (
        {"dtype": "int8", "device": "cuda"},
        "device is 'cuda', but the backend onnx computes on the CPU",
    ),
    "unknown": ({"backend": "tensorflow"}, "backend is 'tensorflow'; it must be one of auto, torch, onnx"),
    "none": ({"backend": None}, "backend is None; it must be one of auto, torch, onnx"),
    "no-threads": ({**ONNX, "threads": 0}, "threads is 0; it must be a whole number of at least 1"),
}


@pytest.mark.parametrize(("given", "message"), CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_contradictions_are_refused(directory, given, message):
    with pytest.raises(ConfigError) as caught:
        QuestionAnswerer(directory, **given)
    assert message in str(caught.value)


@pytest.mark.parametrize("given", [{"backend": "onnx"}, {"dtype": "int8"}])
def test_a_model_that_is_given_is_not_for_onnx_runtime(given):
    with pytest.raises(ConfigError, match="runs directories that blockskim export made, and no model that is given"):
        QuestionAnswerer(new_model(), fixed_tokenizer("wordpiece"), **given)


@pytest.mark.parametrize("given", [{"backend": "onnx"}, {"dtype": "int8"}])
@pytest.mark.parametrize("model", ["plain", "none"])
def test_a_directory_that_was_not_exported_is_refused(plain_directory, given, model):
    name = {"plain": plain_directory, "none": plain_directory / "none"}[model]
    with pytest.raises(ModelError) as caught:
        QuestionAnswerer(name, **given)
    lacks = " (it has no export.json)" if model == "plain" else ""
    assert str(caught.value) == (
        f"{name} was not exported{lacks}, which the backend onnx needs: blockskim export --model MODEL --output DIR"
    )


def test_a_graph_in_int8_that_was_not_made(directory):
    with pytest.raises(ModelError, match=r"has no model-int8.onnx; make it with blockskim export --int8"):
        QuestionAnswerer(directory, dtype="int8")


def test_onnx_runtime_that_is_missing_is_named(directory, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(ConfigError, match="an exported model needs onnxruntime, which is not installed"):
        QuestionAnswerer(directory, backend="onnx")


def test_an_exported_model_may_be_given(directory):
    model = ExportedModel(directory)
    for backend in ("auto", "onnx"):
        qa = QuestionAnswerer(model, fixed_tokenizer("wordpiece"), backend=backend, dtype="float32")
        same([qa(QUESTIONS[0], TEXT)], [answerer()(QUESTIONS[0], TEXT)])
    with pytest.raises(ConfigError, match="backend is 'torch', but the model that is given computes by itself"):
        QuestionAnswerer(model, fixed_tokenizer("wordpiece"), backend="torch")
    with pytest.raises(ConfigError, match="device is 'cuda', but the model that is given was made with its own"):
        QuestionAnswerer(model, fixed_tokenizer("wordpiece"), device="cuda")


def test_another_tokenizer_may_go_with_a_directory(directory):
    qa = QuestionAnswerer(directory, tokenizer("wordpiece"), backend="onnx")
    same([qa(QUESTIONS[0], TEXT)], [answerer()(QUESTIONS[0], TEXT)])
    with pytest.raises(ModelError, match="the tokenizer has ids up to 126"):
        QuestionAnswerer(directory, word_piece(("extra",)), backend="onnx")


@pytest.mark.parametrize("backend", ["torch", "onnx"])
def test_another_backend_is_neither(backend):
    with pytest.raises(ConfigError, match=f"backend is '{backend}', but the model that is given computes by itself"):
        QuestionAnswerer(HashingBackend(), fixed_tokenizer("wordpiece"), backend=backend)
    with pytest.raises(ConfigError, match="backend is 'other'; it must be one of"):
        QuestionAnswerer(HashingBackend(), fixed_tokenizer("wordpiece"), backend="other")


def test_windows_are_as_long_as_the_model_reads(directory):
    qa = QuestionAnswerer(directory, backend="onnx")
    trace = qa(QUESTIONS[0], LONG, return_trace=True)["trace"]
    assert max(window.tokens for window in trace.windows) == 200
    with pytest.raises(ConfigError, match="windows of 201 tokens are too long: the model reads at most 200"):
        qa(QUESTIONS[0], LONG, max_seq_len=201)
