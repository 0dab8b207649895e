"""Thresholds simulated on recorded block_scores, and the greedy search for those that save most for what they risk.

No model runs here: what thresholds drop is read from the keep probabilities of a run in which nothing was dropped.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from blockskim.calibration.points import Point
from blockskim.data.windows import WindowSet
from blockskim.evaluation.block_scores import BlockScores
from blockskim.method.predictors.predictor import PredictorCost, predictor_cost
from blockskim.model.flops import LayerUse, dense_flops, skim_flops
from blockskim.model.modeling import BlockSkimForQuestionAnswering

LOSSES = (0.0, *np.geomspace(5e-4, 0.3, 60).tolist())
"""Shares of the blocks at risk that a layer's threshold may drop: the steps of the search."""

CONSERVATIVE = (0.125, 0.25, 0.5)
"""Shares of the first step's thresholds, which are points of the path, too: answers may change although none of their
blocks is gone, and a target for next to no loss has to be able to stay below a step that puts nothing at risk."""

OVERHEAD = 0.04
"""What asking the predictor of one layer, and taking out what it drops, costs beyond its arithmetic, as a share of a
dense run: about what lay between the arithmetic and the time that a model with ``match`` in four of six layers saved on
two cores, 32 windows at a time (docs/performance.md). It is more at batch size 1 and less in larger models."""


@dataclass(frozen=True, slots=True)
class AnswerBlocks:
    """The blocks in which the dense model's answers begin or end, and what these answers are worth.

    Attributes:
        blocks: indices of blocks. Shape: (answer_blocks,)
        examples: whose answer it is. Shape: (answer_blocks,)
        f1: official F1 of the dense model's answer to each example, in percent. Shape: (examples,)
    """

    blocks: NDArray[np.int64]
    examples: NDArray[np.int64]
    f1: NDArray[np.float64]


def search(
    block_scores: BlockScores,
    answer_blocks: AnswerBlocks,
    model: BlockSkimForQuestionAnswering,
    windows: WindowSet,
    max_f1_at_risk: float,
    overhead: float = OVERHEAD,
    max_answers_lost: float = 1.0,
) -> list[Point]:
    """The front of simulated points, from nothing dropped to what may be put at risk.

    Args:
        block_scores: what was recorded.
        answer_blocks: the blocks of the dense model's answers.
        model: the model that was recorded.
        windows: of the same examples.
        max_f1_at_risk: most F1 at risk, in points.
        overhead: of asking a layer's predictor; see ``simulator``.
        max_answers_lost: largest share of the examples whose answer loses a block.
    """
    simulate = simulator(block_scores, answer_blocks, model, windows, overhead)
    grid = threshold_grid(block_scores, answer_blocks)
    steps = np.zeros(len(block_scores.layers), dtype=np.int64)
    now = simulate(at_steps(grid, steps))
    path = [now.point(at_steps(grid, steps))]
    while True:
        best: tuple[float, int, int, Simulated] | None = None
        for layer in range(len(steps)):
            # Steps that drop nothing more are passed over, so that the search does not stop at them.
            for step in range(steps[layer] + 1, grid.shape[1]):
                trial = steps.copy()
                trial[layer] = step
                then = simulate(at_steps(grid, trial))
                if then.f1_at_risk > max_f1_at_risk or then.answers_lost > max_answers_lost:
                    break
                gain = float(np.log(then.speedup / now.speedup)) / max(then.f1_at_risk - now.f1_at_risk, 1e-6)
                if best is None or gain > best[0]:
                    best = (gain, layer, step, then)
                if then.f1_at_risk > now.f1_at_risk and then.speedup > now.speedup:
                    break
        if best is None or best[0] <= 0:
            return path
        _, layer, step, now = best
        steps[layer] = step
        path.append(now.point(at_steps(grid, steps)))


def add_conservative_points(
    path: Sequence[Point],
    block_scores: BlockScores,
    answer_blocks: AnswerBlocks,
    model: BlockSkimForQuestionAnswering,
    windows: WindowSet,
    overhead: float = OVERHEAD,
) -> list[Point]:
    """A front with points before its first step, which puts next to nothing at risk and drops a good deal.

    Args:
        path: from ``search``; nothing dropped comes first.
        block_scores: as for ``search``, like all that follow.
        answer_blocks: see there.
        model: see there.
        windows: see there.
        overhead: see there.
    """
    if len(path) < 2:
        return list(path)
    simulate = simulator(block_scores, answer_blocks, model, windows, overhead)
    beginning, first, *others = path
    between: list[Point] = []
    for share in CONSERVATIVE:
        thresholds = share * np.array(first.thresholds)
        point = simulate(thresholds).point(thresholds)
        if (between or [beginning])[-1].flops_speedup < point.flops_speedup < first.flops_speedup:
            between.append(point)
    return [beginning, *between, first, *others]


def threshold_grid(block_scores: BlockScores, answer_blocks: AnswerBlocks) -> NDArray[np.float64]:
    """Thresholds of each layer that drop a rising share of the blocks at risk; 0, for all kept, first.

    Shape: (layers, steps)
    """
    grid = np.zeros((len(block_scores.layers), len(LOSSES) + 1))
    for row, probabilities in zip(grid, block_scores.probabilities, strict=True):
        at_risk = np.sort(probabilities[answer_blocks.blocks[answer_blocks.f1[answer_blocks.examples] > 0]])
        if len(at_risk):
            # Blocks at the threshold itself are kept, so the block of that rank stays.
            row[1:] = at_risk[np.minimum((np.array(LOSSES) * len(at_risk)).astype(int), len(at_risk) - 1)]
    return grid


