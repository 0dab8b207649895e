import dataclasses
import math

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from blockskim.kernels.attention_probabilities import AttentionRows
from blockskim.kernels.dims import LayerDims
from blockskim.method.blocks import token_indices
from blockskim.method.config import INPUTS, SkimConfig
from blockskim.method.layer_view import LayerView, attended_features, hidden_features, question_features, tile_features
from blockskim.method.predictors.predictor import (
    PooledPredictor,
    SkimPredictor,
    TilePredictor,
    keep_probabilities,
    predictor_cost,
    whole_view,
)

FEATURES = {
    "tiles": tile_features,
    "question": question_features,
    "hidden": hidden_features,
    "attended": attended_features,
    "match": whole_view,
}


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


def test_pooled_predictor_is_a_network_with_one_hidden_layer():
    predictor = PooledPredictor(6, 5, normalize=True)
    features = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    state = {name: value.detach().double().numpy() for name, value in predictor.state_dict().items()}
    values = features.double().numpy()
    values = (values - values.mean(1, keepdims=True)) / np.sqrt(values.var(1, keepdims=True) + 1e-5)
    values = values * state["0.weight"] + state["0.bias"]
    values = np.maximum(values @ state["1.weight"].T + state["1.bias"], 0)
    expected = values @ state["3.weight"].T + state["3.bias"]
    np.testing.assert_allclose(predictor(features).detach().numpy(), expected, atol=1e-5)


def make_view(heads=4, head_dim=8, hidden=20, block_size=16, question=6, blocks=3, dtype=torch.float32):
    tokens = 1 + question + 1 + blocks * block_size
    generator = torch.Generator().manual_seed(0)
    query, key = (torch.randn(tokens, heads, head_dim, generator=generator).to(dtype) for _ in range(2))
    sums = (torch.einsum("qhd,khd->hqk", query.float(), key.float()) * head_dim**-0.5).logsumexp(-1).T
    starts = torch.arange(blocks) * block_size + question + 2
    indices, exists = token_indices(starts, torch.full((blocks,), block_size), block_size)
    return LayerView(
        AttentionRows(query, key, sums, head_dim**-0.5),
        torch.randn(tokens, hidden, generator=generator).to(dtype),
        torch.randn(tokens, heads * head_dim, generator=generator).to(dtype),
        indices,
        exists,
        torch.zeros(blocks, dtype=torch.long),
        torch.arange(1, question + 1)[None],
        torch.ones(1, question, dtype=torch.bool),
        torch.arange(blocks),
    )


DIMS = LayerDims(20, 4, 8)


@pytest.mark.parametrize(
    "inputs", [("tiles",), ("question",), ("hidden",), ("attended",), ("match",), ("hidden", "tiles"), INPUTS]
)
def test_several_inputs_add_their_logits(inputs):
    torch.manual_seed(0)
    predictor = SkimPredictor(SkimConfig(block_size=16, inputs=inputs), DIMS).eval()
    view = make_view()
    logits = predictor(view)
    assert logits.shape == (3, 2)
    assert list(predictor.branches) == list(inputs)
    expected = sum(branch(FEATURES[name](view)) for name, branch in predictor.branches.items())
    torch.testing.assert_close(logits, expected)


def test_predictor_width_is_that_of_the_hidden_layer():
    predictor = SkimPredictor(SkimConfig(inputs=("question", "hidden", "attended"), predictor_width=7), DIMS)
    assert [branch[1].out_features for branch in predictor.branches.values()] == [7, 7, 7]


@pytest.mark.parametrize(
    ("inputs", "wants"),
    [
        (("tiles",), True),
        (("question",), True),
        (("hidden",), False),
        (("attended",), False),
        (("match",), False),
        (("attended", "hidden"), False),
        (("hidden", "question"), True),
        (INPUTS, True),
    ],
)
def test_predictors_say_whether_they_look_at_attention(inputs, wants):
    predictor = SkimPredictor(SkimConfig(block_size=16, inputs=inputs), DIMS)
    assert predictor.wants_attention is wants
    blind = dataclasses.replace(make_view(), attention=None)
    if wants:
        with pytest.raises(ValueError, match="attention"):
            predictor(blind)
    else:
        assert torch.equal(predictor(blind), predictor(make_view()))


def test_predictor_in_bfloat16():
    predictor = SkimPredictor(SkimConfig(block_size=16, inputs=INPUTS), DIMS).eval().to(torch.bfloat16)
    logits = predictor(make_view(dtype=torch.bfloat16))
    assert logits.dtype == torch.bfloat16
    probabilities = keep_probabilities(logits)
    assert probabilities.dtype == torch.float32
    assert bool(((probabilities >= 0) & (probabilities <= 1)).all())


def test_keep_probability_is_the_softmax_of_the_second_logit():
    logits = torch.randn(7, 3, 2, generator=torch.Generator().manual_seed(0)) * 4
    torch.testing.assert_close(keep_probabilities(logits), logits.softmax(-1)[..., 1])
    extreme = torch.tensor([[-300.0, 300.0], [300.0, -300.0]])
    assert keep_probabilities(extreme).tolist() == [1.0, 0.0]


@pytest.mark.parametrize("block_size", [8, 16, 32, 64])
@pytest.mark.parametrize("inputs", [("tiles",), ("question",), ("hidden",), ("attended",), ("match",), INPUTS])
def test_predictor_flops_are_what_the_counter_counts(inputs, block_size):
    config = SkimConfig(block_size=block_size, inputs=inputs, predictor_width=9)
    predictor = SkimPredictor(config, DIMS).eval()
    for question, blocks in ((6, 1), (11, 3)):
        view = make_view(block_size=block_size, question=question, blocks=blocks)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            predictor(view)
        assert counter.get_total_flops() == predictor_cost(config, DIMS, question).of(blocks)


def test_predictor_costs_less_than_a_hundredth_of_a_layer():
    dims, tokens = LayerDims(768, 12, 64), 512
    layer = 2 * tokens * (4 * 768**2 + 2 * 768 * 3072) + 4 * tokens**2 * 768
    assert predictor_cost(SkimConfig.paper(), dims, 12).of(tokens // 32) < layer / 100
