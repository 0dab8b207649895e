"""Looking for better thresholds around those of greedy search, with Optuna; on the simulation, so no model runs."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from blockskim.calibration.points import Point
from blockskim.calibration.simulator import AnswerBlocks, Simulated, at_steps, simulator, threshold_grid
from blockskim.data.windows import WindowSet
from blockskim.evaluation.block_scores import BlockScores
from blockskim.extras import load_optuna
from blockskim.model.modeling import BlockSkimForQuestionAnswering

POPULATION = 50

REFINING = "refining"
"""What progress is told while thresholds are tried."""


def refine(
    path: Sequence[Point],
    block_scores: BlockScores,
    answer_blocks: AnswerBlocks,
    model: BlockSkimForQuestionAnswering,
    windows: WindowSet,
    max_f1_at_risk: float,
    overhead: float,
    max_answers_lost: float,
    trials: int,
    seed: int,
    progress: Callable[[str, int], None] | None = None,
) -> list[Point]:
    """Points that no other one beats in both speed-up and F1 at risk, among those of a path and of Optuna's trials.

    NSGA-II starts from the path and changes which layers skim and at which of the steps of ``threshold_grid``. The same
    seed gives the same points.

    Args:
        path: from ``search``, with the same arguments.
        block_scores: as for ``search``.
        answer_blocks: likewise.
        model: likewise.
        windows: likewise.
        max_f1_at_risk: likewise.
        overhead: likewise.
        max_answers_lost: likewise.
        trials: how many thresholds to try besides those of the path.
        seed: of what is random.
        progress: told ``REFINING`` and 1 after each trial.

    Returns:
        By rising speed-up; nothing dropped comes first.

    Raises:
        ConfigError: Optuna is not installed.
    """
    optuna = load_optuna()
    simulate = simulator(block_scores, answer_blocks, model, windows, overhead)
    grid = threshold_grid(block_scores, answer_blocks)
    tried: dict[tuple[float, ...], Simulated] = {}

    def objective(trial: Any) -> tuple[float, float]:
        steps = np.zeros(len(grid), dtype=np.int64)
        for row, layer in enumerate(block_scores.layers):
            # Both are asked for in every trial: NSGA-II wants the same parameters throughout.
            skims = trial.suggest_categorical(f"skims_{layer}", [False, True])
            step = trial.suggest_int(f"step_{layer}", 1, grid.shape[1] - 1)
            steps[row] = step if skims else 0
        thresholds = at_steps(grid, steps)
        then = tried[tuple(thresholds.tolist())] = simulate(thresholds)
        if progress is not None:
            progress(REFINING, 1)
        return then.speedup, then.f1_at_risk

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        sampler = optuna.samplers.NSGAIISampler(population_size=POPULATION, seed=seed)
        study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
        start = [path[int(place)] for place in np.linspace(0, len(path) - 1, min(len(path), POPULATION))]
        for point in start:
            study.enqueue_trial(_parameters(point, block_scores, grid))
        study.optimize(objective, n_trials=len(start) + trials)
    finally:
        optuna.logging.set_verbosity(verbosity)
    known = {point.thresholds: simulate(np.array(point.thresholds)) for point in path}
    known |= {
        thresholds: then
        for thresholds, then in tried.items()
        if then.f1_at_risk <= max_f1_at_risk and then.answers_lost <= max_answers_lost
    }
    return non_dominated(known)


def non_dominated(points: dict[tuple[float, ...], Simulated]) -> list[Point]:
    """Points of which no other one is as fast with less at risk, by rising speed-up."""
    front: list[Point] = []
    fastest = 0.0
    for thresholds, then in sorted(points.items(), key=lambda item: (item[1].f1_at_risk, -item[1].speedup, item[0])):
        if then.speedup > fastest:
            fastest = then.speedup
            front.append(then.point(np.array(thresholds)))
    return front


def _parameters(point: Point, block_scores: BlockScores, grid: np.ndarray[Any, np.dtype[np.float64]]) -> dict[str, Any]:
    """A point of the path as Optuna's parameters; its thresholds stand in the grid."""
    values: dict[str, Any] = {}
    for row, layer in enumerate(block_scores.layers):
        threshold = point.thresholds[row]
        values[f"skims_{layer}"] = threshold > 0
        values[f"step_{layer}"] = 1 + int(np.abs(grid[row, 1:] - threshold).argmin())
    return values
