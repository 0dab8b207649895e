"""Which points of a path are really skimmed at."""

from dataclasses import replace

import pytest

from blockskim.calibration.confirm import close_in
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
