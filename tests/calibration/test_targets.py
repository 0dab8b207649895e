from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockskim.calibration.points import Point
from blockskim.calibration.targets import Target, choose, known_targets, nearest_rising, parse_target
from blockskim.errors import ConfigError, ModelError

DENSE = Point((0.0,), 1.0, 0.0, f1=80.0, exact_match=70.0)


def point(speedup, f1, f1_at_risk=0.0, answers_lost=0.0, wall=None, error=0.0):
    return Point((speedup / 100,), speedup, f1_at_risk, f1, f1 - 10, 1.0, error, answers_lost, wall)


FRONT = (
    point(1.2, 80.1, answers_lost=0.0, wall=1.1),
    point(1.5, 79.6, 0.3, answers_lost=0.02, wall=1.6),
    point(2.0, 78.0, 2.0, answers_lost=0.1, wall=1.5),
)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (Target(max_f1_drop=0), (FRONT[0], True)),
        (Target(max_f1_drop=0.5), (FRONT[1], True)),
        (Target(max_f1_drop=2), (FRONT[2], True)),
        (Target(max_answers_lost=0.02), (FRONT[1], True)),
        (Target(max_f1_drop=2, max_answers_lost=0.01), (FRONT[0], True)),
        (Target(target_speedup=1.3), (FRONT[1], True)),
        (Target(target_speedup=1.6), (FRONT[2], True)),
        (Target(target_speedup=20), (FRONT[2], False)),
        (Target(target_speedup=1.3, max_answers_lost=0.01), (FRONT[0], False)),
        (Target(target_speedup=1.55, by="seconds"), (FRONT[1], True)),
        (Target(target_speedup=1.7, by="seconds"), (FRONT[1], False)),
    ],
)
def test_the_point_for_a_target(target, expected):
    assert choose(target, DENSE, FRONT) == expected


def test_where_nothing_can_be_dropped_the_dense_run_is_the_nearest():
    assert choose(Target(max_f1_drop=0.5), DENSE, ()) == (DENSE, True)
    assert choose(Target(target_speedup=2), DENSE, ()) == (DENSE, False)


def test_neither_a_lucky_measurement_nor_a_lucky_estimate_makes_a_point_fit():
    sound, worse, worst, lucky = (
        point(1.5, 79.8, f1_at_risk=0.1),
        point(1.8, 79.4, f1_at_risk=0.1),
        point(1.9, 79.3, f1_at_risk=0.2),
        point(2.0, 80.1, f1_at_risk=0.3),
    )
    front = (lucky, sound, worst, worse)
    # What was measured to lose less than slower points did so by chance: all three lose 0.4, their mean.
    assert choose(Target(max_f1_drop=0.35), DENSE, front)[0] == sound
    assert choose(Target(max_f1_drop=0.45), DENSE, front)[0] == lucky
    # Its F1 at risk rules it out.
    assert choose(Target(max_f1_drop=0.25), DENSE, (sound, lucky))[0] == sound
    assert choose(Target(max_f1_drop=0.05), DENSE, front)[0] == DENSE


def test_one_unlucky_measurement_does_not_rule_out_what_is_faster():
    front = [point(1 + number / 10, 79.9 - number / 20, f1_at_risk=0.1) for number in range(6)]
    front[2] = point(1.2, 79.2, f1_at_risk=0.1)
    assert choose(Target(max_f1_drop=0.5), DENSE, front)[0] == front[5]


def test_the_dense_run_is_as_fast_as_itself():
    worse, better = point(1.2, 79.0), point(1.1, 80.5)
    assert choose(Target(target_speedup=1.0), DENSE, [worse]) == (DENSE, True)
    assert choose(Target(target_speedup=1.0), DENSE, [worse, better]) == (better, True)
    assert choose(Target(target_speedup=1.0, by="seconds"), DENSE, [point(1.2, 79.0, wall=1.3)]) == (DENSE, True)
    assert choose(Target(target_speedup=1.05), DENSE, [worse]) == (worse, True)


