import pytest

from blockskim.data.examples import Example
from blockskim.errors import DataError
from blockskim.metrics.mrqa import score_mrqa


def example(name, *references):
    return Example(id=name, question="?", context="c", references=references)


def test_best_reference_counts(caplog):
    scores = score_mrqa({"a": "the kite", "b": "big wren"}, [example("a", "owl", "Kite"), example("b", "wren")])
    assert scores == {
        "exact_match": 50.0,
        "f1": pytest.approx(100 * (1 + 2 / 3) / 2),
        "total": 2,
        "missing": 0,
    }
    assert not caplog.records


def test_missing_predictions_score_0_or_are_left_out(caplog):
    examples = [example("a", "kite"), example("b", "wren")]
    scored = score_mrqa({"a": "kite"}, examples)
    assert (scored["exact_match"], scored["f1"], scored["total"], scored["missing"]) == (50.0, 50.0, 2, 1)
    assert "1 of 2 questions have no prediction" in caplog.text
    left_out = score_mrqa({"a": "kite"}, examples, skip_missing=True)
    assert (left_out["exact_match"], left_out["f1"], left_out["total"], left_out["missing"]) == (100.0, 100.0, 1, 1)


def test_the_later_of_two_questions_with_one_id_counts():
    assert score_mrqa({"a": "kite"}, [example("a", "owl"), example("a", "kite")])["exact_match"] == 100.0


def test_refuses_what_it_cannot_score():
    for predictions, examples, skip in [({}, [], False), ({}, [], True), ({}, [example("a", "kite")], True)]:
        with pytest.raises(DataError, match="no questions to score"):
            score_mrqa(predictions, examples, skip)
    with pytest.raises(DataError, match="question 'a' has no reference"):
        score_mrqa({"a": ""}, [example("a")])
