"""The predictor of the paper: a CNN over the attention of each block to itself."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from blockskim.kernels.dims import LayerDims, head_channels
from blockskim.method.config import SkimConfig
from blockskim.method.cost import PredictorCost
from blockskim.method.layer_view import LayerView, attention_of
from blockskim.method.predictors.base import PredictorKind

BLOCKS = 8
"""In inference the network gets blocks in multiples of so many: for every number of them oneDNN makes a kernel."""


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


def tile_features(view: LayerView) -> Tensor:
    """Diagonal attention tiles: the attention of each block to itself, 0 where a block is shorter.

    Shape: (blocks, heads, block_size, block_size)
    """
    exists = view.exists[:, :, None] & view.exists[:, None, :]
    return attention_of(view).probabilities(view.tokens, view.tokens, exists)


def tile_margin(network: TilePredictor) -> Callable[[Tensor], Tensor]:
    """The network for inference, in the number format of its weights, as convolutions are most of its work.

    Returns:
        A function from tiles to "relevant" minus "irrelevant". Shapes: (blocks, heads, block_size, block_size) to
        (blocks,)
    """
    dtype = next(network.parameters()).dtype

    def margin(tiles: Tensor) -> Tensor:
        blocks = len(tiles)
        filled = tiles.new_zeros((-blocks % BLOCKS, *tiles.shape[1:]))
        logits = network(torch.cat([tiles, filled]).to(dtype)).float()
        return logits[:blocks, 1] - logits[:blocks, 0]

    return margin


def _network(config: SkimConfig, dims: LayerDims) -> TilePredictor:
    return TilePredictor(dims.heads, config.block_size)


def _cost(config: SkimConfig, dims: LayerDims, _question_tokens: int) -> PredictorCost:
    size, heads = config.block_size, dims.heads
    scores = heads * dims.head_dim * size**2
    convolutions = heads**2 * 9 * (size**2 + (size // 2) ** 2)
    return PredictorCost(2 * (scores + convolutions + heads * (size // 4) ** 2 * 2), 0)


def _channels_of_heads(config: SkimConfig, dims: LayerDims, heads: Sequence[int]) -> Mapping[int, Sequence[int]]:
    area = (config.block_size // 4) ** 2
    return {dims.heads: heads, dims.heads * area: head_channels(heads, area)}


KIND = PredictorKind(
    name="tiles",
    features=tile_features,
    network=_network,
    cost=_cost,
    channels_of_heads=_channels_of_heads,
    margin=tile_margin,
    modules=frozenset({TilePredictor, nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.AvgPool2d, nn.Flatten, nn.Linear}),
    wants_attention=True,
)
