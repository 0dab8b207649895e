"""What is counted where windows are scored."""

import numpy as np

from blockskim.data.examples import Example
from blockskim.data.windows import WindowSettings, make_windows
from blockskim.inference.backend import Backend
from blockskim.scaling.meter import MeteredBackend, tokens_left
from bulk_runs import TEXT, letters
from hashing_backend import HashingBackend


def packed():
    examples = [Example(str(size), "where is the nest ?", TEXT[:size], references=("?",)) for size in (9, 40, 100)]
    windows = make_windows(examples, letters(), WindowSettings(60, 8, 10))
    return windows.pack(range(len(windows)))


def test_a_metered_backend_is_the_one_that_it_counts():
    plain, metered = HashingBackend(), MeteredBackend(HashingBackend())
    assert isinstance(metered, Backend)
    for name in ("skim_layers", "num_layers", "position_limit", "number_format", "confidence", "cost"):
        assert getattr(metered, name) == getattr(plain, name)
    assert metered.skim_config == plain.skim_config
    assert metered.predictor_cost(1, 3) == plain.predictor_cost(1, 3)
    for threshold in (None, 0.0, 0.9):
        found, expected = metered.score_windows(packed(), threshold), plain.score_windows(packed(), threshold)
        assert np.array_equal(found.start_logits, expected.start_logits)


def test_tokens_that_are_left_are_those_with_logits():
    for threshold in (0.0, 0.3, 0.6, 0.9, 1.0):
        metered = MeteredBackend(HashingBackend())
        scores = metered.score_windows(packed(), threshold)
        left = np.isfinite(scores.start_logits).sum(-1)
        assert tokens_left(scores.trace).tolist() == left.tolist()
        meter = metered.meter
        assert (meter.windows, meter.tokens_kept) == (len(left), left.sum())
        assert meter.tokens == packed().lengths.sum()
        assert meter.flops == scores.trace.flops.sum()
        assert meter.dense_flops == scores.trace.dense_flops.sum()
        assert meter.seconds > 0
