import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockskim.data.examples import Example
from blockskim.errors import DataError
from blockskim.metrics.hotpotqa import answer_scores, score_hotpotqa, supporting_fact_scores


def example(name, reference, facts=(("T", 0),)):
    metadata = () if facts is None else (("supporting_facts", tuple(facts)),)
    return Example(id=name, question="?", context="c", references=(reference,), metadata=metadata)


@pytest.mark.parametrize(
    ("prediction", "reference", "scores"),
    [
        ("The red kite", "red kite", (1, 1, 1, 1)),
        ("kite", "red kite", (0, 2 / 3, 1, 1 / 2)),
        ("wren", "red kite", (0, 0, 0, 0)),
        ("Yes.", "yes", (1, 1, 1, 1)),
        # the closed answers are right or wrong as a whole, on either side
        ("yes it is", "yes", (0, 0, 0, 0)),
        ("no", "no man's land", (0, 0, 0, 0)),
        ("noanswer", "noanswer kite", (0, 0, 0, 0)),
        # others may contain such a word
        ("no land", "no man's land", (0, 4 / 5, 1, 2 / 3)),
        # no words on both sides
        ("the", "a", (1, 0, 0, 0)),
        ("", "", (1, 0, 0, 0)),
    ],
)
def test_one_answer(prediction, reference, scores):
    assert answer_scores(prediction, reference) == pytest.approx(scores)


@pytest.mark.parametrize(
    ("prediction", "reference", "scores"),
    [
        ([["T", 0], ["U", 1]], [("U", 1), ("T", 0)], (1, 1, 1, 1)),
        ([["T", 0], ["T", 0]], [("T", 0)], (1, 1, 1, 1)),
        ([["T", 0]], [("T", 0), ("U", 1)], (0, 2 / 3, 1, 1 / 2)),
        ([["T", 0], ["T", 1], ["T", 2], ["U", 1]], [("T", 0), ("U", 1)], (0, 2 / 3, 1 / 2, 1)),
        ([["T", 1]], [("T", 0)], (0, 0, 0, 0)),
        ([], [("T", 0)], (0, 0, 0, 0)),
        ([], [], (1, 0, 0, 0)),
    ],
)
def test_one_set_of_facts(prediction, reference, scores):
    assert supporting_fact_scores(prediction, reference) == pytest.approx(scores)


def test_answers_only():
    scores = score_hotpotqa({"a": "kite", "b": "yes"}, [example("a", "red kite", None), example("b", "yes", None)])
    assert scores == {
        "exact_match": 50.0,
        "f1": pytest.approx(100 * (2 / 3 + 1) / 2),
        "precision": 100.0,
        "recall": 75.0,
        "total": 2,
        "missing": 0,
    }


def test_joint_scores_multiply_precision_and_recall(caplog):
    examples = [example("a", "red kite", [("T", 0), ("U", 1)]), example("b", "yes")]
    scores = score_hotpotqa({"a": "kite", "b": "yes"}, examples, {"a": [["T", 0], ["T", 1]], "b": [["T", 0]]})
    assert scores["sp_exact_match"] == 50.0
    assert scores["sp_precision"] == scores["sp_recall"] == scores["sp_f1"] == 75.0
    # a: precision 1 · 1/2, recall 1/2 · 1/2: F1 = 2 · 1/2 · 1/4 / (3/4) = 1/3
    assert scores["joint_precision"] == 75.0
    assert scores["joint_recall"] == pytest.approx(100 * (1 / 4 + 1) / 2)
    assert scores["joint_f1"] == pytest.approx(100 * (1 / 3 + 1) / 2)
    assert scores["joint_exact_match"] == 50.0
    assert not caplog.records


def test_what_is_missing_scores_0_and_spoils_the_joint_score(caplog):
    examples = [example("a", "kite"), example("b", "kite"), example("c", "kite"), example("d", "kite")]
    scores = score_hotpotqa({"a": "kite", "b": "kite"}, examples, {"a": [("T", 0)], "c": [("T", 0)]})
    assert scores["exact_match"] == scores["f1"] == scores["sp_exact_match"] == scores["sp_f1"] == 50.0
    assert scores["joint_exact_match"] == scores["joint_f1"] == 25.0
    assert scores["missing"] == scores["sp_missing"] == 2
    assert "2 of 4 questions have no prediction and score 0 (the first is 'c')" in caplog.text
    assert "2 of 4 questions have no set of supporting facts and score 0 (the first is 'b')" in caplog.text


def test_refuses_what_it_cannot_score():
    with pytest.raises(DataError, match="no questions to score"):
        score_hotpotqa({}, [])
    with pytest.raises(DataError, match="question 'a' has 0 references"):
        score_hotpotqa({}, [Example(id="a", question="?", context="c")])
    with pytest.raises(DataError, match="question 'a' has no 'supporting_facts' in its metadata"):
        score_hotpotqa({}, [example("a", "kite", None)], {})


facts = st.lists(st.tuples(st.sampled_from("TU"), st.integers(0, 2)), max_size=4)


@given(prediction=facts, reference=facts)
def test_fact_scores_are_bounded_and_mirror_each_other(prediction, reference):
    exact, f1, precision, recall = supporting_fact_scores(prediction, reference)
    assert 0 <= f1 <= 1
    assert min(precision, recall) <= f1 + 1e-12
    assert f1 <= max(precision, recall) + 1e-12
    assert supporting_fact_scores(reference, prediction) == pytest.approx((exact, f1, recall, precision))
