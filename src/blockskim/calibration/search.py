"""Greedy search on a simulator for the thresholds that save most for what they put at risk."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from blockskim.calibration.points import Point
from blockskim.calibration.simulator import Simulated, Simulator

CONSERVATIVE = (0.125, 0.25, 0.5)
"""Shares of the first step's thresholds, which are points of the path, too. Answers may change although none of their
blocks is gone, so a target for next to no loss has to be able to stay below a step that puts nothing at risk."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How far a search goes.

    Attributes:
        f1_at_risk: most F1 at risk, in points.
        answers_lost: largest share of the examples whose answer loses a block.
    """

    f1_at_risk: float
    answers_lost: float = 1.0

    def allow(self, simulated: Simulated) -> bool:
        """Whether something stays within the limits."""
        return simulated.f1_at_risk <= self.f1_at_risk and simulated.answers_lost <= self.answers_lost


def search(simulator: Simulator, limits: Limits) -> list[Point]:
    """The front of simulated points, from nothing dropped to what the limits allow.

    Step by step the layer is skimmed harder in which that saves most for the F1 that it puts at risk.

    Args:
        simulator: of the model and the data.
        limits: how far to go.
    """
    steps = np.zeros(len(simulator.layers), dtype=np.int64)
    current = simulator.simulate(simulator.at_steps(steps))
    path = [current.point(simulator.at_steps(steps))]
    while (move := _best_move(simulator, limits, steps, current)) is not None:
        steps, current = move
        path.append(current.point(simulator.at_steps(steps)))
    return path


def _best_move(
    simulator: Simulator, limits: Limits, steps: NDArray[np.int64], current: Simulated
) -> tuple[NDArray[np.int64], Simulated] | None:
    """The steps with one layer skimmed harder that gain most, and what they do; None where nothing gains.

    Args:
        simulator: of the model and the data.
        limits: how far to go.
        steps: where each layer is in the grid. Shape: (layers,)
        current: what these steps do.
    """
    best, best_gain = None, 0.0
    for layer in range(len(steps)):
        # Steps that drop nothing more are passed over, so that the search does not stop at them.
        for step in range(steps[layer] + 1, simulator.grid.shape[1]):
            harder = steps.copy()
            harder[layer] = step
            simulated = simulator.simulate(simulator.at_steps(harder))
            if not limits.allow(simulated):
                break
            risked = simulated.f1_at_risk - current.f1_at_risk
            gain = float(np.log(simulated.speedup / current.speedup)) / max(risked, 1e-6)
            if gain > best_gain:
                best, best_gain = (harder, simulated), gain
            if risked > 0 and simulated.speedup > current.speedup:
                break
    return best


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
