"""What the simulation says against what really skimming does, where both must be the same."""

from dataclasses import replace

import numpy as np
import pytest

from blockskim.calibration.record import record
from blockskim.calibration.simulator import Simulator, threshold_grid
from blockskim.data.windows import WindowSettings, make_windows
from blockskim.evaluation.evaluate import evaluate_windows
from tiny_answerers import new_model
from tiny_tokenizers import fixed_tokenizer

QUESTIONS = ("when ?", "who eat a red worm in wales and when ?", "where is the nest " * 8)


@pytest.fixture(scope="module", params=["context", "sequence"])
def long_questions(request, windows):
    """A model, and windows most of whose questions are longer than a window takes."""
    examples = [
        replace(example, question=QUESTIONS[number % len(QUESTIONS)]) for number, example in enumerate(windows.examples)
    ]
    cut = make_windows(examples, fixed_tokenizer("wordpiece"), WindowSettings(80, 10, 10))
    assert len(cut.questions.ids_of(2)) > cut.settings.max_question_length
    return new_model(alignment=request.param), cut


@pytest.mark.slow
@pytest.mark.parametrize("threshold", [1e-6, 0.3, 0.5, 0.9, 1.0])
def test_one_skimming_layer_costs_in_the_simulation_what_it_costs_in_a_run(long_questions, threshold):
    """A single layer asks its predictor about the very blocks that were recorded, so nothing is estimated."""
    model, windows = long_questions
    recording = record(model, windows, 8, 30)
    simulator = Simulator(model, windows, recording, overhead=0.0)
    for thresholds in ((threshold, 0.0), (0.0, threshold)):
        simulated = simulator.simulate(np.array(thresholds))
        cost = evaluate_windows(model, windows, 8, thresholds).cost
        assert simulated.flops_speedup == pytest.approx(cost.dense_flops / cost.flops, rel=1e-12)
        assert simulated.speedup == simulated.flops_speedup


def test_asking_a_layer_costs_the_overhead(model, windows, recording):
    free, dear = (Simulator(model, windows, recording, overhead) for overhead in (0.0, 0.5))
    thresholds = np.array([0.5, 0.0])
    simulated = dear.simulate(thresholds)
    assert simulated.flops_speedup == free.simulate(thresholds).speedup
    assert 1 / simulated.speedup == pytest.approx(1 / simulated.flops_speedup + 0.5)
    assert dear.simulate(np.zeros(2)) == (1.0, 1.0, 0.0, 0.0)


def test_the_grid_drops_a_rising_share_of_the_blocks_at_risk(simulator, recording):
    grid = simulator.grid
    assert np.all(grid[:, 0] == 0)
    assert np.all(np.diff(grid[:, 1:], axis=1) >= 0)
    answers = recording.answer_blocks
    at_risk = recording.block_scores.probabilities[:, answers.blocks]
    assert np.allclose(grid[:, 1], at_risk.min(axis=1))
    right = answers.f1[answers.examples] > 0
    assert np.allclose(grid[:, 2], at_risk[:, right].min(axis=1))
    assert simulator.at_steps(np.array([0, 1])).tolist() == [0.0, grid[1, 1]]


def test_the_first_step_loses_no_answer_whether_or_not_it_is_right(recording):
    answers = recording.answer_blocks
    nothing_right = replace(answers, f1=np.zeros_like(answers.f1))
    lowest = recording.block_scores.probabilities[:, answers.blocks].min(axis=1)
    assert np.allclose(threshold_grid(recording.block_scores, nothing_right).T[1:], lowest)
    no_answer = replace(answers, blocks=answers.blocks[:0], examples=answers.examples[:0])
    assert not threshold_grid(recording.block_scores, no_answer).any()
