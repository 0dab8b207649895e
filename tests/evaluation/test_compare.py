import pytest

from blockskim.data.examples import Answer, Example
from blockskim.data.windows import make_windows
from blockskim.evaluation.compare import compare_with_dense, windows_to_run
from blockskim.evaluation.evaluate import evaluate_windows
from blockskim.inference.window_settings import window_settings
from tiny_answerers import TEXT, answerer


@pytest.fixture(scope="module")
def windows():
    qa = answerer()
    texts = [TEXT[: 40 + 11 * number] for number in range(9)]
    examples = [
        Example(str(number), "Where is the nest?", text, (Answer("kite", 8),), ("kite",))
        for number, text in enumerate(texts)
    ]
    return make_windows(examples, qa.tokenizer, window_settings(qa.model, qa.tokenizer, 60))


@pytest.mark.parametrize(("batch_size", "rounds"), [(1, 3), (2, 5), (50, 3)])
def test_both_runs_give_what_they_give_alone(windows, batch_size, rounds):
    model = answerer().model
    windows_done = []
    comparison = compare_with_dense(model, windows, batch_size, rounds=rounds, progress=windows_done.append)
    for found, thresholds in ((comparison.skim, None), (comparison.dense, 0.0)):
        alone = evaluate_windows(model, windows, batch_size, thresholds)
        assert found.predictions == alone.predictions
        assert found.scores == alone.scores
        assert found.cost == alone.cost
        assert found.seconds > 0
    assert len(comparison.ratios) == rounds
    assert min(comparison.ratios) <= comparison.wall_speedup <= max(comparison.ratios)
    if batch_size < 50:
        assert sum(windows_done) == windows_to_run(windows, batch_size, rounds) == 2 * len(windows)
    else:
        assert sum(windows_done) == windows_to_run(windows, batch_size, rounds) == 2 * rounds * len(windows)
