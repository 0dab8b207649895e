"""How good predictors are: values worked out by hand, and by counting all pairs."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from blockskim.metrics.skim import area_under_roc, kept_at_recall, precision_recall, recall_threshold

SCORES = np.array([0.9, 0.8, 0.7, 0.6, 0.5])
RELEVANT = np.array([True, False, True, False, False])


def test_values_by_hand():
    assert area_under_roc(SCORES, RELEVANT) == 5 / 6
    assert kept_at_recall(SCORES, RELEVANT, 1.0) == 3 / 5
    assert kept_at_recall(SCORES, RELEVANT, 0.5) == 1 / 5
    assert recall_threshold(SCORES, RELEVANT, 0.98) == 0.7
    assert precision_recall(SCORES, RELEVANT, 0.65) == (2 / 3, 1.0, 3 / 5)


def test_nothing_to_divide_by_is_nan():
    none = np.zeros(5, dtype=bool)
    assert math.isnan(area_under_roc(SCORES, none))
    assert math.isnan(kept_at_recall(SCORES, none))
    assert math.isnan(precision_recall(SCORES, none, 1.0)[0])


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=30))
def test_the_area_is_the_share_of_pairs_in_the_right_order(pairs):
    scores = np.array([score for score, _ in pairs], dtype=float)
    relevant = np.array([kind for _, kind in pairs])
    wins = [
        1.0 if first > second else 0.5 if first == second else 0.0
        for first, one in pairs
        for second, other in pairs
        if one and not other
    ]
    area = area_under_roc(scores, relevant)
    assert math.isnan(area) if not wins else math.isclose(area, sum(wins) / len(wins))
