"""The path of greedy search, and the points before its first step."""

import numpy as np
import pytest

from blockskim.calibration.search import CONSERVATIVE, Limits, add_conservative_points, search


def test_answers_lost_are_counted_by_example(simulator):
    strict = simulator.simulate(np.ones(2))
    # One block of each document is left, so an answer of one block is there still only if it is that one.
    assert 0 < strict.answers_lost <= 1
    assert strict.f1_at_risk == pytest.approx(100 * strict.answers_lost)
    assert simulator.simulate(np.zeros(2)).answers_lost == 0
    path = search(simulator, Limits(100.0, 0.2))
    assert 0 < path[-1].answers_lost <= 0.2


def test_softer_points_come_before_the_first_step(simulator):
    path = search(simulator, Limits(30.0))
    assert add_conservative_points(path[:1], simulator) == path[:1]
    # The tiny model's block scores are nearly all 0 or 1, so a first step with room below it is made.
    first = simulator.simulate(np.array([0.9, 0.9])).point(np.array([0.9, 0.9]))
    front = add_conservative_points([path[0], first, *path[1:]], simulator)
    between = front[1 : front.index(first)]
    assert 1 <= len(between) <= len(CONSERVATIVE)
    assert [front[0], *front[1 + len(between) :]] == [path[0], first, *path[1:]]
    speedups = [point.flops_speedup for point in front[: len(between) + 2]]
    assert speedups == sorted(set(speedups))
    for point in between:
        assert point.f1_at_risk <= first.f1_at_risk
        assert point.thresholds[0] / 0.9 in CONSERVATIVE
        assert point == simulator.simulate(np.array(point.thresholds)).point(np.array(point.thresholds))