def at_steps(grid: NDArray[np.float64], steps: NDArray[np.int64]) -> NDArray[np.float64]:
    """Thresholds at a step of each layer's row of the grid. Shape: (layers,)."""
    return grid[np.arange(len(steps)), steps]


class Simulated(NamedTuple):
    """What thresholds do in the simulation.

    Attributes:
        speedup: over the dense run, what asking predictors costs beyond their arithmetic included.
        flops_speedup: of the arithmetic alone.
        f1_at_risk: F1 points of the answers that lose a block.
        answers_lost: share of the examples whose answer loses a block.
    """

    speedup: float
    flops_speedup: float
    f1_at_risk: float
    answers_lost: float

    def point(self, thresholds: NDArray[np.float64]) -> Point:
        """The point that these thresholds make. Shape: (layers,)."""
        return Point(tuple(thresholds.tolist()), self.flops_speedup, self.f1_at_risk, answers_lost=self.answers_lost)


def simulator(
    block_scores: BlockScores,
    answer_blocks: AnswerBlocks,
    model: BlockSkimForQuestionAnswering,
    windows: WindowSet,
    overhead: float = OVERHEAD,
) -> Callable[[NDArray[np.float64]], Simulated]:
    """Make the function that tells what thresholds do. Shape: (layers,).

    It takes keep probabilities from the run in which nothing was dropped, so it is near the truth, not the truth.
    """
    cost = model.cost
    lengths = windows.lengths
    count = len(windows)
    fixed = lengths - np.bincount(block_scores.windows, block_scores.tokens, count)
    questions = np.diff(windows.questions.bounds)[windows.windows[:, 0]]
    judging = _predictor_costs(model, block_scores.layers, questions)
    documents = windows.windows[:, 0]
    dense = float(dense_flops(cost, lengths).sum())

    def simulate(thresholds: NDArray[np.float64]) -> Simulated:
        alive = np.ones(len(block_scores.windows), dtype=bool)
        uses: dict[int, LayerUse] = {}
        for index, layer in enumerate(block_scores.layers):
            if thresholds[index] <= 0:
                continue
            asked = judging[index].of(np.bincount(block_scores.windows, alive, count))
            passing = alive & (block_scores.probabilities[index] >= thresholds[index])
            alive = _with_best(passing, alive, block_scores.probabilities[index], documents[block_scores.windows])
            kept = np.bincount(block_scores.windows, block_scores.tokens * alive, count)
            left = np.where(kept > 0, fixed + kept, np.where(lengths > fixed, 0.0, lengths))
            uses[layer] = LayerUse(left, asked)
        losing = np.unique(answer_blocks.examples[~alive[answer_blocks.blocks]])
        lost = float(answer_blocks.f1[losing].sum()) / len(answer_blocks.f1)
        spent = float(skim_flops(cost, uses, lengths).sum())
        share = len(losing) / len(answer_blocks.f1)
        return Simulated(dense / (spent + overhead * len(uses) * dense), dense / spent, lost, share)

    return simulate


def spread(path: Sequence[Point], count: int, target_speedup: float | None) -> list[Point]:
    """Points to confirm: ``count`` of the path, evenly spread over its speed-ups, and those just at the target."""
    skimming = [point for point in path if any(point.thresholds)]
    if not skimming:
        return []
    speedups = np.array([point.flops_speedup for point in skimming])
    wanted = np.linspace(speedups.min(), speedups.max(), count)
    if target_speedup is not None:
        wanted = np.concatenate([wanted[wanted < target_speedup][-2:], target_speedup * np.array([1.0, 1.03, 1.06])])
    chosen = sorted({int(np.abs(speedups - value).argmin()) for value in wanted})
    return [skimming[index] for index in chosen]


def _predictor_costs(
    model: BlockSkimForQuestionAnswering, layers: Sequence[int], questions: NDArray[np.int64]
) -> list[PredictorCost]:
    """What judging costs in each layer; its parts are arrays of Shape: (windows,)."""
    parts = model.adapter.layers(model.encoder)
    costs = []
    for layer in layers:
        dims = model.adapter.dims(parts[layer - 1])
        by_length = {size: predictor_cost(model.skim_config, dims, size) for size in set(questions.tolist())}
        block, sample = np.array([by_length[size] for size in questions.tolist()]).T
        costs.append(PredictorCost(block, sample))
    return costs


def _with_best(
    passing: NDArray[np.bool_],
    alive: NDArray[np.bool_],
    probabilities: NDArray[np.float64],
    documents: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """Blocks that pass, and the best living one of each document in which none does."""
    size = int(documents.max()) + 1
    empty = np.bincount(documents, passing, size) == 0
    if not empty[documents].any():
        return passing
    living = np.flatnonzero(alive & empty[documents])
    order = living[np.lexsort((-probabilities[living], documents[living]))]
    _, first = np.unique(documents[order], return_index=True)
    result = passing.copy()
    result[order[first]] = True
    return result
