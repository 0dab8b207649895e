from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockskim.data.examples import Example
from blockskim.data.squad import read_squad
from blockskim.errors import DataError
from blockskim.metrics.squad import exact_match, score_squad, score_squad2, token_f1, token_f1_or_empty


def example(name, *references):
    return Example(id=name, question="?", context="c", references=references)


@pytest.mark.parametrize(
    ("prediction", "reference", "exact", "f1", "f1_or_empty"),
    [
        ("The red kite", "red kite!", 1, 1, 1),
        ("kite", "red kite", 0, 2 / 3, 2 / 3),
        ("red red kite", "red kite kite", 0, 2 / 3, 2 / 3),  # 2 of 3 words each, repeated words count once each
        ("wren", "red kite", 0, 0, 0),
        ("", "red kite", 0, 0, 0),
        # without words on both sides: equal, but without overlap in SQuAD 1.1
        ("the", "a", 1, 0, 1),
        ("", "", 1, 0, 1),
        ("!", "", 1, 0, 1),
    ],
)
def test_one_answer(prediction, reference, exact, f1, f1_or_empty):
    assert exact_match(prediction, reference) == exact
    assert token_f1(prediction, reference) == pytest.approx(f1)
    assert token_f1_or_empty(prediction, reference) == pytest.approx(f1_or_empty)


def test_squad_takes_the_best_reference_and_scores_missing_predictions_0(caplog):
    examples = [example("a", "red kite", "kite"), example("b", "Wales"), example("c", "a wren")]
    scores = score_squad({"a": "kites red", "b": "in Wales", "other": "x"}, examples)
    # a: one word of two against "red kite": 1/2. b: precision 1/2, recall 1: 2/3. c: missing
    assert scores == {
        "exact_match": 0.0,
        "f1": pytest.approx(100 * (1 / 2 + 2 / 3) / 3),
        "total": 3,
        "missing": 1,
    }
    assert "1 of 3 questions have no prediction and score 0 (the first is 'c')" in caplog.text


def test_exact_match_and_f1_may_come_from_different_references():
    scores = score_squad({"a": "the"}, [example("a", "a", "the kite")])
    assert scores["exact_match"] == 100.0
    assert scores["f1"] == 0.0


def test_squad_refuses_what_it_cannot_score():
    with pytest.raises(DataError, match="no questions to score"):
        score_squad({}, [])
    with pytest.raises(DataError, match=r"question 'a' has no reference answer; the SQuAD 2\.0 score"):
        score_squad({"a": ""}, [example("a")])
    with pytest.raises(DataError, match="no questions to score"):
        score_squad2({}, [])


def test_squad2_splits(caplog):
    examples = [example("a", "red kite"), example("b", "wren"), example("c"), example("d")]
    scores = score_squad2({"a": "kite", "b": "", "c": "", "d": "wren"}, examples)
    assert scores == {
        "exact_match": 25.0,
        "f1": pytest.approx(100 * (2 / 3 + 1) / 4),
        "total": 4,
        "missing": 0,
        "HasAns_exact": 0.0,
        "HasAns_f1": pytest.approx(100 * (2 / 3) / 2),
        "HasAns_total": 2,
        "NoAns_exact": 50.0,
        "NoAns_f1": 50.0,
        "NoAns_total": 2,
    }
    assert not caplog.records


def test_squad2_leaves_out_a_split_without_questions():
    scores = score_squad2({"a": "kite"}, [example("a", "kite")])
    assert scores["HasAns_exact"] == 100.0
    assert not any(key.startswith(("NoAns", "best")) for key in scores)


def test_squad2_reference_without_words_wants_the_empty_answer():
    scores = score_squad2({"a": "", "b": "the"}, [example("a", "the", "!"), example("b", "the")])
    assert scores["HasAns_exact"] == scores["HasAns_f1"] == 100.0


def test_squad2_threshold_replaces_predictions():
    examples = [example("a", "kite"), example("b")]
    predictions = {"a": "kite", "b": "wren"}
    probabilities = {"a": 0.4, "b": 0.6}
    at = {t: score_squad2(predictions, examples, probabilities, t)["exact_match"] for t in (0.3, 0.4, 0.5, 0.6, 1.0)}
    assert at == {0.3: 50.0, 0.4: 100.0, 0.5: 100.0, 0.6: 50.0, 1.0: 50.0}


