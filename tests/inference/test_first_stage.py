"""Long documents of which passages are read: what stays is exact, and what is not read is told."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hashing_backend
from blockskim import QuestionAnswerer
from blockskim.answering.trace import skim_summary
from blockskim.data.examples import Example
from blockskim.data.windows import WindowSettings, make_windows
from blockskim.errors import ConfigError
from blockskim.evaluation.evaluate import evaluate_windows
from blockskim.inference import first_stage
from blockskim.inference.first_stage import ReadingPlan, check_max_cost
from blockskim.method.cost import dense_flops
from hashing_backend import HashingBackend
from tiny_tokenizers import fixed_tokenizer

QUESTION = "Who counted the nests in 2024?"
FILLER = "A man walks by the sea and looks at the water. "
FACT = "In 2024 the nests were counted by a kite. "
LONG = FILLER * 12 + FACT + FILLER * 12
SETTINGS = WindowSettings(60, 16, 20)


@pytest.fixture(autouse=True)
def little(monkeypatch):
    """Documents of a few windows are long here."""
    monkeypatch.setattr(first_stage, "LEAST_TOKENS", 32)


def choose_passages(model, windows, thresholds=None):
    """What is read without a bound."""
    reading = ReadingPlan(model, windows, thresholds)
    (phase,) = reading.phases()
    return SimpleNamespace(windows=phase.windows, whole=reading.whole, unread=reading.unread)


def backend(**settings):
    return HashingBackend(document_threshold=0.7, **settings)


def windows_of(*texts):
    examples = [
        Example(str(number), QUESTION, text, (), ("a kite",), metadata=(("format", "squad"),))
        for number, text in enumerate(texts)
    ]
    return make_windows(examples, fixed_tokenizer("wordpiece"), SETTINGS)


def test_what_is_near_the_words_of_the_question_is_read():
    windows = windows_of(LONG)
    choice = choose_passages(backend(), windows)
    assert len(choice.windows) < len(windows) / 3
    unread = choice.unread[0]
    offsets = windows.contexts.offsets_of(0)
    fact = LONG.index(FACT), LONG.index(FACT) + len(FACT)
    inside = (offsets[:, 0] >= fact[0]) & (offsets[:, 1] <= fact[1])
    assert not unread[inside].any()
    assert unread.mean() > 0.5


@pytest.mark.parametrize(
    ("made", "thresholds"),
    [
        (lambda: HashingBackend(), None),
        (lambda: backend(), 0.0),
        (lambda: backend(), [0.0, 0.0]),
        (lambda: backend(thresholds=0.0), None),
        (lambda: backend(alignment="sequence"), None),
    ],
    ids=["not asked for", "dense", "dense by layer", "model of no thresholds", "blocks of the paper"],
)
def test_where_all_is_read(made, thresholds):
    windows = windows_of(LONG)
    choice = choose_passages(made(), windows, thresholds)
    assert choice.windows is choice.whole is windows
    assert not choice.unread


def test_without_trained_predictors_all_is_read():
    plain = backend()
    plain.has_trained_predictors = False
    assert not choose_passages(plain, windows_of(LONG)).unread


def test_short_documents_are_read_as_they_are():
    windows = windows_of(FACT, LONG, FACT[:30])
    choice = choose_passages(backend(), windows)
    assert set(choice.unread) == {1}
    alone = choose_passages(backend(), windows_of(LONG))
    assert choice.unread[1].tolist() == alone.unread[0].tolist()
    for example in (0, 2):
        rows = [choice.windows.contexts.ids_of(example), windows.contexts.ids_of(int(windows.context_of[example]))]
        assert rows[0].tolist() == rows[1].tolist()


def test_blocks_of_a_window_lie_in_one_passage():
    windows = windows_of(FILLER + FACT + FILLER * 9 + FACT + FILLER * 20 + FACT)
    chosen = choose_passages(backend(), windows).windows
    size = 8
    for index in range(len(chosen)):
        passages = chosen.passages(np.array([index]), 60)[0]
        inside = passages[passages >= 0]
        for first in range(0, len(inside), size):
            assert len(set(inside[first : first + size])) == 1


texts_of_all_lengths = st.lists(st.sampled_from([FILLER, FACT, "Who? ", "The sea. "]), min_size=1, max_size=60).map(
    "".join
)


@given(texts=st.lists(texts_of_all_lengths, min_size=1, max_size=3), threshold=st.floats(0.1, 1.0))
def test_answers_are_cut_from_what_was_read(texts, threshold):
    qa = QuestionAnswerer(HashingBackend(document_threshold=threshold), fixed_tokenizer("wordpiece"))
    results = qa([QUESTION] * len(texts), texts, top_k=3, max_seq_len=60, doc_stride=16, return_trace=True)
    for text, answers in zip(texts, results, strict=True):
        for answer in answers:
            assert text[answer["start"] : answer["end"]] == answer["answer"]
            # At most 15 tokens: none goes on over what was left out between two passages.
            assert len(answer["answer"]) < 150
        unread = answers[0]["trace"].unread
        gone = np.zeros(len(text), dtype=bool)
        for block in () if unread is None else unread.blocks:
            gone[block.start : block.end] = True
        for answer in answers:
            assert not gone[answer["start"] : answer["end"]].all() or not answer["answer"]
        for window in answers[0]["trace"].windows:
            for block in window.blocks:
                assert not gone[block.start : block.end].any()


def test_windows_of_a_shorter_document_are_the_same_beside_a_long_one(monkeypatch):
    monkeypatch.setattr(first_stage, "LEAST_TOKENS", 200)
    shorter = FILLER * 3 + FACT
    choice = choose_passages(backend(), windows_of(LONG, shorter))
    assert set(choice.unread) == {0}
    rows = choice.windows.windows[choice.windows.windows[:, 0] == 1, 1:]
    assert len(rows) > 2
    assert rows.tolist() == windows_of(shorter).windows[:, 1:].tolist()


def test_answers_do_not_depend_on_what_else_is_read():
    qa = QuestionAnswerer(backend(), fixed_tokenizer("wordpiece"))
    usual = {"max_seq_len": 60, "doc_stride": 16, "top_k": 3}
    alone = qa(QUESTION, LONG, **usual)
    for size in (1, 3, 32):
        assert qa([QUESTION] * 3, [FACT, LONG, FILLER * 40], batch_size=size, **usual)[1] == alone


def test_the_trace_tells_what_was_not_read():
    qa = QuestionAnswerer(backend(), fixed_tokenizer("wordpiece"))
    usual = {"max_seq_len": 60, "doc_stride": 16, "return_trace": True}
    trace = qa(QUESTION, LONG, **usual)["trace"]
    whole = qa(QUESTION, LONG, **usual, dense=True)["trace"]
    assert trace.dense_flops == whole.dense_flops
    assert trace.flops < whole.flops / 3
    assert trace.unread.blocks
    assert all(block.dropped_in == 0 for block in trace.unread.blocks)
    assert trace.kept_by_layer[0] < 1 - len(trace.unread.blocks) / trace.blocks + 1e-9
    assert skim_summary([trace])["blocks"] == trace.blocks
    page = trace.to_html()
    assert 'title="not read"' in page
    assert whole.unread is None
    assert "not read" not in whole.to_html()


def test_an_evaluation_counts_all_of_the_document():
    windows = windows_of(LONG, FACT)
    model = backend()
    result = evaluate_windows(model, windows)
    dense = evaluate_windows(model, windows, thresholds=0.0)
    assert result.cost.dense_flops == dense.cost.dense_flops == int(dense_flops(model.cost, windows.lengths).sum())
    assert result.cost.flops < dense.cost.flops / 3
    choice = choose_passages(model, windows)
    same = evaluate_windows(replaced(model), choice.windows)
    assert result.predictions == same.predictions
    assert result.cost.kept_by_layer(3)[0] < same.cost.kept_by_layer(3)[0]
    # Also after layers that no predictor was asked in.
    kept = evaluate_windows(model, windows, thresholds=[0.0, 0.5]).cost
    assert kept.unread_blocks > 0
    assert kept.kept_by_layer(3)[0] == pytest.approx(1 - kept.unread_blocks / kept.blocks)


texts_of_many_windows = st.lists(st.sampled_from([FILLER, FACT, "The sea. "]), min_size=10, max_size=90).map("".join)


@given(
    texts=st.lists(texts_of_many_windows, min_size=1, max_size=3),
    share=st.floats(0.1, 1.0),
    thresholds=st.sampled_from([None, 0.0, 0.8, [0.9, 0.2]]),
    batch_size=st.integers(1, 40),
    all_layers=st.booleans(),
)
def test_reading_costs_no_more_than_it_may(texts, share, thresholds, batch_size, all_layers):
    windows, model = windows_of(*texts), backend()
    asked = {"max_cost": share, "score_all_layers": all_layers}
    result = evaluate_windows(model, windows, batch_size, thresholds, **asked)
    assert result.cost.dense_flops == int(dense_flops(model.cost, windows.lengths).sum())
    for number, text in enumerate(texts):
        alone = evaluate_windows(model, windows_of(text), 32, thresholds, **asked)
        # Neither what else is read nor the batch size makes a difference.
        assert alone.predictions["0"] == result.predictions[str(number)]
        assert alone.cost.flops <= share * alone.cost.dense_flops or alone.cost.windows == 1
    assert result.cost.flops == sum(
        evaluate_windows(model, windows_of(text), 32, thresholds, **asked).cost.flops for text in texts
    )


def test_a_bound_is_used_where_there_is_enough_to_read():
    windows, model = windows_of(LONG * 6), backend()
    for share in (0.25, 0.5, 0.75):
        cost = evaluate_windows(model, windows, max_cost=share).cost
        assert 0.8 * share <= cost.flops / cost.dense_flops <= share


def test_under_a_bound_of_one_nearly_all_is_read():
    windows, model = windows_of(LONG), backend(thresholds=0.0)
    bounded = evaluate_windows(model, windows, thresholds=0.0, max_cost=1)
    # To compare blocks with the question before the first layer is arithmetic, too.
    assert 0.9 < bounded.cost.kept_by_layer(3)[0] < 1.0
    assert bounded.cost.windows == len(windows)


def test_passages_of_all_phases_are_answered_from_and_told():
    qa = QuestionAnswerer(backend(), fixed_tokenizer("wordpiece"))
    usual = {"max_seq_len": 60, "doc_stride": 16, "return_trace": True}
    text = LONG * 4
    for share in (0.1, 0.3, 0.9):
        answer = qa(QUESTION, text, **usual, max_cost=share)
        trace = answer["trace"]
        assert trace.flops <= share * trace.dense_flops
        assert [window.start for window in trace.windows] == sorted(window.start for window in trace.windows)
        covered = np.zeros(len(text), dtype=int)
        for block in trace.text_blocks:
            covered[block.start : block.end] += 1
        # Every word is read or told to be unread.
        assert covered[[place for place, letter in enumerate(text) if not letter.isspace()]].min() >= 1
    assert qa(QUESTION, FACT, **usual, max_cost=0.01)["answer"]


def test_of_all_phases_those_alone_count_in_which_something_passed():
    """What a phase kept because each must keep something is gone where another has better blocks."""
    qa = QuestionAnswerer(backend(thresholds=1.0), fixed_tokenizer("wordpiece"))
    usual = {"max_seq_len": 60, "doc_stride": 16, "return_trace": True, "top_k": 9, "align_to_words": False}
    answers = qa(QUESTION, LONG * 4, **usual, max_cost=0.9)
    trace = answers[0]["trace"]
    (left,) = (block for block in trace.text_blocks if block.dropped_in is None)
    assert all(left.start <= answer["start"] < answer["end"] <= left.end for answer in answers)
    windows = make_windows([Example("a", QUESTION, LONG * 4)], fixed_tokenizer("wordpiece"), SETTINGS)
    cost = evaluate_windows(qa.model, windows, max_cost=0.9).cost
    assert cost.kept_blocks[2] == 1
    assert cost.kept_by_layer(3) == pytest.approx(trace.kept_by_layer)


def test_of_equally_likely_blocks_of_all_phases_the_first_of_the_text_counts(monkeypatch):
    hashed = hashing_backend.hashed
    # Layers are 1 and 2; the others are logits.
    monkeypatch.setattr(
        hashing_backend, "hashed", lambda ids, places, seed: hashed(ids, places, seed) * (seed > 2) + 0.5 * (seed < 3)
    )
    qa = QuestionAnswerer(backend(thresholds=1.0), fixed_tokenizer("wordpiece"))
    usual = {"max_seq_len": 60, "doc_stride": 16, "return_trace": True, "align_to_words": False}
    trace = qa(QUESTION, LONG * 4, **usual, max_cost=0.9)["trace"]
    left = [block for block in trace.text_blocks if block.dropped_in is None]
    assert [block.start for block in left] == [min(window.start for window in trace.windows)]
    windows = make_windows([Example("a", QUESTION, LONG * 4)], fixed_tokenizer("wordpiece"), SETTINGS)
    assert evaluate_windows(qa.model, windows, max_cost=0.9).cost.kept_blocks == {1: 1, 2: 1}


def test_the_blocks_of_the_paper_know_no_bound():
    with pytest.raises(ConfigError, match="max_cost needs a model whose blocks are cut from the context"):
        ReadingPlan(backend(alignment="sequence"), windows_of(LONG), max_cost=0.5)


@pytest.mark.parametrize("value", [0, -0.5, 1.1, float("nan"), "half", True])
def test_impossible_bounds(value):
    with pytest.raises(ConfigError, match="max_cost"):
        check_max_cost(value)
    with pytest.raises(ConfigError, match="max_cost"):
        QuestionAnswerer(backend(), fixed_tokenizer("wordpiece"))(QUESTION, LONG, max_cost=value)


def replaced(model):
    """The same, that reads all that it is given."""
    return HashingBackend(**replace(model.skim_config, document_threshold=0.0).to_dict())
