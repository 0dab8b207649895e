"""Confidence against what was right."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockskim.data.examples import Example
from blockskim.evaluation.reliability import is_right, measured_reliability, reliability
from blockskim.inference.answers import Candidate, ExampleAnswers
from blockskim.inference.no_answer import NoAnswerRule
from blockskim.method.confidence import ConfidenceModel

CONFIDENCE = ConfidenceModel((0.0, 0.5, 0.0, 0.0), (0.0, -0.5, 0.0, 0.0), 0.5)
FOUND = ExampleAnswers((Candidate(5.0, 0, 4, 0),), 1.0, 6.0)
NONE = ExampleAnswers((Candidate(1.0, 0, 4, 0),), 9.0, 10.0)


def example(name, references=(), version="2.0", **more):
    return Example(name, "?", "kite here", (), references, metadata=(("version", version),), **more)


def test_by_hand():
    found = reliability([0.1, 0.15, 0.9, 1.0], [True, False, True, True], bins=4)
    assert [part.count for part in found.bins] == [2, 0, 0, 2]
    assert found.error == pytest.approx((2 * abs(0.125 - 0.5) + 2 * abs(0.95 - 1.0)) / 4)
    summary = found.summary()
    assert [part["low"] for part in summary["bins"]] == [0.0, 0.75]
    assert summary["expected_calibration_error"] == found.error


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60))
def test_the_error_is_a_share_and_nobody_is_lost(pairs):
    found = reliability(*zip(*pairs, strict=True))
    assert 0 <= found.error <= 1
    assert sum(part.count for part in found.bins) == len(pairs)
    for part in found.bins:
        if part.count:
            assert part.low - 1e-9 <= part.confidence <= part.high + 1e-9


def test_what_is_certain_and_right_has_no_error():
    assert reliability([1.0] * 5 + [0.0] * 3, [True] * 5 + [False] * 3).error == 0
    assert math.isnan(reliability([], []).error)


def test_answers_drawn_at_their_confidence_have_little_error():
    generator = np.random.default_rng(0)
    values = generator.random(20_000)
    assert reliability(values.tolist(), (generator.random(20_000) < values).tolist()).error < 0.02


def test_no_answer_counts_where_it_is_given():
    examples = [example("a", ("kite",)), example("b"), example("c", ("kite",)), example("d")]
    found = measured_reliability(examples, [FOUND, NONE, NONE, FOUND], NoAnswerRule(CONFIDENCE))
    sure = CONFIDENCE.of_answer(5.0, 1.0, 6.0)
    none = CONFIDENCE.of_none(1.0, 9.0, 10.0)
    kept = {(part.count, part.right) for part in found.bins if part.count}
    assert kept == {(2, 0.5)}
    assert found.error == pytest.approx(abs((2 * sure - 1) / 4) + abs((2 * none - 1) / 4))


def test_without_leave_every_question_is_answered():
    examples = [example("a", ("kite",), "1.1"), example("b", ("kite",), "1.1")]
    found = measured_reliability(examples, [FOUND, NONE], NoAnswerRule(CONFIDENCE))
    assert sum(part.right * part.count for part in found.bins if part.count) == 2
    always = measured_reliability([example("a"), example("b")], [FOUND, NONE], NoAnswerRule(CONFIDENCE, 1.0))
    assert sum(part.right * part.count for part in always.bins if part.count) == 0


def test_what_nobody_knows_is_not_measured():
    assert measured_reliability([example("a", ("kite",))], [FOUND], NoAnswerRule()) is None
    assert measured_reliability([example("a", annotated=False)], [FOUND], NoAnswerRule(CONFIDENCE)) is None


def test_right_is_what_the_official_normalisation_says():
    assert is_right(example("a", ("The Kite!",)), "kite")
    assert not is_right(example("a", ("The Kite!",)), "kites")
