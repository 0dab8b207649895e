"""Arithmetic of dense and skimming runs in closed form: 2 operations per multiply-add, as PyTorch's counter has it.

Counted are matrix products (linear layers, both products of attention) and convolutions; embeddings, norms, softmax
and activations are not, neither here nor in the counter. What a model's parts cost is a matter of numbers here; reading
them off a model is the business of ``model/flops.py``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class LayerCost:
    """Operations of one layer.

    Attributes:
        before: per token, in the projections before attention, and in scores with relative positions.
        pair: per pair of tokens, in attention.
        after: per token, in the output projection and feed-forward part.
        fixed: per run, in the projection of relative positions. Every sample is counted as if it ran alone.
    """

    before: int
    pair: int
    after: int
    fixed: int = 0


@dataclass(frozen=True, slots=True)
class ModelCost:
    """Operations of a model: each of its layers, and its embedding and QA head per token."""

    layers: tuple[LayerCost, ...]
    embedding: int
    head: int


class PredictorCost(NamedTuple):
    """Floating-point operations (2 per multiply-add) of a predictor.

    Attributes:
        block: of scoring one block.
        sample: once for every sample that has blocks to score.
    """

    block: int
    sample: int

    def of(self, blocks: Any) -> Any:
        """Operations of scoring so many blocks of one sample; an array of numbers gives an array."""
        return blocks * self.block + (blocks > 0) * self.sample


@dataclass(frozen=True, slots=True)
class LayerUse:
    """What a skimming run computed in one layer, for every sample. All of Shape: (batch,).

    Attributes:
        left: tokens that left it, after skimming.
        scoring: operations of the layer's predictor.
    """

    left: NDArray[np.int64]
    scoring: NDArray[np.int64]


def dense_flops(cost: ModelCost, lengths: NDArray[np.integer]) -> NDArray[np.int64]:
    """Operations of the plain model, without predictors, on sequences of these lengths.

    Padding counts when it is part of the lengths. Shape: (batch,) to (batch,), whole numbers
    """
    tokens = lengths.astype(np.int64)
    each = cost.embedding + cost.head + sum(layer.before + layer.after for layer in cost.layers)
    fixed = (tokens > 0) * sum(layer.fixed for layer in cost.layers)
    return fixed + tokens * each + tokens**2 * sum(layer.pair for layer in cost.layers)


def dense_flops_of(cost: ModelCost, length: int) -> int:
    """Those of one sequence, however long: Python's whole numbers have no end."""
    each = cost.embedding + cost.head + sum(layer.before + layer.after for layer in cost.layers)
    fixed = sum(layer.fixed for layer in cost.layers) if length else 0
    return int(fixed + length * each + length**2 * sum(layer.pair for layer in cost.layers))


def skim_flops(cost: ModelCost, uses: Mapping[int, LayerUse], lengths: NDArray[np.integer]) -> NDArray[np.int64]:
    """Operations of a skimming run, predictors included.

    Args:
        cost: of the model.
        uses: what was computed in the layers that scored blocks, by layer number from 1.
        lengths: tokens of each sample. Shape: (batch,)

    Returns:
        Shape: (batch,)
    """
    tokens = lengths.astype(np.int64)
    total = tokens * cost.embedding
    for number, layer in enumerate(cost.layers, start=1):
        total = total + (tokens > 0) * layer.fixed + tokens * layer.before + tokens**2 * layer.pair
        if number in uses:
            total = total + uses[number].scoring.astype(np.int64)
            tokens = uses[number].left.astype(np.int64)
        total = total + tokens * layer.after
    return total + tokens * cost.head
