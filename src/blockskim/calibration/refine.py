"""Looking for better thresholds around those of the search, with Optuna; on the simulation, so no model runs."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from blockskim.calibration.points import Point
from blockskim.calibration.search import Limits, non_dominated
from blockskim.calibration.settings import TaskProgress
from blockskim.calibration.simulator import Simulated, Simulator
from blockskim.extras import load_optuna

POPULATION = 50

REFINING = "refining"
"""The task that progress is reported of while thresholds are tried."""


def refine(
    path: Sequence[Point],
    simulator: Simulator,
    limits: Limits,
    trials: int,
    seed: int,
    progress: TaskProgress | None = None,
) -> list[Point]:
    """Points that no other one beats in both speed-up and F1 at risk, among those of a path and of Optuna's trials.

    NSGA-II starts from the path and changes which layers skim and at which step of the simulator's grid. The same seed
    gives the same points.

    Args:
        path: from ``search``, on the same simulator and within the same limits.
        simulator: of the model and the data.
        limits: points beyond them are left out.
        trials: how many thresholds to try besides those of the path.
        seed: of what is random.
        progress: called with ``REFINING`` and 1 after each trial.

    Returns:
        By rising speed-up; nothing dropped comes first.

    Raises:
        ConfigError: Optuna is not installed.
    """
    optuna = load_optuna()
    tried: dict[tuple[float, ...], Simulated] = {}

    def objective(trial: Any) -> tuple[float, float]:
        thresholds = simulator.at_steps(_suggested_steps(trial, simulator))
        simulated = tried[tuple(thresholds.tolist())] = simulator.simulate(thresholds)
        if progress is not None:
            progress(REFINING, 1)
        return simulated.speedup, simulated.f1_at_risk

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        sampler = optuna.samplers.NSGAIISampler(population_size=POPULATION, seed=seed)
        study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
        start = [path[int(index)] for index in np.linspace(0, len(path) - 1, min(len(path), POPULATION))]
        for point in start:
            study.enqueue_trial(_parameters(point, simulator))
        study.optimize(objective, n_trials=len(start) + trials)
    finally:
        optuna.logging.set_verbosity(verbosity)
    known = {point.thresholds: simulator.simulate(np.array(point.thresholds)) for point in path}
    known |= {thresholds: simulated for thresholds, simulated in tried.items() if limits.allow(simulated)}
    return non_dominated(known)


def _suggested_steps(trial: Any, simulator: Simulator) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The step of each layer's row of the grid that a trial suggests. Shape: (layers,)."""
    steps = np.zeros(len(simulator.layers), dtype=np.int64)
    for row, layer in enumerate(simulator.layers):
        # Both are asked for in every trial: NSGA-II wants the same parameters throughout.
        skims = trial.suggest_categorical(f"skims_{layer}", [False, True])
        step = trial.suggest_int(f"step_{layer}", 1, simulator.grid.shape[1] - 1)
        steps[row] = step if skims else 0
    return steps


def _parameters(point: Point, simulator: Simulator) -> dict[str, Any]:
    """A point of the path as Optuna's parameters; its thresholds stand in the grid."""
    values: dict[str, Any] = {}
    for layer, threshold, thresholds in zip(simulator.layers, point.thresholds, simulator.grid, strict=True):
        values[f"skims_{layer}"] = threshold > 0
        values[f"step_{layer}"] = 1 + int(np.abs(thresholds[1:] - threshold).argmin())
    return values
