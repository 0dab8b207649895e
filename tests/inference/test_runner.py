"""Batches of windows, and answers gathered over them."""

import copy
import math
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from blockskim import QuestionAnswerer
from blockskim.data.examples import Answer, Example
from blockskim.data.windows import WindowSettings, make_windows
from blockskim.errors import ModelError
from blockskim.evaluation.evaluate import evaluate, evaluate_windows
from blockskim.inference.answers import AnswerCollector
from blockskim.inference.runner import batches, run_windows, whole_examples
from blockskim.method.config import SkimConfig
from blockskim.method.skim_trace import Asking
from blockskim.model.modeling import BlockSkimForQuestionAnswering
from tiny_models import new_dense_model
from tiny_tokenizers import fixed_tokenizer

CONTEXT = "the red kite nests in wales. " * 6 + "it eats worms, 2024 was its year. " * 4
TOKENIZER = fixed_tokenizer("wordpiece")


def example(number, context):
    return Example(
        str(number),
        "where are the nests ?",
        context,
        (Answer("wales", context.index("wales")),),
        ("wales",),
        metadata=(("format", "squad"), ("version", "1.1")),
    )


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(2)
    skim = SkimConfig(block_size=8, predictor_width=8)
    model = BlockSkimForQuestionAnswering.from_backbone(new_dense_model("bert", vocab_size=len(TOKENIZER)), skim).eval()
    model.has_trained_predictors = True  # not so, but they are to be asked
    return model


@pytest.fixture(scope="module")
def windows():
    texts = [CONTEXT[: 60 + 37 * number] for number in range(7)]
    examples = [example(number, text) for number, text in enumerate(texts)]
    return make_windows(examples, TOKENIZER, WindowSettings(max_length=40, doc_stride=8, max_question_length=10))


@given(sizes=st.lists(st.integers(20, 400), min_size=1, max_size=12), batch_size=st.integers(1, 9))
def test_every_window_is_in_just_one_batch_and_examples_stay_together(sizes, batch_size):
    text = CONTEXT * 3
    windows = make_windows(
        [example(number, text[:size].ljust(40, "x") + " wales") for number, size in enumerate(sizes)],
        TOKENIZER,
        WindowSettings(max_length=40, doc_stride=8, max_question_length=10),
    )
    found = list(batches(windows, batch_size))
    assert sorted(np.concatenate(found).tolist()) == list(range(len(windows)))
    assert max(map(len, found)) <= batch_size
    for number in range(len(sizes)):
        own = np.flatnonzero(windows.examples_of() == number)
        holding = [batch for batch in found if np.isin(own, batch).any()]
        assert len(holding) == 1 or len(own) > batch_size


def logits(batch):
    return {
        int(index): (batch.scores.start_logits[row], batch.scores.end_logits[row])
        for row, index in enumerate(batch.indices)
    }


@pytest.mark.parametrize("threshold", [0.0, 0.45, 0.55])
def test_answers_do_not_depend_on_the_batch_size(model, windows, threshold):
    reference = evaluate_windows(model, windows, 1000, threshold, n_best=4)
    for size in (7, 16):
        other = evaluate_windows(model, windows, size, threshold, n_best=4)
        assert other.predictions == reference.predictions
        assert other.cost.flops == reference.cost.flops
        for first, second in zip(reference.answers, other.answers, strict=True):
            assert [(item.start, item.end) for item in first.candidates] == [
                (item.start, item.end) for item in second.candidates
            ]
            assert first.null_score == pytest.approx(second.null_score, abs=1e-5)


def test_an_answer_in_the_overlap_of_windows_counts_once(model, windows):
    result = evaluate_windows(model, windows, 8, 0.0, n_best=50)
    for answer in result.answers:
        spans = [(item.start, item.end) for item in answer.candidates]
        assert len(spans) == len(set(spans))
        scores = [item.score for item in answer.candidates]
        assert scores == sorted(scores, reverse=True)


def test_probabilities_of_all_spans_and_no_answer_stay_below_one(model, windows):
    collector = AnswerCollector(windows, max_answer_length=400, n_best=10_000)
    for batch in run_windows(model, windows, batch_size=1000, thresholds=0.0):
        collector.add(batch)
    for answer in collector.results():
        total = sum(answer.probability(item.score) for item in answer.candidates)
        assert 0 < total <= 1 + 1e-4


def test_at_least_one_block_of_a_document_survives_any_threshold(model, windows):
    result = evaluate_windows(model, windows, 1000, 1.0)
    assert all(answer.candidates for answer in result.answers)
    # Documents of several windows keep a block in one of them, not in each.
    assert result.cost.kept_blocks[1] == len(windows.examples)
    assert len(windows) > len(windows.examples)