def test_what_is_slower_by_the_clock_than_the_dense_run_is_not_nearer_to_a_target():
    slower, untimed = point(1.3, 78.0, wall=0.8), point(2.0, 75.0)
    assert choose(Target(target_speedup=1.5, by="seconds"), DENSE, [slower, untimed]) == (DENSE, False)
    faster = point(1.4, 77.0, wall=1.1)
    assert choose(Target(target_speedup=1.5, by="seconds"), DENSE, [slower, faster]) == (faster, False)


@given(st.lists(st.floats(-5, 5), max_size=12))
def test_rising_numbers_are_the_nearest_ones(values):
    rising = nearest_rising(values)
    assert rising == sorted(rising)
    assert len(rising) == len(values)
    assert sum(rising) == pytest.approx(sum(values), abs=1e-9)
    # The projection on a convex cone: what is left stands at right angles to it, and points away from its edges.
    left = [value - one for value, one in zip(values, rising, strict=True)]
    assert sum(one * other for one, other in zip(left, rising, strict=True)) == pytest.approx(0, abs=1e-8)
    for first in range(len(left)):
        assert sum(left[first:]) <= 1e-9


points = st.builds(
    point, st.floats(1, 5), st.floats(70, 81), st.floats(0, 10), st.floats(0, 1), st.none() | st.floats(0.5, 5)
)


@given(st.lists(points), st.floats(1, 6), st.floats(0, 1), st.sampled_from(["flops", "seconds"]))
def test_a_satisfied_target_is_satisfied(front, target, lost, by):
    chosen, satisfied = choose(Target(target_speedup=target, max_answers_lost=lost, by=by), DENSE, front)
    fitting = [
        one
        for one in front
        if (one.flops_speedup if by == "flops" else one.wall_speedup or 0) >= target and one.answers_lost <= lost + 1e-9
    ]
    assert satisfied == (bool(fitting) or target == 1)
    if fitting:
        assert chosen.f1 == max(one.f1 for one in [*fitting, *[DENSE] * (target == 1)])
    else:
        assert chosen == DENSE or chosen.answers_lost <= lost + 1e-9


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.5", Target(max_f1_drop=0.5)),
        ("0", Target(max_f1_drop=0.0)),
        ("2x", Target(target_speedup=2.0)),
        (" 1.5× ", Target(target_speedup=1.5)),
    ],
)
def test_targets_are_read(text, expected):
    assert parse_target(text) == expected


def test_bounds_and_measure_belong_to_every_target_that_has_a_use_for_them():
    assert parse_target("2x", 0.1, "seconds") == Target(None, 2.0, 0.1, "seconds")
    assert parse_target("0.5", 0.1, "seconds") == Target(0.5, None, 0.1)


@pytest.mark.parametrize("text", ["", "x", "fast", "nan", "nanx", "-1", "101", "0.5x", "infx", "2xx", "2 times"])
def test_what_is_no_target_is_refused(text):
    with pytest.raises(ConfigError):
        parse_target(text)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"max_f1_drop": 1, "target_speedup": 2},
        {"max_answers_lost": 1.1},
        {"max_answers_lost": -0.1},
        {"target_speedup": 2, "by": "hours"},
        {"max_f1_drop": 1, "by": "seconds"},
    ],
)
def test_impossible_targets_are_refused(values):
    with pytest.raises(ConfigError):
        Target(**values)


def test_targets_of_points_are_read_as_far_as_they_are_known():
    path = Path("calibration.json")
    assert known_targets({}, ["fast"], path) == {}
    record = {"points": {name: {"target": asdict(Target(max_f1_drop=0.5))} for name in ("fast", "gone")}}
    assert known_targets(record, ["fast", "own"], path) == {"fast": Target(max_f1_drop=0.5)}


@pytest.mark.parametrize("point", [3, {}, {"target": None}, {"target": {"most": 1}}, {"target": {"max_f1_drop": 500}}])
def test_a_damaged_target_is_named(point):
    with pytest.raises(ModelError, match=r"calibration.json is damaged: the target of point 'fast': "):
        known_targets({"points": {"fast": point}}, ["fast"], Path("calibration.json"))
