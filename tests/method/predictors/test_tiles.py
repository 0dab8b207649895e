import math

import numpy as np
import pytest
import torch

from blockskim.kernels.dims import LayerDims
from blockskim.method.config import SkimConfig
from blockskim.method.predictors.predictor import SkimPredictor
from blockskim.method.predictors.tiles import TilePredictor, tile_features
from layer_scenes import BLOCK, HEADS, Scene


def test_tiles_are_the_diagonal_blocks_of_the_attention_matrix():
    scene = Scene()
    tiles = tile_features(scene.view).numpy()
    assert tiles.shape == (4, HEADS, BLOCK, BLOCK)
    for tile, (start, length) in zip(tiles, scene.blocks, strict=True):
        part = slice(start, start + length)
        np.testing.assert_allclose(tile[:, :length, :length], scene.matrix[:, part, part], atol=1e-6)
        assert not tile[:, length:].any()
        assert not tile[:, :, length:].any()


def paper_module(tiles, weights, training):
    """The predictor of the paper in plain numpy: [conv 3x3, batch norm, ReLU, average pool 2] twice, linear."""
    values = tiles
    for first in (0, 4):
        kernel, bias = weights[f"{first}.weight"], weights[f"{first}.bias"]
        blocks, channels, height, width = values.shape
        padded = np.zeros((blocks, channels, height + 2, width + 2))
        padded[:, :, 1:-1, 1:-1] = values
        convolved = np.zeros((blocks, len(kernel), height, width))
        for row in range(3):
            for column in range(3):
                window = padded[:, :, row : row + height, column : column + width]
                convolved += np.einsum("bihw,oi->bohw", window, kernel[:, :, row, column])
        convolved += bias[:, None, None]
        if training:
            mean, variance = convolved.mean((0, 2, 3)), convolved.var((0, 2, 3))
        else:
            mean, variance = weights[f"{first + 1}.running_mean"], weights[f"{first + 1}.running_var"]
        normal = (convolved - mean[:, None, None]) / np.sqrt(variance + 1e-5)[:, None, None]
        normal = normal * weights[f"{first + 1}.weight"][:, None, None] + weights[f"{first + 1}.bias"][:, None, None]
        rectified = np.maximum(normal, 0)
        values = rectified.reshape(blocks, -1, height // 2, 2, width // 2, 2).mean((3, 5))
    return values.reshape(len(values), -1) @ weights["9.weight"].T + weights["9.bias"]


def tile_weights(heads, block_size, seed=0):
    """Weights under the names of the paper's sequence: 0, 4 convolutions; 1, 5 batch norms; 9 the linear layer."""
    random = np.random.default_rng(seed)
    weights = {}
    for first in (0, 4):
        weights[f"{first}.weight"] = random.normal(size=(heads, heads, 3, 3))
        weights[f"{first}.bias"] = random.normal(size=heads)
        weights[f"{first + 1}.weight"] = random.normal(size=heads)
        weights[f"{first + 1}.bias"] = random.normal(size=heads)
        weights[f"{first + 1}.running_mean"] = random.normal(size=heads)
        weights[f"{first + 1}.running_var"] = random.uniform(0.5, 2.0, size=heads)
    weights["9.weight"] = random.normal(size=(2, heads * (block_size // 4) ** 2)) / block_size
    weights["9.bias"] = random.normal(size=2)
    return weights


def tile_predictor(weights, heads, block_size):
    predictor = TilePredictor(heads, block_size)
    missing, unexpected = predictor.load_state_dict(
        {name: torch.from_numpy(value).float() for name, value in weights.items()}, strict=False
    )
    assert [name for name in missing if "num_batches_tracked" not in name] == []
    assert unexpected == []
    return predictor


def random_tiles(blocks, heads, block_size, seed=0):
    tiles = np.random.default_rng(seed).exponential(size=(blocks, heads, block_size, block_size)) ** 2
    return tiles / tiles.sum(-1, keepdims=True)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(("heads", "block_size"), [(12, 32), (3, 8), (1, 16), (2, 64)])
def test_predictor_equals_the_module_of_the_paper(heads, block_size, training):
    weights = tile_weights(heads, block_size)
    predictor = tile_predictor(weights, heads, block_size).train(training)
    tiles = random_tiles(5, heads, block_size)
    found = predictor(torch.from_numpy(tiles).float()).detach().numpy()
    np.testing.assert_allclose(found, paper_module(tiles, weights, training), atol=1e-5, rtol=1e-5)


def test_predictor_with_weights_set_by_hand():
    # One head. The first convolution moves the tile by one column, the second doubles; the norms add 1 and 0.
    predictor = TilePredictor(1, 8).eval()
    with torch.no_grad():
        for value in predictor.parameters():
            value.zero_()
        predictor[0].weight[0, 0, 1, 0] = 1.0  # the entry to the left
        predictor[4].weight[0, 0, 1, 1] = 2.0
        for norm, shift in ((predictor[1], 1.0), (predictor[5], 0.0)):
            norm.weight.fill_(math.sqrt(1 + 1e-5))  # cancels the epsilon
            norm.bias.fill_(shift)
        predictor[9].weight[0, 0] = 1.0
        predictor[9].weight[1] = 1.0
        predictor[9].bias[1] = -10.0
    tile = torch.zeros(1, 1, 8, 8)
    tile[0, 0, 0, 0] = 1.0
    tile[0, 0, 7, 7] = 1.0  # leaves the tile when moved right
    # After conv, norm, ReLU: 1 everywhere, 2 at (0, 1). Pooled: 1, and 1.25 at (0, 0). Doubled: 2, and 2.5.
    # Pooled again: 2, and 2.125 at (0, 0). Sum of the four: 8.125.
    torch.testing.assert_close(predictor(tile), torch.tensor([[2.125, 8.125 - 10.0]]), atol=1e-5, rtol=0)


def test_flattening_puts_heads_first():
    predictor = TilePredictor(2, 8).eval()
    assert predictor[9].in_features == 2 * 2 * 2
    weights = tile_weights(2, 8)
    weights["9.weight"][:] = 0
    weights["9.weight"][1, 4:] = 1.0  # the second head
    predictor = tile_predictor(weights, 2, 8).eval()
    tiles = torch.from_numpy(random_tiles(3, 2, 8)).float()
    inner = tiles
    for layer in list(predictor)[:8]:
        inner = layer(inner)
    logits = predictor(tiles)
    torch.testing.assert_close(logits[:, 1], inner[:, 1].sum((1, 2)) + float(weights["9.bias"][1]))


def test_predictor_has_4202_parameters_at_12_heads_and_block_32():
    config = SkimConfig.paper()
    predictor = SkimPredictor(config, LayerDims(768, 12, 64))
    assert sum(value.numel() for value in predictor.parameters()) == 4202