def test_cost_falls_as_the_threshold_rises(model, windows):
    costs = [evaluate_windows(model, windows, 16, (value, 0.0)).cost.flops for value in (1e-9, 0.45, 0.5, 0.55, 1.0)]
    assert costs == sorted(costs, reverse=True)
    assert costs[-1] < costs[0]


def test_a_dense_run_asks_no_predictor(model, windows):
    dense = evaluate_windows(model, windows, 16, 0.0).cost
    assert dense.flops == dense.dense_flops


@pytest.mark.parametrize("least", [1, 5, 1000])
@pytest.mark.parametrize("batch_size", [2, 7])
def test_groups_of_batches_hold_whole_examples(model, windows, least, batch_size):
    every = list(run_windows(model, windows, batch_size=batch_size, thresholds=0.0))
    groups = list(whole_examples(every, windows, least))
    assert [batch for group in groups for batch in group] == every
    owners = [{int(windows.windows[index, 0]) for batch in group for index in batch.indices} for group in groups]
    assert sum(map(len, owners)) == len(windows.examples)
    sizes = [sum(len(batch.indices) for batch in group) for group in groups]
    assert all(size >= least for size in sizes[:-1])
    assert len(groups) == 1 or least < len(windows)


def damage(model, place, value):
    """Puts a number that is none into one weight of a model."""
    weights = {
        "embedding": model.encoder.embeddings.word_embeddings.weight,
        "attention": model.encoder.encoder.layer[1].attention.self.query.weight,
        "feed-forward": model.encoder.encoder.layer[-1].output.dense.bias,
        "norm": model.encoder.encoder.layer[0].output.LayerNorm.weight,
        "head": model.qa_outputs.weight,
        "head bias": model.qa_outputs.bias,
        "predictor": model.predictors["1"].branches["match"].decide.weight,
        "predictor bias": model.predictors["2"].branches["match"].join.bias,
    }
    with torch.no_grad():
        weight = weights[place]
        # Of an embedding the row of a token that is there.
        row = TOKENIZER.convert_tokens_to_ids("kite") if place == "embedding" else 0
        weight[row] = value


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    "place",
    ["embedding", "attention", "feed-forward", "norm", "head", "head bias", "predictor", "predictor bias"],
)
def test_a_model_that_computes_no_numbers_is_told_of(model, windows, place, value):
    broken = copy.deepcopy(model)
    damage(broken, place, value)
    message = "^the model computes no numbers: its weights are damaged"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ModelError, match=message):
            evaluate_windows(broken, windows, 8, 0.5)
        with pytest.raises(ModelError, match=message):
            evaluate(broken, make_windows(windows.examples, TOKENIZER, windows.settings), thresholds=0.5)
        with pytest.raises(ModelError, match=message):
            QuestionAnswerer(broken, TOKENIZER)("where are the nests ?", CONTEXT, threshold=0.5)
        with pytest.raises(ModelError, match=message):
            QuestionAnswerer(broken, TOKENIZER).search("where are the nests ?", {"a": CONTEXT}, dense=True)


def test_the_format_that_overflows_is_named(model, windows):
    broken = copy.deepcopy(model).to(torch.bfloat16)
    damage(broken, "feed-forward", 1e38)
    with torch.no_grad():
        broken.encoder.encoder.layer[-1].output.dense.weight.mul_(0).add_(1e38)
    with pytest.raises(ModelError, match=r"its weights are damaged or overflow in bfloat16$"):
        list(run_windows(broken, windows, batch_size=8, thresholds=0.0))


@pytest.mark.parametrize("layer", [1, 2])
@pytest.mark.parametrize("threshold", [0.0, 0.5, 1.0])
def test_a_block_without_a_keep_probability_is_told_of(model, windows, layer, threshold, monkeypatch):
    """Also where no weight is to blame."""
    prepared = model.prepared.of(model.encoder, model.adapter, {int(n): part for n, part in model.predictors.items()})

    def one_missing(view):
        found = prepared.predictors[layer].probabilities(view).clone()
        found[-1] = math.nan
        return found

    broken = {**prepared.predictors, layer: replace(prepared.predictors[layer], probabilities=one_missing)}
    monkeypatch.setattr(model.prepared, "of", lambda *_: replace(prepared, predictors=broken))
    with pytest.raises(ModelError, match="the model computes no numbers"):
        list(run_windows(model, windows, batch_size=8, thresholds=threshold, asking=Asking(all_layers=True)))


@pytest.mark.parametrize("threshold", [0.0, 0.45, 0.55, 1.0])
def test_dropped_tokens_and_blocks_are_no_damage(model, windows, threshold):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = evaluate_windows(model, windows, 8, threshold, score_all_layers=True, n_best=5)
    assert all(math.isfinite(answer.log_normalizer) for answer in result.answers)
