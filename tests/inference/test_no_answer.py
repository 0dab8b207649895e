"""When no answer is given."""

import numpy as np
import pytest

from blockskim.errors import ConfigError
from blockskim.inference.answers import Candidate, ExampleAnswers
from blockskim.inference.no_answer import NoAnswerRule
from blockskim.method.confidence import ConfidenceModel

CONFIDENCE = ConfidenceModel((0.0, 0.5, 0.0, 0.0), (0.0, -0.5, 0.0, 0.0), 0.3)
NOTHING = ExampleAnswers((), np.inf, -np.inf)


def answers(score, null_score):
    return ExampleAnswers((Candidate(score, 0, 1, 0),), null_score, max(score, null_score) + 1)


def test_by_score_the_higher_one_wins():
    rule = NoAnswerRule()
    assert not rule.declines(answers(5.0, 4.9))
    assert not rule.declines(answers(5.0, 5.0))
    assert rule.declines(answers(4.9, 5.0))
    assert rule.chance(answers(-1e9, 1e9)) <= 1.0


def test_a_text_without_spans_has_no_answer():
    assert NoAnswerRule().declines(NOTHING)
    assert NoAnswerRule(CONFIDENCE).declines(NOTHING)


def test_by_confidence_the_calibrated_threshold_counts():
    rule = NoAnswerRule(CONFIDENCE)
    assert rule.limit == 0.3
    level = answers(3.0, 3.0)
    assert rule.chance(level) == pytest.approx(1 / 3)
    assert rule.declines(level)
    assert not NoAnswerRule(CONFIDENCE, 0.4).declines(level)


def test_a_threshold_of_one_always_answers():
    assert not NoAnswerRule(CONFIDENCE, 1).declines(answers(-30.0, 30.0))
    assert not NoAnswerRule(None, 1).declines(answers(-300.0, 300.0))


@pytest.mark.parametrize("threshold", [-0.1, 1.1, "much", float("nan")])
def test_impossible_thresholds(threshold):
    with pytest.raises(ConfigError, match="no_answer_threshold"):
        NoAnswerRule(None, threshold)