def test_squad2_best_thresholds():
    examples = [example("a", "red kite"), example("b"), example("c", "wren"), example("d")]
    predictions = {"a": "kite", "b": "owl", "c": "wren", "d": "owl"}
    probabilities = {"d": 0.9, "c": 0.3, "b": 0.2, "a": 0.1}
    scores = score_squad2(predictions, examples, probabilities)
    # exact: start 2 (b, d right as "no answer"); a +0, b -1, c +1, d -1: never above 2
    assert (scores["best_exact"], scores["best_exact_thresh"]) == (50.0, 0.0)
    # F1: 2, a: 2.667, b: 1.667, c: 2.667 (not above), d: 1.667
    assert (scores["best_f1"], scores["best_f1_thresh"]) == (pytest.approx(100 * (8 / 3) / 4), 0.1)


def test_squad2_best_threshold_takes_equal_probabilities_one_by_one():
    examples = [example("a", "kite"), example("b")]
    predictions = {"a": "kite", "b": "owl"}
    # No threshold can part them, yet the official script reports the sum in between, if "a" comes first.
    assert score_squad2(predictions, examples, {"a": 0.5, "b": 0.5})["best_exact"] == 100.0
    assert score_squad2(predictions, examples, {"b": 0.5, "a": 0.5})["best_exact"] == 50.0


def test_squad2_missing_prediction_is_wrong_for_every_question(caplog):
    examples = [example("a", "kite"), example("b"), example("c")]
    scores = score_squad2({"b": ""}, examples, {"b": 0.5, "elsewhere": 0.1})
    assert scores["exact_match"] == scores["best_exact"] == pytest.approx(100 / 3)
    assert scores["missing"] == 2
    assert scores["NoAns_exact"] == 50.0
    assert "2 of 3 questions have no prediction" in caplog.text


def test_squad2_prediction_without_probability():
    with pytest.raises(DataError, match="question 'a' has a prediction but no probability"):
        score_squad2({"a": "kite"}, [example("a", "kite")], {"b": 0.1})


words = st.lists(st.sampled_from(["red", "Kite", "the", "a", "wren.", "–", ""]), max_size=5).map(" ".join)


@given(prediction=words, references=st.lists(words, min_size=1, max_size=3))
def test_scores_are_bounded_symmetric_and_best_over_references(prediction, references):
    f1 = [token_f1(prediction, reference) for reference in references]
    assert all(0 <= value <= 1 for value in f1)
    assert f1 == pytest.approx([token_f1(reference, prediction) for reference in references])
    scores = score_squad({"a": prediction}, [example("a", *references)])
    assert scores["f1"] == pytest.approx(100 * max(f1))
    assert scores["exact_match"] == 100 * max(exact_match(prediction, reference) for reference in references)


@given(
    st.lists(st.tuples(words, st.lists(words, max_size=2), st.sampled_from([0.0, 0.3, 1.0])), min_size=1, max_size=6),
    st.sampled_from([-1.0, 0.0, 0.5, 1.0]),
)
def test_squad2_total_is_the_weighted_sum_of_its_splits(cases, threshold):
    examples = [example(str(i), *references) for i, (_, references, _) in enumerate(cases)]
    predictions = {str(i): prediction for i, (prediction, _, _) in enumerate(cases)}
    probabilities = {str(i): probability for i, (_, _, probability) in enumerate(cases)}
    scores = score_squad2(predictions, examples, probabilities, threshold)
    for key, name in (("exact_match", "exact"), ("f1", "f1")):
        parts = [scores.get(f"{split}_{name}", 0.0) * scores.get(f"{split}_total", 0) for split in ("HasAns", "NoAns")]
        assert scores[key] == pytest.approx(sum(parts) / scores["total"])
        assert 0.0 <= scores[f"best_{name}"] <= 100.0
    everything_empty = score_squad2(predictions, examples, probabilities, -1.0)
    assert scores["best_exact"] >= everything_empty["exact_match"]


def test_shared_dev_set_scores_its_own_answers(shared_data: Path):
    examples = list(read_squad(shared_data / "squad" / "dev-v1.1.json"))
    scores = score_squad({example.id: example.references[0] for example in examples}, examples)
    assert scores["exact_match"] == 100.0
    # one reference is an article only: equal to itself, yet without a word in common
    assert scores["f1"] == pytest.approx(100.0, abs=0.02)
    assert scores["total"] == 10_570


def test_questions_without_answers_in_their_file_are_not_taken_for_unanswerable():
    bare = Example(id="b", question="?", context="c", annotated=False)
    for score in (score_squad, score_squad2):
        with pytest.raises(DataError, match="question 'b' has no"):
            score({"a": "kite", "b": ""}, [example("a", "kite"), bare])
