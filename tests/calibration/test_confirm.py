"""Which points of a path are really skimmed at."""

from dataclasses import replace

import pytest

from blockskim.calibration.confirm import close_in, pick_to_confirm, reach
from blockskim.calibration.points import Point
from blockskim.calibration.targets import Target


@pytest.mark.parametrize(
    ("lost_from", "known", "asked"),
    [
        (17, [0, 8, 16, 24], [20, 18, 17]),
        (17, [0, 8, 16, 39], [27, 21, 18]),
        (40, [0, 20, 39], []),
        (0, [5, 39], [2, 0]),
        (6, [5, 7, 39], [6]),
        (6, [5, 6], []),
    ],
)
def test_points_beyond_the_chosen_one_are_confirmed_until_the_next_loses_too_much(lost_from, known, asked):
    path = [Point((0.0,), 1.0, 0.0), *(Point((0.01 * (n + 1),), 1 + n / 10, 0.0) for n in range(40))]
    dense = replace(path[0], f1=80.0)

    class Confirmation:
        def __init__(self):
            self.points, self.order = {}, []

        def confirm(self, point):
            number = path.index(point) - 1
            self.order.append(number)
            self.points[point.thresholds] = replace(point, f1=78.0 if number >= lost_from else 80.0, error=0.1)

    confirmation = Confirmation()
    for number in known:
        confirmation.confirm(path[number + 1])
    close_in(path, confirmation, Target(max_f1_drop=0.5), dense)
    assert confirmation.order[len(known) :] == asked


@pytest.mark.parametrize(
    ("speedups", "off", "wanted", "asked"),
    [
        # A gap around what is wanted: the first beyond it is asked, however far it is.
        ([1.5, 1.95, 2.4], 1.0, 2.0, [2]),
        ([1.5, 2.0, 2.4], 1.0, 2.0, [1]),
        # Measured, all save a tenth less.
        ([1.8, 1.9, 2.0, 2.1, 2.2, 2.3, 2.4, 2.5], 0.9, 2.0, [2, 7, 5, 4]),
        ([1.8, 2.0], 0.9, 2.0, [1]),
        ([1.5, 1.9], 1.0, 2.0, []),
        ([], 1.0, 2.0, []),
    ],
)
def test_points_are_confirmed_until_one_saves_what_is_wanted_as_measured(speedups, off, wanted, asked):
    path = [Point((0.0,), 1.0, 0.0), *(Point((value / 10,), value, 0.0) for value in speedups)]

    class Confirmation:
        def __init__(self):
            self.order = []

        def confirm(self, point):
            self.order.append(path.index(point) - 1)
            return replace(point, flops_speedup=off * point.flops_speedup)

    confirmation = Confirmation()
    reach(path, confirmation, wanted)
    assert confirmation.order == asked


def test_a_single_point_to_confirm_is_the_fastest():
    path = [Point((0.0,), 1.0, 0.0), *(Point((0.1 * n,), 1 + n / 10, 0.0) for n in range(1, 9))]
    assert pick_to_confirm(path, 1, None) == [path[-1]]
    assert pick_to_confirm(path, 2, None) == [path[1], path[-1]]
