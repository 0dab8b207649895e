import pytest

from blockskim.data.examples import Answer, Example
from blockskim.data.windows import WindowSettings, make_windows
from blockskim.evaluation.cost import CostReport, LayerCount, kept_shares
from blockskim.evaluation.evaluate import evaluate_windows
from blockskim.inference.runner import run_windows
from hashing_backend import HashingBackend
from light_answerers import letters, light_answerer
from tiny_answerers import TEXT, new_model
from tiny_tokenizers import fixed_tokenizer


def test_layers_without_a_predictor_keep_what_came_in():
    assert kept_shares({2: 8, 4: 2}, 10, 5) == [1.0, 0.8, 0.8, 0.2, 0.2]
    assert kept_shares({}, 10, 2) == [1.0, 1.0]
    assert kept_shares({1: 0}, 0, 1) == [0.0]


def test_what_was_not_read_is_not_there_after_the_first_layer():
    assert kept_shares({2: 3}, 10, 3, unread=4) == [0.6, 0.3, 0.3]
    assert kept_shares({}, 10, 2, unread=10) == [0.0, 0.0]
    assert CostReport(blocks=4, kept_blocks={1: 1}).kept_by_layer(2) == [0.25, 0.25]


def test_what_can_not_be_divided_is_none():
    assert LayerCount().summary(3) == {"layer": 3, "precision": None, "recall": None, "kept": None}
    assert LayerCount(8, 4, 2, 1).summary(1) == {"layer": 1, "precision": 0.25, "recall": 0.5, "kept": 0.5}


def test_the_speed_up_is_over_the_dense_model():
    assert CostReport(flops=50, dense_flops=100).flops_speedup == 2.0


QUESTION = "where is the nest ?"


def several_windows(tokenizer):
    """Of examples of one, two and many windows, the answer in each of them."""
    examples = [
        Example(str(size), QUESTION, TEXT[:size], (Answer(TEXT[5:9], 5),), (TEXT[5:9],)) for size in (40, 110, 210)
    ]
    return make_windows(examples, tokenizer, WindowSettings(30, 4, 10))


@pytest.mark.parametrize("threshold", [0.3, 0.6, 1.0])
def test_what_is_told_of_blocks_does_not_depend_on_the_batch_size(threshold):
    for backend, tokenizer in ((new_model(), fixed_tokenizer("wordpiece")), (HashingBackend(), letters())):
        windows = several_windows(tokenizer)
        together, *apart = (evaluate_windows(backend, windows, size, threshold).cost for size in (64, 1, 2, 3))
        assert len(windows) > 6
        for cost in apart:
            assert cost.layers == together.layers
            assert cost.kept_blocks == together.kept_blocks
        if threshold == 1.0:
            assert together.layers[1].kept == together.layers[2].scored == together.layers[2].kept == 3


@pytest.mark.parametrize(("batch_size", "most"), [(64, 0), (2, 1), (1, 1)])
def test_nothing_is_kept_of_examples_that_are_done(batch_size, most):
    backend, windows, cost = HashingBackend(), several_windows(letters()), CostReport()
    held = []
    for batch in run_windows(backend, windows, batch_size=batch_size, thresholds=0.6):
        cost.add(batch, windows)
        held.append(len(cost._spared))
    assert (max(held), held[-1]) == (most, 0)
    assert not evaluate_windows(backend, windows, batch_size, 0.6, max_cost=0.9).cost._spared


@pytest.mark.parametrize("batch_size", [1, 2, 64])
def test_shares_of_kept_blocks_are_those_of_the_traces(batch_size):
    answerer = light_answerer()
    windows = several_windows(letters())
    found = evaluate_windows(answerer.model, windows, batch_size, 0.6).cost
    traces = [
        answerer(
            QUESTION,
            example.context,
            threshold=0.6,
            batch_size=batch_size,
            max_seq_len=30,
            doc_stride=4,
            max_question_len=10,
            return_trace=True,
        )["trace"]
        for example in windows.examples
    ]
    kept = [sum(trace.kept_by_layer[layer] * trace.blocks for trace in traces) for layer in range(3)]
    assert found.kept_by_layer(3) == pytest.approx([count / found.blocks for count in kept])
