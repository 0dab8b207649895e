"""Arithmetic of dense and skimming runs in closed form: 2 operations per multiply-add, as PyTorch's counter has it.

Counted are matrix products (linear layers, both products of attention) and convolutions; embeddings, norms, softmax
and activations are not, neither here nor in the counter.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import nn
from transformers import PreTrainedModel

from blockskim.encoders import EncoderAdapter


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


@dataclass(frozen=True, slots=True)
class LayerUse:
    """What a skimming run computed in one layer, for every sample. All of Shape: (batch,).

    Attributes:
        left: tokens that left it, after skimming.
        scoring: operations of the layer's predictor.
    """

    left: NDArray[np.int64]
    scoring: NDArray[np.int64]


def linears_in(modules: Iterable[nn.Module | None]) -> list[nn.Linear]:
    """The linear layers in some modules."""
    inside = (part for module in modules if module is not None for part in module.modules())
    return [part for part in inside if isinstance(part, nn.Linear)]


def linear_flops(linears: Sequence[nn.Linear]) -> int:
    """Operations of linear layers per token."""
    return sum(2 * linear.in_features * linear.out_features for linear in linears)


def model_cost(encoder: PreTrainedModel, adapter: EncoderAdapter, head: Sequence[nn.Linear]) -> ModelCost:
    """Read the costs off an encoder's layers and the linear layers of its QA head."""
    layers = []
    for layer in adapter.layers(encoder):
        before, after = adapter.linears(layer)
        dims = adapter.dims(layer)
        attended = dims.heads * dims.head_dim
        relative = adapter.relative
        terms = [] if relative is None else [part for part in relative.linears(layer) if part is not None]
        buckets = relative.bucket_count(encoder) if relative is not None and terms else 0
        layers.append(
            LayerCost(
                linear_flops(before) + len(terms) * buckets * 2 * attended,
                4 * attended,
                linear_flops(after),
                buckets * linear_flops(terms),
            )
        )
    return ModelCost(tuple(layers), linear_flops(adapter.embedding_linears(encoder)), linear_flops(head))


def dense_flops(cost: ModelCost, lengths: NDArray[np.integer]) -> NDArray[np.int64]:
    """Operations of the plain model, without predictors, on sequences of these lengths.

    Padding counts when it is part of the lengths. Shape: (batch,) to (batch,), whole numbers
    """
    tokens = lengths.astype(np.int64)
    each = cost.embedding + cost.head + sum(layer.before + layer.after for layer in cost.layers)
    fixed = (tokens > 0) * sum(layer.fixed for layer in cost.layers)
    return fixed + tokens * each + tokens**2 * sum(layer.pair for layer in cost.layers)


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
