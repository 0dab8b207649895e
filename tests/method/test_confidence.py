"""Confidence: probabilities from scores."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockskim.errors import ConfigError
from blockskim.method.confidence import FEATURES, LARGEST, ConfidenceModel, check_no_answer_threshold, features

MODEL = ConfidenceModel((0.5, 0.4, -0.1, 0.8), (-1.0, -0.9, 0.2, 0.1), 0.6)
SCORES = st.floats(-1e6, 1e6)


@given(score=SCORES, null_score=SCORES | st.just(np.inf), log_normalizer=SCORES)
def test_outcomes_are_probabilities(score, null_score, log_normalizer):
    right = MODEL.of_answer(score, null_score, log_normalizer)
    none = MODEL.of_none(score, null_score, log_normalizer)
    assert 0 <= right <= 1
    assert 0 <= none <= 1
    assert right + none <= 1 + 1e-9


@given(low=st.floats(-20, 20), more=st.floats(0, 10), null=st.floats(-20, 20))
def test_what_is_further_above_no_answer_is_surer(low, more, null):
    assert MODEL.of_answer(low + more, null, 25.0) >= MODEL.of_answer(low, null, 25.0)
    assert MODEL.of_none(low + more, null, 25.0) <= MODEL.of_none(low, null, 25.0) + 1e-12


def test_a_text_without_any_span_is_sure_to_have_none():
    assert features(-np.inf, np.inf, -np.inf).tolist() == [1.0, -LARGEST, 0.0, -LARGEST]
    assert MODEL.of_none(-np.inf, np.inf, -np.inf) > 0.99


def test_features_are_bounded():
    assert features(1e9, -1e9, 2e9).tolist() == [1.0, LARGEST, LARGEST, -LARGEST]
    assert features(3.0, 1.0, 3.5).tolist() == [1.0, 2.0, 2.0, -0.5]
    assert features(1.0, 3.0, 0.5).tolist() == [1.0, -2.0, 0.0, 0.0]


def test_it_survives_json():
    assert ConfidenceModel.from_dict(json.loads(json.dumps(MODEL.to_dict()))) == MODEL


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (5, "confidence is 5; it must be a mapping with right, none, no_answer_threshold"),
        ({"right": [1] * 4}, "it must be a mapping with right, none"),
        ({"right": [1] * 3, "none": [1] * 4}, f"^confidence: right is .*; it must be {len(FEATURES)} finite numbers"),
        ({"right": [1] * 4, "none": [1, 2, 3, float("nan")]}, "^confidence: none is nan"),
        ({"right": [1] * 4, "none": "much"}, "none"),
        ({"right": [1] * 4, "none": [1] * 4, "no_answer_threshold": 2}, "no_answer_threshold is 2.0; it must be from"),
        ({"right": [1] * 4, "none": [1] * 4, "bias": 1}, "bias"),
    ],
)
def test_damage_is_told(values, message):
    with pytest.raises(ConfigError, match=message):
        ConfidenceModel.from_dict(values)


@pytest.mark.parametrize("value", [-0.1, 1.5, float("nan"), "much", None, True])
def test_impossible_thresholds(value):
    with pytest.raises(ConfigError, match="no_answer_threshold"):
        check_no_answer_threshold(value)
