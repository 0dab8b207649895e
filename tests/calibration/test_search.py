"""The front that is found, and the points before its first step."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockskim.calibration.search import (
    CONSERVATIVE,
    PRICES,
    SEARCHING,
    Limits,
    add_conservative_points,
    non_dominated,
    search,
)
from blockskim.calibration.simulator import Simulated, Simulator


class TwoLayers:
    """A simulator of two layers: the first saves a little with every step, the second nothing before its third.

    Attributes:
        layers: their numbers.
        grid: thresholds of their steps.
    """

    layers = (1, 2)
    grid = np.array([[0.0, 0.1, 0.2, 0.3], [0.0, 0.4, 0.5, 0.6]])
    saved = (np.array([0.0, 0.02, 0.04, 0.06]), np.array([0.0, -0.01, 0.001, 0.5]))
    risked = (np.array([0.0, 1.0, 2.0, 3.0]), np.array([0.0, 0.5, 1.0, 1.5]))

    def at_steps(self, steps):
        return self.grid[np.arange(2), steps]

    def simulate(self, thresholds):
        steps = [int(np.flatnonzero(row == value)[0]) for row, value in zip(self.grid, thresholds, strict=True)]
        saved, risked = (
            sum(float(values[step]) for values, step in zip(parts, steps, strict=True))
            for parts in (self.saved, self.risked)
        )
        return Simulated(1 + saved, 1 + saved, risked, risked / 100)


def test_a_layer_that_saves_late_is_found_behind_steps_that_save_nothing():
    calls = []
    path = search(TwoLayers(), Limits(10.0), lambda *one: calls.append(one))
    assert calls == [(SEARCHING, 1)] * len(PRICES)
    late = [(0, 0.6), (0.1, 0.6), (0.2, 0.6), (0.3, 0.6)]
    assert [point.thresholds for point in path] == [(0, 0), (0.1, 0), *late]
    assert [point.thresholds for point in search(TwoLayers(), Limits(1.2))] == [(0, 0), (0.1, 0)]


@pytest.mark.parametrize("overhead", [0.0, 0.05])
def test_at_any_price_the_front_has_nearly_the_best_of_all_thresholds(model, windows, recording, overhead):
    simulator = Simulator(model, windows, recording, overhead)
    everything = [simulator.simulate(np.array(pair)) for pair in itertools.product(*simulator.grid)]
    allowed = [simulated for simulated in everything if simulated.f1_at_risk <= 30.0]
    front = [simulator.simulate(np.array(point.thresholds)) for point in search(simulator, Limits(30.0))]
    for price in (0.5, 0.1, 0.03, 0.01, 0.005):
        best, found = (min(1 / one.speedup + price * one.f1_at_risk for one in some) for some in (allowed, front))
        assert found <= 1.05 * best


def test_each_point_of_the_path_saves_and_risks_more_than_the_one_before(simulator):
    path = search(simulator, Limits(30.0))
    assert len(path) > 1
    for before, after in itertools.pairwise(path):
        assert after.flops_speedup > before.flops_speedup
        assert after.f1_at_risk >= before.f1_at_risk


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


figures = st.tuples(st.floats(1, 9), st.floats(0, 9)).map(lambda pair: Simulated(pair[0], pair[0], pair[1], 0.0))


@given(st.dictionaries(st.tuples(st.floats(0.01, 1)), figures, min_size=1), st.booleans())
def test_a_front_holds_what_nothing_beats(points, with_nothing):
    if with_nothing:
        points[0.0,] = Simulated(1.0, 1.0, 0.0, 0.0)
    front = non_dominated(points)
    kept = [points[point.thresholds] for point in front]
    if with_nothing:
        assert front[0].thresholds == (0.0,)
    for one, two in itertools.pairwise(kept):
        assert one.speedup < two.speedup
        # Something may be faster than nothing dropped, and put as little at risk.
        assert one.f1_at_risk < two.f1_at_risk or (with_nothing and one is kept[0])
    for value in points.values():
        assert any(one.speedup >= value.speedup and one.f1_at_risk <= value.f1_at_risk for one in kept)
