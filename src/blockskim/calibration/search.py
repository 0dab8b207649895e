"""Search on a simulator for the thresholds that save most for what they put at risk."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from blockskim.calibration.points import Point
from blockskim.calibration.settings import TaskProgress
from blockskim.calibration.simulator import Simulated, Simulator

PRICES = np.geomspace(1.0, 0.005, 30)
"""What a point of F1 at risk is taken to cost, one after the other, in shares of a dense run."""

SEARCHING = "searching"
"""The task that progress is reported of while thresholds are tried at one price after the other."""

COARSE = 4
"""Far from where a layer stands, every so many steps of its row of the grid are tried; near it, all."""

CONSERVATIVE = (0.125, 0.25, 0.5)
"""Shares of the first step's thresholds, which are points of the path, too. Answers may change although none of their
blocks is gone, so a target for next to no loss has to be able to stay below a step that puts nothing at risk."""

Steps = tuple[int, ...]
"""The step of each layer's row of the grid."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How far a search goes.

    Attributes:
        f1_at_risk: most F1 at risk, in points.
        answers_lost: largest share of the examples whose answer loses a block.
    """

    f1_at_risk: float
    answers_lost: float = 1.0

    def allow(self, simulated: Simulated | Point) -> bool:
        """Whether something stays within the limits."""
        return simulated.f1_at_risk <= self.f1_at_risk and simulated.answers_lost <= self.answers_lost


def search(simulator: Simulator, limits: Limits, progress: TaskProgress | None = None) -> list[Point]:
    """The front of simulated points, from nothing dropped to what the limits allow, by rising speed-up.

    For each of a row of prices of F1 at risk, from dear to cheap, the threshold of that layer is changed whose change
    lowers the sum of cost and price most, until none does: once from nothing dropped, and once from what the last price
    led to. From nothing, few layers come to be asked, as asking one costs something. All that was tried on the way is a
    candidate.

    Args:
        simulator: of the model and the data.
        limits: how far to go.
        progress: called with ``SEARCHING`` and 1 after each price.
    """
    trials = _Trials(simulator, limits)
    nothing = last = (0,) * len(simulator.layers)
    trials.tried[nothing] = simulator.simulate(np.zeros(len(nothing)))
    for price in PRICES.tolist():
        ends = [_descend(trials, start, price) for start in (nothing, last)]
        last = min(ends, key=lambda steps: trials.cost(steps, price))
        if progress is not None:
            progress(SEARCHING, 1)
    allowed = {steps: simulated for steps, simulated in trials.tried.items() if limits.allow(simulated)}
    return non_dominated({trials.thresholds(steps): simulated for steps, simulated in allowed.items()})


class _Trials:
    """What was simulated so far, so that nothing is simulated twice.

    Attributes:
        tried: what was found, within the limits or not.
    """

    def __init__(self, simulator: Simulator, limits: Limits) -> None:
        self._simulator = simulator
        self._limits = limits
        self.tried: dict[Steps, Simulated] = {}

    def allowed(self, steps: Steps) -> bool:
        """Whether steps stay within the limits; they are simulated if they were not yet."""
        if steps not in self.tried:
            self.tried[steps] = self._simulator.simulate(np.array(self.thresholds(steps)))
        return self._limits.allow(self.tried[steps])

    def cost(self, steps: Steps, price: float) -> float:
        """What a run costs that was tried, as a share of a dense one, with the price of what it puts at risk."""
        simulated = self.tried[steps]
        return 1.0 / simulated.speedup + price * simulated.f1_at_risk

    def thresholds(self, steps: Steps) -> tuple[float, ...]:
        """Of each layer."""
        return tuple(self._simulator.at_steps(np.array(steps)).tolist())

    def neighbours(self, steps: Steps) -> Iterator[Steps]:
        """Steps that differ in one layer, within the limits."""
        count = self._simulator.grid.shape[1]
        for layer, current in enumerate(steps):
            near = range(max(0, current - COARSE + 1), min(count, current + COARSE))
            for step in sorted({*range(0, count, COARSE), count - 1, *near} - {current}):
                changed = (*steps[:layer], step, *steps[layer + 1 :])
                if self.allowed(changed):
                    yield changed
                elif step > current:
                    break  # What drops more puts more at risk.


def _descend(trials: _Trials, steps: Steps, price: float) -> Steps:
    """Change one layer after the other, always that one and so that it lowers the cost most, until nothing does."""
    while True:
        best = min(trials.neighbours(steps), key=lambda changed: trials.cost(changed, price), default=steps)
        if trials.cost(best, price) >= trials.cost(steps, price):
            return steps
        steps = best


def non_dominated(points: Mapping[tuple[float, ...], Simulated]) -> list[Point]:
    """Points of which no other one is as fast with less at risk, by rising speed-up.

    Nothing dropped comes first where it is among them, though something may be faster that puts nothing at risk either.

    Args:
        points: by thresholds.
    """
    front: list[Point] = []
    fastest = 0.0
    nothing = [(thresholds, simulated) for thresholds, simulated in points.items() if not any(thresholds)]
    ranked = sorted(points.items(), key=lambda item: (item[1].f1_at_risk, -item[1].speedup, item[0]))
    for thresholds, simulated in [*nothing, *ranked]:
        if simulated.speedup > fastest:
            fastest = simulated.speedup
            front.append(simulated.point(np.array(thresholds)))
    return front


def add_conservative_points(path: Sequence[Point], simulator: Simulator) -> list[Point]:
    """A front with points before its first step, which puts next to nothing at risk and drops a good deal.

    Args:
        path: from ``search``; nothing dropped comes first.
        simulator: that it was found on.
    """
    if len(path) < 2:
        return list(path)
    beginning, first, *others = path
    between: list[Point] = []
    for share in CONSERVATIVE:
        thresholds = share * np.array(first.thresholds)
        point = simulator.simulate(thresholds).point(thresholds)
        if (between or [beginning])[-1].flops_speedup < point.flops_speedup < first.flops_speedup:
            between.append(point)
    return [beginning, *between, first, *others]
