"""Reports of evaluations, with what a count by hand gives."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from blockskim.data.examples import Answer, Example
from blockskim.data.windows import WindowSettings, make_windows
from blockskim.errors import ConfigError, DataError
from blockskim.evaluation.block_scores import run_dense
from blockskim.evaluation.compare import compare_with_dense
from blockskim.evaluation.evaluate import evaluate, evaluate_windows, report
from blockskim.method.config import SkimConfig
from blockskim.model.modeling import BlockSkimForQuestionAnswering
from hashing_backend import HashingBackend
from tiny_models import new_dense_model
from tiny_tokenizers import fixed_tokenizer

TOKENIZER = fixed_tokenizer("wordpiece")
SETTINGS = WindowSettings(max_length=40, doc_stride=8, max_question_length=10)
TEXTS = ["a red kite nests in wales when it can", "who eats a worm ? the kite , in 2024 " * 6]


def examples():
    metadata = (("format", "squad"), ("version", "1.1"))
    return [
        Example("a", "where ?", TEXTS[0], (Answer("wales", TEXTS[0].index("wales")),), ("wales",), metadata=metadata),
        Example("b", "when ?", TEXTS[1], (Answer("2024", TEXTS[1].index("2024")),), ("2024",), metadata=metadata),
    ]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(2)
    dense = new_dense_model("bert", vocab_size=len(TOKENIZER))
    model = BlockSkimForQuestionAnswering.from_backbone(dense, SkimConfig(block_size=8, predictor_width=8)).eval()
    model.has_trained_predictors = True  # not so, but they are to be asked
    return model


def test_the_report_has_the_figures_of_the_contract(model):
    figures = evaluate(model, make_windows(examples(), TOKENIZER, SETTINGS), thresholds=0.5)
    names = "exact_match f1 examples windows flops_per_example dense_flops_per_example padded_flops_per_example"
    names += " flops_speedup flops_speedup_padded seconds kept_by_layer predictor"
    assert set(names.split()) <= set(figures)
    assert figures["examples"] == 2
    assert figures["windows"] > 2
    assert len(figures["kept_by_layer"]) == 3
    assert figures["flops_speedup"] == pytest.approx(figures["dense_flops_per_example"] / figures["flops_per_example"])
    assert figures["padded_flops_per_example"] > figures["dense_flops_per_example"]
    assert [entry["layer"] for entry in figures["predictor"]] == [1, 2]


def test_kept_shares_fall_from_layer_to_layer_and_count_all_blocks(model):
    windows = make_windows(examples(), TOKENIZER, SETTINGS)
    result = evaluate_windows(model, windows, thresholds=(0.5, 0.5))
    shares = result.cost.kept_by_layer(3)
    assert shares == sorted(shares, reverse=True)
    assert shares[2] == shares[1]
    dense = report(model, windows, evaluate_windows(model, windows, thresholds=0.0))
    assert dense["kept_by_layer"] == [1.0, 1.0, 1.0]
    assert dense["flops_speedup"] == 1.0
    assert dense["predictor"] == []


def test_predictor_figures_equal_a_count_by_hand(model):
    windows = make_windows(examples(), TOKENIZER, SETTINGS)
    _, block_scores = run_dense(model, windows, 8, 30)
    threshold = float(np.median(block_scores.probabilities[0]))
    kept = block_scores.probabilities[0] >= threshold
    count = evaluate_windows(model, windows, thresholds=(threshold, 0.0)).cost.layers[1]
    assert count.scored == len(kept)
    assert abs(count.kept - int(kept.sum())) <= 1  # equal probabilities may fall on either side in another batch
    assert count.relevant == int(block_scores.relevant.sum())
    # Several windows show the same answer; each of them has a relevant block.
    assert block_scores.relevant.sum() >= 2


WRONG_COUNTS = (0, -1, 1.5, float("nan"), float("inf"), True, None, "3", [1])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, value) for name in ("batch_size", "max_answer_length", "n_best") for value in WRONG_COUNTS),
        *(("fact_threshold", value) for value in (-0.1, 1.1, float("nan"), None, "x")),
    ],
)
def test_impossible_numbers_are_named(model, name, value):
    windows = make_windows(examples(), TOKENIZER, SETTINGS)
    with pytest.raises(ConfigError, match=f"^{name} is "):
        evaluate_windows(model, windows, thresholds=0.0, **{name: value})
    if name in ("batch_size", "max_answer_length"):
        with pytest.raises(ConfigError, match=f"^{name} is "):
            compare_with_dense(model, windows, thresholds=0.0, **{name: value})


def test_numbers_of_numpy_are_taken(model):
    windows = make_windows(examples(), TOKENIZER, WindowSettings(np.int64(40), np.int32(8), np.int64(10)))
    found = evaluate_windows(model, windows, np.int64(3), 0.0, np.int64(30), n_best=np.int64(2))
    assert found.predictions == evaluate_windows(model, windows, 3, 0.0).predictions


def test_answers_and_facts_by_id_are_made_once(model):
    found = evaluate_windows(model, make_windows(examples(), TOKENIZER, SETTINGS), thresholds=0.5)
    found = replace(found, facts_by_place={1: (("Kites", 0),)})
    assert set(found.predictions) == {"a", "b"}
    assert found.predictions is found.predictions
    assert found.facts == {"b": (("Kites", 0),)}
    assert found.facts is found.facts


def test_no_examples_are_an_error(model):
    windows = make_windows([], TOKENIZER)
    for run in (evaluate, evaluate_windows, compare_with_dense):
        with pytest.raises(DataError, match="no examples"):
            run(model, windows)


def test_files_that_were_taken_for_one_are_refused_before_they_are_read(model):
    windows = make_windows([*examples(), *examples()], TOKENIZER, SETTINGS)
    for run in (evaluate, evaluate_windows, compare_with_dense):
        with pytest.raises(DataError, match="two questions of id 'a' can't be scored as one file"):
            run(model, windows, progress=lambda _: pytest.fail("it ran"))


def test_a_model_that_has_no_modes_is_evaluated():
    windows = make_windows(examples(), TOKENIZER, SETTINGS)
    assert not hasattr(HashingBackend(), "eval")
    assert evaluate(HashingBackend(), windows)["examples"] == 2


def test_a_model_of_pytorch_is_put_in_evaluation_mode(model):
    model.train()
    evaluate(model, make_windows(examples(), TOKENIZER, SETTINGS), thresholds=0.5)
    assert not model.training
