"""What computes logits: the model of PyTorch as it is, and anything else of the same shape."""

import numpy as np
import pytest
import torch

from blockskim import QuestionAnswerer
from blockskim.answering.loading import frozen
from blockskim.data.examples import Example
from blockskim.data.windows import WindowSettings, make_windows
from blockskim.errors import ConfigError, ModelError
from blockskim.evaluation.evaluate import evaluate_windows
from blockskim.inference.backend import Backend, LoadedBackend
from blockskim.inference.loading import LoadedModel
from blockskim.inference.runner import run_windows
from hashing_backend import HashingBackend
from tiny_answerers import TEXT, answerer, new_model
from tiny_tokenizers import fixed_tokenizer

TOKENIZER = fixed_tokenizer("wordpiece")


@pytest.fixture(scope="module")
def windows():
    examples = [Example(str(size), "where is the nest ?", TEXT[:size], references=("?",)) for size in (40, 150, 210)]
    return make_windows(examples, TOKENIZER, WindowSettings(40, 8, 10))


def test_the_model_is_a_backend():
    model = new_model()
    assert isinstance(model, Backend)
    assert isinstance(HashingBackend(), Backend)
    assert not isinstance(object(), Backend)
    assert model.num_layers == 3
    assert model.number_format == "float32"
    assert model.to(torch.bfloat16).number_format == "bfloat16"


@pytest.mark.parametrize("threshold", [None, 0.0, 0.5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_scores_of_the_model_are_its_logits(windows, threshold, dtype):
    model = new_model().to(dtype)
    packed = windows.pack(range(len(windows)))
    expected = model.skim_packed(packed, threshold)
    found = model.score_windows(packed, threshold)
    for name in ("start_logits", "end_logits"):
        logits = getattr(found, name)
        assert isinstance(logits, np.ndarray)
        assert logits.dtype == np.float32
        assert np.array_equal(logits, getattr(expected, name).float().numpy())
    assert np.array_equal(found.trace.kept, expected.trace.kept)
    assert found.trace.thresholds == expected.trace.thresholds


def test_a_batch_holds_what_the_backend_gave(windows):
    backend = HashingBackend()
    seen = []
    for batch in run_windows(backend, windows, batch_size=3):
        packed = windows.pack(batch.indices)
        expected = backend.score_windows(packed)
        assert np.array_equal(batch.scores.start_logits, expected.start_logits)
        assert np.array_equal(batch.context_mask, packed.context_mask)
        seen += batch.indices.tolist()
    assert sorted(seen) == list(range(len(windows)))


def test_any_backend_is_evaluated(windows):
    dense, skim = (evaluate_windows(HashingBackend(), windows, 4, value) for value in (0.0, 0.5))
    assert set(skim.predictions) == {"40", "150", "210"}
    assert skim.cost.flops < dense.cost.flops == dense.cost.dense_flops
    assert skim.cost.kept_blocks[1] < skim.cost.blocks


def test_a_backend_that_computes_no_numbers_is_told_of(windows):
    class Broken(HashingBackend):
        number_format = "int8"

        def score_windows(self, *arguments):
            found = super().score_windows(*arguments)
            found.start_logits[0, 0] = np.nan
            return found

    with pytest.raises(ModelError, match="damaged or overflow in int8"):
        list(run_windows(Broken(), windows))


@pytest.mark.parametrize("tokenizer", [TOKENIZER, frozen(TOKENIZER)])
def test_an_answerer_takes_any_backend(tokenizer):
    qa = QuestionAnswerer(HashingBackend(points={"half": 0.5}), tokenizer, point="half", dtype="float32")
    assert isinstance(qa.loaded, LoadedBackend)
    assert qa.loaded.skims
    assert qa.tokenizer is tokenizer
    answers = qa("where is the nest ?", TEXT, top_k=3, return_trace=True)
    assert all(TEXT[answer["start"] : answer["end"]] == answer["answer"] for answer in answers)
    trace = answers[0]["trace"]
    assert trace.flops < trace.dense_flops
    # The model has places for windows of no more than 60 tokens.
    assert max(window.tokens for window in trace.windows) == 60
    with pytest.raises(ConfigError, match="at most 60"):
        qa("where is the nest ?", TEXT, max_seq_len=61)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"device": "cuda"}, "device is 'cuda', but the model that is given"),
        ({"dtype": "bfloat16"}, "dtype is 'bfloat16', but the model that is given"),
        ({"threads": 2}, "threads is 2, but the model that is given"),
        ({"revision": "main", "nonsense": 1}, "unknown argument 'nonsense'"),
        ({"point": "fast"}, "no operating point 'fast'"),
    ],
)
def test_what_a_given_backend_is_not_is_refused(given, message):
    with pytest.raises(ConfigError, match=message):
        QuestionAnswerer(HashingBackend(), TOKENIZER, **given)


def test_a_given_backend_needs_a_tokenizer():
    with pytest.raises(ConfigError, match="needs its tokenizer"):
        QuestionAnswerer(HashingBackend())
    with pytest.raises(ConfigError, match="it must be a tokenizer of transformers"):
        QuestionAnswerer(HashingBackend(), "tokenizer.json")


def test_a_model_is_read_with_a_copy_of_its_tokenizer_as_well():
    qa = QuestionAnswerer(new_model(), frozen(TOKENIZER))
    assert isinstance(qa.loaded, LoadedModel)
    assert qa("Where is the nest?", TEXT) == answerer()("Where is the nest?", TEXT)
    model = new_model()
    model.resize_token_embeddings(20)
    with pytest.raises(ModelError, match="they don't belong together"):
        QuestionAnswerer(model, frozen(TOKENIZER))
