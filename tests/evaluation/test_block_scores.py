"""The block scores that calibration works on."""

import numpy as np
import pytest

from blockskim.data.examples import Answer, Example
from blockskim.data.windows import WindowSettings, make_windows
from blockskim.evaluation.block_scores import collect_block_scores, run_dense
from blockskim.evaluation.evaluate import evaluate_windows
from blockskim.inference.runner import run_windows
from tiny_answerers import new_model
from tiny_tokenizers import fixed_tokenizer

TEXT = "who eats a worm ? the kite , in 2024 " * 6


@pytest.fixture(scope="module")
def model():
    return new_model()


@pytest.fixture(scope="module")
def windows():
    metadata = (("format", "squad"), ("version", "1.1"))
    example = Example("a", "when ?", TEXT, (Answer("2024", TEXT.index("2024")),), ("2024",), metadata=metadata)
    return make_windows([example], fixed_tokenizer("wordpiece"), WindowSettings(40, 8, 10))


def test_runs_in_which_blocks_were_dropped_are_refused(model, windows):
    with pytest.raises(ValueError, match="thresholds of 0"):
        collect_block_scores(run_windows(model, windows, batch_size=8, thresholds=1.0), windows)


def test_there_may_be_no_block_that_could_be_dropped(model, windows):
    aligned = new_model(alignment="sequence")
    short = make_windows([Example("a", "when ?", "2024")], fixed_tokenizer("wordpiece"), WindowSettings(40, 8, 10))
    for found in (run_dense(aligned, short, 8, 30)[1], collect_block_scores([], windows)):
        assert found.layers == ()
        assert found.probabilities.size == found.relevant.size == found.windows.size == 0


def test_a_dense_run_gives_its_answers_and_every_block(model, windows):
    answers, block_scores = run_dense(model, windows, 8, 30)
    assert answers == evaluate_windows(model, windows, 8, 0.0).answers
    assert block_scores.layers == model.skim_layers
    assert block_scores.probabilities.shape == (len(block_scores.layers), len(block_scores.windows))
    assert set(block_scores.windows.tolist()) == set(range(len(windows)))
    assert block_scores.relevant.any()
    # Blocks cut from the context hold all of it.
    inside = windows.windows[:, 2] - windows.windows[:, 1]
    assert np.array_equal(np.bincount(block_scores.windows, block_scores.tokens), inside)
