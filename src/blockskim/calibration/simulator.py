"""What thresholds do, simulated on the recording of a dense run.

No model runs here: what thresholds drop is read from the keep probabilities of a run in which nothing was dropped.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from blockskim.calibration.points import Point
from blockskim.calibration.record import AnswerBlocks, Recording
from blockskim.calibration.settings import OVERHEAD
from blockskim.data.windows import WindowSet
from blockskim.evaluation.block_scores import BlockScores
from blockskim.inference.backend import Backend
from blockskim.method.block_spans import surviving_blocks
from blockskim.method.cost import LayerUse, PredictorCost, dense_flops, skim_flops

LOSSES = (0.0, *np.geomspace(5e-4, 0.3, 60).tolist())
"""Shares of the blocks at risk that a layer's threshold may drop: the steps of the search."""


class Simulated(NamedTuple):
    """What thresholds do in the simulation.

    Attributes:
        speedup: over the dense run, what asking predictors costs beyond their FLOPs included.
        flops_speedup: of the FLOPs alone.
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


class Simulator:
    """A recording, made ready for trying many thresholds.

    It takes keep probabilities from the run in which nothing was dropped, so it is near the truth, not the truth.

    Attributes:
        layers: numbers of the layers that have a predictor.
        grid: thresholds of each layer that drop a rising share of the blocks at risk; 0, for all kept, first.
            Shape: (layers, steps)
    """

    def __init__(
        self,
        model: Backend,
        windows: WindowSet,
        recording: Recording,
        overhead: float = OVERHEAD,
    ) -> None:
        """Count what does not depend on thresholds.

        Args:
            model: that was recorded.
            windows: that it read.
            recording: of the run.
            overhead: what asking the predictor of one layer costs beyond its FLOPs, as a share of a dense run.
        """
        block_scores = recording.block_scores
        self.layers = block_scores.layers
        self.grid = threshold_grid(block_scores, recording.answer_blocks)
        self._answer_blocks = recording.answer_blocks
        # As the predictors gave them, so that they compare with thresholds as in a real run.
        self._probabilities = block_scores.probabilities.astype(np.float32)
        self._block_windows = block_scores.windows
        self._block_tokens = block_scores.tokens
        self._examples = windows.examples_of(np.arange(len(windows)))
        self._num_examples = len(windows.examples)
        self._lengths = windows.lengths
        # Tokens of each window in no block that may be dropped.
        self._fixed_tokens = self._lengths - self._tokens_by_window(np.arange(len(block_scores.windows)))
        question_lengths = np.array([len(windows.question_ids(example)) for example in range(self._num_examples)])
        self._predictor_costs = window_predictor_costs(model, self.layers, question_lengths[self._examples])
        self._cost = model.cost
        self._dense_flops = float(dense_flops(model.cost, self._lengths).sum())
        self._overhead = overhead

    def at_steps(self, steps: NDArray[np.int64]) -> NDArray[np.float64]:
        """Thresholds at a step of each layer's row of the grid. Shape: (layers,) to (layers,)."""
        return self.grid[np.arange(len(steps)), steps]

    def simulate(self, thresholds: NDArray[np.float64]) -> Simulated:
        """What thresholds do. Shape: (layers,)."""
        alive = np.arange(len(self._block_windows))
        uses: dict[int, LayerUse] = {}
        for row, layer in enumerate(self.layers):
            if thresholds[row] <= 0:
                continue
            windows = self._block_windows[alive]
            judging = self._predictor_costs[row].of(np.bincount(windows, minlength=len(self._lengths)))
            survive = surviving_blocks(
                self._probabilities[row, alive], thresholds[row], self._examples[windows], self._num_examples
            )
            alive = alive[survive]
            uses[layer] = LayerUse(self._tokens_left(alive), judging)
        return self._summary(alive, uses)

    def _summary(self, alive: NDArray[np.int64], uses: dict[int, LayerUse]) -> Simulated:
        """What is saved and risked when these blocks are left. Shape: (alive,)."""
        answers = self._answer_blocks
        dropped = np.ones(len(self._block_windows), dtype=bool)
        dropped[alive] = False
        losing = np.unique(answers.examples[dropped[answers.blocks]])
        spent = float(skim_flops(self._cost, uses, self._lengths).sum())
        return Simulated(
            speedup=self._dense_flops / (spent + self._overhead * len(uses) * self._dense_flops),
            flops_speedup=self._dense_flops / spent,
            f1_at_risk=float(answers.f1[losing].sum()) / len(answers.f1),
            answers_lost=len(losing) / len(answers.f1),
        )

    def _tokens_left(self, alive: NDArray[np.int64]) -> NDArray[np.int64]:
        """Tokens left of each window: none of one that had blocks and has lost them all. Shape: (windows,)."""
        kept = self._tokens_by_window(alive)
        had_blocks = self._lengths > self._fixed_tokens
        return np.where((kept > 0) | ~had_blocks, self._fixed_tokens + kept, 0)

    def _tokens_by_window(self, blocks: NDArray[np.int64]) -> NDArray[np.int64]:
        """Tokens of each window that lie in some of its blocks. Shape: (blocks,) to (windows,)."""
        counts = np.bincount(self._block_windows[blocks], self._block_tokens[blocks], len(self._lengths))
        return counts.astype(np.int64)


def threshold_grid(block_scores: BlockScores, answer_blocks: AnswerBlocks) -> NDArray[np.float64]:
    """Thresholds of each layer that drop a rising share of the blocks at risk; 0, for all kept, first.

    Behind it comes the highest at which no answer at all loses a block, right or wrong.

    Shape: (layers, steps)
    """
    grid = np.zeros((len(block_scores.layers), len(LOSSES) + 2))
    for row, probabilities in zip(grid, block_scores.probabilities, strict=True):
        row[1:] = probabilities[answer_blocks.blocks].min(initial=1.0) if len(answer_blocks.blocks) else 0.0
        at_risk = np.sort(probabilities[answer_blocks.blocks[answer_blocks.f1[answer_blocks.examples] > 0]])
        if len(at_risk):
            # Blocks at the threshold itself are kept, so the block of that rank stays.
            row[2:] = at_risk[np.minimum((np.array(LOSSES) * len(at_risk)).astype(int), len(at_risk) - 1)]
    return grid


def window_predictor_costs(
    model: Backend, layers: Sequence[int], question_lengths: NDArray[np.int64]
) -> list[PredictorCost]:
    """What the predictor of each layer costs in every window.

    Args:
        model: that has the predictors.
        layers: numbers of the layers.
        question_lengths: tokens of the question in each window. Shape: (windows,)

    Returns:
        For each layer; both costs are arrays of Shape: (windows,)
    """
    distinct, which = np.unique(question_lengths, return_inverse=True)
    costs = []
    for layer in layers:
        block, sample = np.array([model.predictor_cost(layer, length) for length in distinct.tolist()]).T
        costs.append(PredictorCost(block[which], sample[which]))
    return costs
