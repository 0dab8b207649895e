"""What the kinds of predictors over pooled features share: pooling, network, cost, and the form for inference."""

from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blockskim.kernels.attention_probabilities import take_rows
from blockskim.kernels.dims import LayerDims, head_channels
from blockskim.method.config import SkimConfig
from blockskim.method.cost import PredictorCost
from blockskim.method.layer_view import LayerView, token_bags
from blockskim.method.predictors.base import PredictorKind


class PooledPredictor(nn.Sequential):
    """A network with one hidden layer over pooled features (blocks, features), to logits (blocks, 2)."""

    def __init__(self, features: int, width: int, normalize: bool) -> None:
        """Make the network for ``features`` inputs, layer-normalised if asked, and ``width`` hidden units."""
        norm = nn.LayerNorm(features) if normalize else nn.Identity()
        super().__init__(norm, nn.Linear(features, width), nn.ReLU(), nn.Linear(width, 2))


POOLED_MODULES = frozenset({PooledPredictor, nn.LayerNorm, nn.Identity, nn.Linear, nn.ReLU})
"""The classes that a ``PooledPredictor`` is made of."""


def pooled_states(view: LayerView, states: Tensor) -> Tensor:
    """Mean and maximum over each block, and mean over its question. Shapes: (tokens, width) to (blocks, 3 * width)."""
    # Entries beyond a block's end repeat its first token, which leaves the maximum alone.
    own = take_rows(states, view.tokens)
    if torch.compiler.is_exporting():
        # The exporter knows no sets of several sizes.
        mean = _mean(own, view.exists)
        asked = _mean(take_rows(states, view.question), view.question_exists).index_select(0, view.samples)
        return torch.cat([mean, own.amax(1), asked], -1)
    bags = token_bags(view)
    # One operation for sets of all sizes; a set without a token has a mean of 0.
    means = F.embedding_bag(bags.tokens, states, bags.offsets, mode="mean")
    blocks = len(view.tokens)
    return torch.cat([means[:blocks], own.amax(1), means[blocks:].index_select(0, view.samples)], -1)


def _mean(states: Tensor, exists: Tensor) -> Tensor:
    """Mean over the tokens that exist, 0 where none does.

    Shapes: (sets, tokens, width), (sets, tokens) to (sets, width)
    """
    return (states * exists[..., None]).sum(1) / exists.sum(1, keepdim=True).clamp_min(1)


def network_flops(features: int, width: int) -> int:
    """Operations of the network per block."""
    return 2 * (features * width + width * 2)


def pooled_margin(network: PooledPredictor) -> Callable[[Tensor], Tensor]:
    """The network for inference, in float32 whatever the model runs in.

    It is so small that everything but the arithmetic counts, and float32 has neither conversions nor kernels that are
    made anew for every number of blocks.

    Returns:
        A function from features to "relevant" minus "irrelevant". Shapes: (blocks, features) to (blocks,)
    """
    norm, widen, decide = network[0], network[1], network[3]
    assert isinstance(widen, nn.Linear) and isinstance(decide, nn.Linear)
    weight, bias = widen.weight.detach().float().t().contiguous(), widen.bias.detach().float()
    difference = decide.weight.detach().float()[1] - decide.weight.detach().float()[0]
    offset = float(decide.bias.detach().float()[1] - decide.bias.detach().float()[0])
    scales = (norm.weight.detach().float(), norm.bias.detach().float()) if isinstance(norm, nn.LayerNorm) else None

    def margin(features: Tensor) -> Tensor:
        rows = features.float()
        if scales is not None:
            rows = F.layer_norm(rows, rows.shape[1:], *scales)
        return torch.mv(torch.addmm(bias, rows, weight).relu_(), difference).add_(offset)

    return margin


def pooled_kind(name: str, features: Callable[[LayerView], Tensor], first: Callable[[LayerDims], int]) -> PredictorKind:
    """A kind of predictor over pooled states, of which the last are attention output.

    Args:
        name: of the kind.
        features: (view of a layer) -> pooled states. Shape: (blocks, features)
        first: (dims of the layer) -> number of features before those of attention output.
    """

    def count(dims: LayerDims) -> int:
        return first(dims) + 3 * dims.heads * dims.head_dim

    def network(config: SkimConfig, dims: LayerDims) -> PooledPredictor:
        return PooledPredictor(count(dims), config.predictor_width, normalize=True)

    def cost(config: SkimConfig, dims: LayerDims, _question_tokens: int) -> PredictorCost:
        return PredictorCost(network_flops(count(dims), config.predictor_width), 0)

    def channels(_config: SkimConfig, dims: LayerDims, heads: Sequence[int]) -> Mapping[int, Sequence[int]]:
        # Attention output thrice, one behind the other: a block's mean and maximum, its question's mean.
        starts = [first(dims) + part * dims.heads * dims.head_dim for part in range(3)]
        own = [channel for start in starts for channel in head_channels(heads, dims.head_dim, start)]
        return {count(dims): [*range(first(dims)), *own]}

    return PredictorKind(
        name=name,
        features=features,
        network=network,
        cost=cost,
        channels_of_heads=channels,
        margin=pooled_margin,
        modules=POOLED_MODULES,
    )
