import numpy as np
import pytest

from blockskim.evidence.options import Budget, EvidenceOptions, as_budget
from blockskim.evidence.selection import Joining, ScoredText, select

TEXT = "# Title\nOne one. Two two two. Three. — Four four."
SPANS = [(0, 7), (8, 16), (17, 29), (30, 36), (37, 38), (39, 49)]
STARTS = np.array([0, 2, 8, 12, 17, 21, 25, 30, 37, 39, 44])


def text(*scores):
    return ScoredText(TEXT, SPANS, np.array(scores), STARTS)


SCORED = text(0.1, 0.9, 0.3, 0.5, 0.99, 0.7)


def chosen(*documents, least=0.0, joining=None, **wishes):
    return [dict(own) for own in select(documents or (SCORED,), EvidenceOptions(**wishes), least, joining)]


def test_the_best_above_the_threshold_and_no_mere_dash():
    assert chosen(least=0.5) == [{1: "evidence", 3: "evidence", 5: "evidence"}]
    assert chosen(top_k=2) == [{1: "evidence", 5: "evidence"}]
    assert chosen(least=0.95) == [{}]


def test_over_documents_the_best_come_first_and_of_equals_the_first():
    assert chosen(SCORED, text(0, 0.9, 0.95, 0, 0, 0), top_k=2) == [{1: "evidence"}, {2: "evidence"}]
    assert chosen(SCORED, SCORED, top_k=1) == [{1: "evidence"}, {}]


def test_what_does_not_fit_makes_room_for_what_does():
    # The best has 8 characters, the next 10, the one after that 6.
    assert chosen(budget="14 characters") == [{1: "evidence", 3: "evidence"}]
    assert chosen(budget="3 tokens", top_k=2) == [{1: "evidence", 3: "evidence"}]
    assert chosen(budget="1 characters") == [{}]


def test_context_comes_along_if_it_fits_and_counts():
    assert chosen(top_k=1, context=1) == [{0: "context", 1: "evidence", 2: "context"}]
    assert chosen(top_k=1, context=1, budget="20 characters") == [{1: "evidence"}]
    # What was context becomes evidence, and brings its own.
    found = chosen(text(0, 0.9, 0.8, 0, 0, 0), top_k=2, context=1)
    assert found == [{0: "context", 1: "evidence", 2: "evidence", 3: "context"}]


def test_titles_and_a_wish_of_the_caller():
    assert chosen(top_k=1, keep="titles") == [{0: "kept", 1: "evidence"}]
    assert chosen(top_k=1, keep=lambda sentence: "Two" in sentence) == [{1: "evidence", 2: "kept"}]
    assert chosen(least=0.95, keep="titles") == [{}]
    plain = ScoredText("A kite\nIt is red.", [(0, 6), (7, 17)], np.array([0.0, 1.0]), np.array([0]))
    assert chosen(plain, top_k=1, keep="titles") == [{0: "kept", 1: "evidence"}]
    sentence = ScoredText("A kite.\nIt is red.", [(0, 7), (8, 18)], np.array([0.0, 1.0]), np.array([0]))
    assert chosen(sentence, top_k=1, keep="titles") == [{1: "evidence"}]


def test_gaps_and_what_stands_between_count_where_texts_are_joined():
    joining = Joining(characters=5, tokens=1)
    # 8 characters, a gap of 5, and 6.
    assert chosen(budget="19 characters", joining=joining, least=0.4)[0].keys() == {1, 3}
    assert chosen(budget="18 characters", joining=joining, least=0.4)[0].keys() == {1}
    # Between neighbours one blank: 8, 1, 12.
    near = text(0, 0.9, 0.8, 0, 0, 0)
    assert chosen(near, budget="21 characters", joining=joining, least=0.5)[0].keys() == {1, 2}
    assert chosen(near, budget="20 characters", joining=joining, least=0.5)[0].keys() == {1}


@pytest.mark.parametrize(
    ("given", "amount", "unit"),
    [
        (0.3, 0.3, "share"),
        (1, 1.0, "share"),
        ("0.3", 0.3, "share"),
        (" 30 % ", 0.3, "share"),
        ("500 tokens", 500, "tokens"),
        ("1 token", 1, "tokens"),
        ("7 characters", 7, "characters"),
        ("7chars", 7, "characters"),
    ],
)
def test_amounts(given, amount, unit):
    budget = as_budget(given)
    assert (budget.amount, budget.unit) == (pytest.approx(amount), unit)


def test_a_share_is_of_the_characters():
    assert Budget(0.3, "share").limit(10) == 3
    assert Budget(0.29, "share").limit(100) == 29
    assert Budget(0.3, "share").limit(9) == 2
    assert Budget(7, "tokens").limit(100) == 7
