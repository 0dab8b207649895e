"""What a skimming run did: which blocks stayed in which layer, how likely they were relevant, what it cost.

All of it is NumPy, so that whatever computes the logits can tell it, with PyTorch or without.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from blockskim.method.block_spans import BlockSpans, Bools, Ints
from blockskim.method.cost import LayerUse, ModelCost, PredictorCost, dense_flops, skim_flops


@dataclass(frozen=True, slots=True)
class Asking:
    """Which predictors are asked beside those of layers that have a threshold.

    Attributes:
        all_layers: those of layers whose threshold is 0, too, for the record in the trace.
        untrained: predictors that never learned anything, which is refused otherwise.
    """

    all_layers: bool = False
    untrained: bool = False


AS_NEEDED = Asking()
"""The predictors of layers that have a threshold, and no others."""


@dataclass(frozen=True, slots=True)
class LayerRecord:
    """What a predictor did in one layer.

    Attributes:
        kept: which droppable blocks were there after it. Shape: (batch, blocks)
        probabilities: keep probability of each block that was scored, NaN for others. Shape: (batch, blocks)
        scored: how many blocks of each sample it scored. Shape: (batch,)
        left: tokens of each sample after the layer. Shape: (batch,)
    """

    kept: Bools
    probabilities: NDArray[np.float32]
    scored: Ints
    left: Ints


@dataclass(frozen=True, slots=True)
class SkimTrace:
    """Record of one skimming run over a batch.

    Attributes:
        layout: where the blocks lie in the input.
        layers: numbers of the layers that scored blocks, from 1.
        thresholds: of these layers. Length: layers
        kept: whether a droppable block was still there after the layer. Shape: (layers, batch, blocks)
        probabilities: keep probability that the layer gave each block; NaN for blocks that are not droppable or were
            gone already. Shape: (layers, batch, blocks)
        flops: operations spent on each sample. Shape: (batch,)
        dense_flops: operations of the plain model on the same tokens without padding. Shape: (batch,)
        tokens: real tokens of each sample. Shape: (batch,)
    """

    layout: BlockSpans
    layers: tuple[int, ...]
    thresholds: tuple[float, ...]
    kept: Bools
    probabilities: NDArray[np.float32]
    flops: Ints
    dense_flops: Ints
    tokens: Ints

    @property
    def blocks(self) -> Ints:
        """Droppable blocks of each sample. Shape: (batch,)."""
        counts: Ints = self.layout.droppable.sum(-1)
        return counts

    @property
    def speedup(self) -> float:
        """Dense operations over operations spent, of the whole batch."""
        return float(self.dense_flops.sum() / self.flops.sum())

    def rows(self, part: slice) -> "SkimTrace":
        """The record of some samples of the batch."""
        return replace(
            self,
            layout=self.layout.rows(part),
            kept=self.kept[:, part],
            probabilities=self.probabilities[:, part],
            flops=self.flops[part],
            dense_flops=self.dense_flops[part],
            tokens=self.tokens[part],
        )


@dataclass(frozen=True, slots=True)
class WindowScores:
    """What a run over windows gives, whatever computed it.

    Attributes:
        start_logits: float32, by the place of a token in its window; -inf where a token was dropped and behind a
            window's end. Shape: (batch, longest)
        end_logits: float32, in the same places, and -inf in the same. Shape: (batch, longest)
        trace: what was kept in each layer and what it cost.
    """

    start_logits: NDArray[np.float32]
    end_logits: NDArray[np.float32]
    trace: SkimTrace

    def rows(self, part: slice) -> "WindowScores":
        """What the run gives for some windows of the batch, as wide as the longest of them."""
        width = int(self.trace.tokens[part].max(initial=0))
        return WindowScores(self.start_logits[part, :width], self.end_logits[part, :width], self.trace.rows(part))


def trace_of(
    records: Mapping[int, LayerRecord],
    layout: BlockSpans,
    lengths: Ints,
    thresholds: Mapping[int, float],
    predictor_costs: Mapping[int, Sequence[PredictorCost]],
    cost: ModelCost,
) -> SkimTrace:
    """Make the record of a run.

    Args:
        records: of the layers in which a predictor was asked, first to last, by layer number.
        layout: the blocks, in the coordinates that the trace is to have.
        lengths: tokens of each sample that was read. Shape: (batch,)
        thresholds: of the layers whose predictors were asked, by layer number.
        predictor_costs: of each sample, by layer number.
        cost: of the model.
    """
    uses = {}
    for number, record in records.items():
        costs = zip(predictor_costs[number], record.scored.tolist(), strict=True)
        spent = np.array([cost.of(blocks) for cost, blocks in costs], dtype=np.int64)
        uses[number] = LayerUse(record.left, spent)
    shape = (0, *layout.droppable.shape)
    return SkimTrace(
        layout=layout,
        layers=tuple(uses),
        thresholds=tuple(thresholds[number] for number in uses),
        kept=np.stack([record.kept for record in records.values()]) if uses else np.zeros(shape, dtype=bool),
        probabilities=(
            np.stack([record.probabilities for record in records.values()])
            if uses
            else np.zeros(shape, dtype=np.float32)
        ),
        flops=skim_flops(cost, uses, lengths),
        dense_flops=dense_flops(cost, lengths),
        tokens=lengths,
    )
