"""What a skimming run did: which blocks stayed in which layer, how likely they were relevant, what it cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from blockskim.data.packed_inputs import PackedInputs
from blockskim.encoders.backbone import Backbone
from blockskim.method.blocks import BlockLayout
from blockskim.method.config import SkimConfig
from blockskim.method.predictors.base import PredictorCost
from blockskim.method.predictors.predictor import predictor_cost
from blockskim.model.flops import LayerUse, ModelCost, dense_flops, skim_flops
from blockskim.model.ragged import RaggedResult


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

    layout: BlockLayout
    layers: tuple[int, ...]
    thresholds: tuple[float, ...]
    kept: Tensor
    probabilities: Tensor
    flops: Tensor
    dense_flops: Tensor
    tokens: Tensor

    @property
    def blocks(self) -> Tensor:
        """Droppable blocks of each sample. Shape: (batch,)."""
        return self.layout.droppable.sum(-1)

    @property
    def speedup(self) -> float:
        """Dense operations over operations spent, of the whole batch."""
        return float(self.dense_flops.sum() / self.flops.sum())


def predictor_costs(
    config: SkimConfig, backbone: Backbone, layers: Sequence[int], inputs: PackedInputs
) -> dict[int, list[PredictorCost]]:
    """What each predictor costs on each sample, by layer number.

    Args:
        config: what the predictors were built for.
        backbone: whose layers they look at.
        layers: numbers of the layers with a predictor.
        inputs: the samples.
    """
    questions = inputs.question_exists.sum(-1).tolist()
    costs = {}
    for number in layers:
        dims = backbone.dims(number)
        by_length = {count: predictor_cost(config, dims, count) for count in set(questions)}
        costs[number] = [by_length[count] for count in questions]
    return costs


def trace_of(
    result: RaggedResult,
    layout: BlockLayout,
    inputs: PackedInputs,
    thresholds: Mapping[int, float],
    predictor_costs: Mapping[int, Sequence[PredictorCost]],
    cost: ModelCost,
) -> SkimTrace:
    """Make the record of a run.

    Args:
        result: of the run.
        layout: the blocks, in the coordinates that the trace is to have.
        inputs: what was read.
        thresholds: of the layers whose predictors were asked, by layer number.
        predictor_costs: of each sample, by layer number.
        cost: of the model.
    """
    uses = {}
    for number, record in result.records.items():
        costs = zip(predictor_costs[number], record.scored.tolist(), strict=True)
        spent = np.array([cost.of(blocks) for cost, blocks in costs], dtype=np.int64)
        uses[number] = LayerUse(record.left, spent)
    records = result.records.values()
    shape = (0, *layout.droppable.shape)
    kept = np.stack([record.kept for record in records]) if uses else np.zeros(shape, dtype=bool)
    likely = np.stack([record.probabilities for record in records]) if uses else np.zeros(shape, dtype=np.float32)
    return SkimTrace(
        layout=layout,
        layers=tuple(uses),
        thresholds=tuple(thresholds[number] for number in uses),
        kept=torch.from_numpy(kept),
        probabilities=torch.from_numpy(likely),
        flops=torch.from_numpy(skim_flops(cost, uses, inputs.lengths)),
        dense_flops=torch.from_numpy(dense_flops(cost, inputs.lengths)),
        tokens=torch.from_numpy(inputs.lengths),
    )
