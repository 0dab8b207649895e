"""Skim predictors: small networks that tell relevant blocks from irrelevant ones."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from blockskim.kernels.dims import LayerDims, head_channels
from blockskim.method.config import SkimConfig
from blockskim.method.layer_view import (
    LayerView,
    attended_features,
    hidden_features,
    question_features,
    tile_features,
)
from blockskim.method.predictors.match import ROUNDS, MatchPredictor


class TilePredictor(nn.Sequential):
    """The CNN of the paper over diagonal attention tiles, heads as channels.

    Conv 3x3, batch norm, ReLU, average pool 2; the same four again; flatten, heads first; linear to 2 logits.
    Maps tiles (blocks, heads, block_size, block_size) to logits (blocks, 2).
    """

    def __init__(self, heads: int, block_size: int) -> None:
        """Make the network for ``heads`` channels and tiles of ``block_size`` tokens."""
        layers: list[nn.Module] = []
        for _ in range(2):
            layers += [nn.Conv2d(heads, heads, 3, padding=1), nn.BatchNorm2d(heads), nn.ReLU(), nn.AvgPool2d(2)]
        super().__init__(*layers, nn.Flatten(), nn.Linear(heads * (block_size // 4) ** 2, 2))


class PooledPredictor(nn.Sequential):
    """A network with one hidden layer over pooled features (blocks, features), to logits (blocks, 2)."""

    def __init__(self, features: int, width: int, normalize: bool) -> None:
        """Make the network for ``features`` inputs, layer-normalised if asked, and ``width`` hidden units."""
        norm = nn.LayerNorm(features) if normalize else nn.Identity()
        super().__init__(norm, nn.Linear(features, width), nn.ReLU(), nn.Linear(width, 2))


class SkimPredictor(nn.Module):
    """Scores the blocks of one layer from the inputs that the config names; several inputs add their logits."""

    def __init__(self, config: SkimConfig, dims: LayerDims) -> None:
        """Make the branches for the config's inputs and the layer's sizes."""
        super().__init__()
        self.branches = nn.ModuleDict({name: _SOURCES[name].build(config, dims) for name in config.inputs})

        self.wants_attention = any(_SOURCES[name].wants_attention for name in config.inputs)

    def sources(self) -> list[tuple[Callable[[LayerView], Any], nn.Module]]:
        """The function that makes the features of each branch, and the branch."""
        return [(_SOURCES[name].features, branch) for name, branch in self.branches.items()]

    def forward(self, view: LayerView) -> Tensor:
        """Logits of "irrelevant" and "relevant" for each block of the view. Shape: (blocks, 2)."""
        logits = [branch(_cast(_SOURCES[name].features(view), branch)) for name, branch in self.branches.items()]
        return logits[0] if len(logits) == 1 else torch.stack(logits).sum(0)


def keep_probabilities(logits: Tensor) -> Tensor:
    """Probability that a block is relevant, in float32, from logits (..., 2). Shape: (...)."""
    return (logits[..., 1].float() - logits[..., 0].float()).sigmoid()


class PredictorCost(NamedTuple):
    """Floating-point operations (2 a multiply-add) of a predictor.

    Attributes:
        block: of judging one block.
        sample: once for every sample that has blocks to judge.
    """

    block: int
    sample: int

    def of(self, blocks: Any) -> Any:
        """Operations of judging so many blocks of one sample; an array of numbers gives an array."""
        return blocks * self.block + (blocks > 0) * self.sample


def predictor_cost(config: SkimConfig, dims: LayerDims, question_tokens: int) -> PredictorCost:
    """What judging the blocks of a sample costs whose question has ``question_tokens``.

    Counted are matrix products and convolutions, as PyTorch's counter does; products of queries and keys included.
    """
    costs = [_SOURCES[name].cost(config, dims, question_tokens) for name in config.inputs]
    return PredictorCost(sum(cost.block for cost in costs), sum(cost.sample for cost in costs))


def channels_of_heads(
    name: str, config: SkimConfig, dims: LayerDims, heads: Sequence[int]
) -> Mapping[int, Sequence[int]]:
    """Which channels the network of an input still needs when its layer is left with some heads only.

    Args:
        name: of the input.
        config: the skim settings.
        dims: of the layer while it had all heads.
        heads: places of the heads that are left, counted from 0.

    Returns:
        Places of the channels that stay, by how many there were of them.
    """
    return _SOURCES[name].channels(config, dims, heads)


@dataclass(frozen=True, slots=True)
class _Source:
    """An input: its features, the network that reads them, what both cost a block, whether it looks at attention.

    And which channels of the network belong to some heads.
    """

    features: Callable[[LayerView], Any]
    build: Callable[[SkimConfig, LayerDims], nn.Module]
    cost: Callable[[SkimConfig, LayerDims, int], PredictorCost]
    wants_attention: bool
    channels: Callable[[SkimConfig, LayerDims, Sequence[int]], Mapping[int, Sequence[int]]]


def whole_view(view: LayerView) -> LayerView:
    """The view itself, for a network that pools in a space that it learns."""
    return view


def _cast(features: Any, branch: nn.Module) -> Any:
    return features.to(next(branch.parameters()).dtype) if isinstance(features, Tensor) else features


def _question_width(dims: LayerDims) -> int:
    return 6 * dims.heads


def _hidden_width(dims: LayerDims) -> int:
    return 3 * (dims.hidden + dims.heads * dims.head_dim)


def _attended_width(dims: LayerDims) -> int:
    return 3 * dims.heads * dims.head_dim


def _pooled_cost(features: int, width: int) -> int:
    return 2 * (features * width + width * 2)


def _tile_cost(config: SkimConfig, dims: LayerDims, _question_tokens: int) -> PredictorCost:
    size, heads = config.block_size, dims.heads
    scores = heads * dims.head_dim * size**2
    convolutions = heads**2 * 9 * (size**2 + (size // 2) ** 2)
    return PredictorCost(2 * (scores + convolutions + heads * (size // 4) ** 2 * 2), 0)


def _question_cost(config: SkimConfig, dims: LayerDims, question_tokens: int) -> PredictorCost:
    scores = 2 * 2 * dims.heads * dims.head_dim * config.block_size * question_tokens
    return PredictorCost(scores + _pooled_cost(_question_width(dims), config.predictor_width), 0)


def _hidden_cost(config: SkimConfig, dims: LayerDims, _question_tokens: int) -> PredictorCost:
    return PredictorCost(_pooled_cost(_hidden_width(dims), config.predictor_width), 0)


def _attended_cost(config: SkimConfig, dims: LayerDims, _question_tokens: int) -> PredictorCost:
    return PredictorCost(_pooled_cost(_attended_width(dims), config.predictor_width), 0)


def _match_cost(config: SkimConfig, dims: LayerDims, question_tokens: int) -> PredictorCost:
    size, width = config.block_size, config.predictor_width
    token = dims.heads * dims.head_dim * width
    droppable = (3 * width + 3) * width + ROUNDS * 5 * width * width + 2 * width
    return PredictorCost(2 * (size * token + size * question_tokens * width + droppable), 2 * question_tokens * token)


def _build_tiles(config: SkimConfig, dims: LayerDims) -> nn.Module:
    return TilePredictor(dims.heads, config.block_size)


def _build_question(config: SkimConfig, dims: LayerDims) -> nn.Module:
    # Not normalised: the level of attention to the question, the same for all heads, is what tells blocks apart.
    return PooledPredictor(_question_width(dims), config.predictor_width, normalize=False)


def _build_hidden(config: SkimConfig, dims: LayerDims) -> nn.Module:
    return PooledPredictor(_hidden_width(dims), config.predictor_width, normalize=True)


def _build_attended(config: SkimConfig, dims: LayerDims) -> nn.Module:
    return PooledPredictor(_attended_width(dims), config.predictor_width, normalize=True)


def _build_match(config: SkimConfig, dims: LayerDims) -> nn.Module:
    return MatchPredictor(dims.heads * dims.head_dim, config.predictor_width)


def _tile_channels(config: SkimConfig, dims: LayerDims, heads: Sequence[int]) -> Mapping[int, Sequence[int]]:
    area = (config.block_size // 4) ** 2
    return {dims.heads: heads, dims.heads * area: head_channels(heads, area)}


def _question_channels(_config: SkimConfig, dims: LayerDims, heads: Sequence[int]) -> Mapping[int, Sequence[int]]:
    return {_question_width(dims): [first * dims.heads + head for first in range(6) for head in heads]}


def _hidden_channels(_config: SkimConfig, dims: LayerDims, heads: Sequence[int]) -> Mapping[int, Sequence[int]]:
    states = 3 * dims.hidden
    return {_hidden_width(dims): [*range(states), *_pooled_channels(dims, heads, states)]}


def _attended_channels(_config: SkimConfig, dims: LayerDims, heads: Sequence[int]) -> Mapping[int, Sequence[int]]:
    return {_attended_width(dims): _pooled_channels(dims, heads, 0)}


def _match_channels(_config: SkimConfig, dims: LayerDims, heads: Sequence[int]) -> Mapping[int, Sequence[int]]:
    return {dims.heads * dims.head_dim: head_channels(heads, dims.head_dim)}


def _pooled_channels(dims: LayerDims, heads: Sequence[int], first: int) -> list[int]:
    """Of mean, maximum and the question's mean of attention output, one behind the other."""
    width = dims.heads * dims.head_dim
    return [channel for part in range(3) for channel in head_channels(heads, dims.head_dim, first + part * width)]


_SOURCES = {
    "tiles": _Source(tile_features, _build_tiles, _tile_cost, True, _tile_channels),
    "question": _Source(question_features, _build_question, _question_cost, True, _question_channels),
    "hidden": _Source(hidden_features, _build_hidden, _hidden_cost, False, _hidden_channels),
    "attended": _Source(attended_features, _build_attended, _attended_cost, False, _attended_channels),
    "match": _Source(whole_view, _build_match, _match_cost, False, _match_channels),
}
