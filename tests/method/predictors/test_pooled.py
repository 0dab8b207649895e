import dataclasses
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from blockskim.kernels.dims import LayerDims
from blockskim.method.config import SkimConfig
from blockskim.method.layer_view import TokenBags
from blockskim.method.predictors.attended import attended_features
from blockskim.method.predictors.hidden import hidden_features
from blockskim.method.predictors.pooled import PooledPredictor
from blockskim.method.predictors.predictor import SkimPredictor
from layer_scenes import BLOCK, HEADS, HIDDEN, SIZE, Scene

some = settings(max_examples=max(5, settings.default.max_examples // 3))


def pooled(scene, row, states):
    """Mean and maximum of a block, and mean of its question, in float64."""
    start, length = scene.blocks[row]
    states = states.double().numpy()
    block, question = states[start : start + length], states[scene.questions[scene.samples[row]]]
    return [block.mean(0), block.max(0), question.mean(0)]


@some
@given(st.integers(0, 999))
def test_hidden_and_attended_features_worked_out_with_numpy(seed):
    scene = Scene(seed=seed)
    hidden, attended = hidden_features(scene.view).numpy(), attended_features(scene.view).numpy()
    assert hidden.shape == (4, 3 * (HIDDEN + HEADS * SIZE))
    assert attended.shape == (4, 3 * HEADS * SIZE)
    for row in range(4):
        expected = [pooled(scene, row, states) for states in (scene.hidden, scene.attn_output)]
        np.testing.assert_allclose(hidden[row], np.concatenate(expected[0] + expected[1]), atol=1e-6)
        np.testing.assert_allclose(attended[row], np.concatenate(expected[1]), atol=1e-6)


@pytest.mark.parametrize("length", [1, 2, BLOCK])
def test_pooled_states_in_bfloat16_are_rounded_once(length):
    scene = Scene(blocks=((8, length), (35, 8)))
    view = dataclasses.replace(scene.view, attn_output=scene.attn_output.bfloat16())
    features = attended_features(view).double().numpy()
    for row in range(2):
        expected = np.concatenate(pooled(scene, row, view.attn_output))
        np.testing.assert_allclose(features[row], expected, rtol=2**-8, atol=2**-16)


@pytest.mark.parametrize("features", [hidden_features, attended_features])
def test_bags_that_were_made_before_give_the_same(features):
    view = Scene().view
    places = [[*range(8, 16)], [*range(16, 24)], [24, 25], [*range(35, 43)], [1, 2, 3], [28, 29, 30, 31, 32]]
    offsets = np.cumsum([0, *(len(part) for part in places[:-1])])
    bags = TokenBags(torch.tensor([*itertools.chain(*places)]), torch.from_numpy(offsets))
    assert torch.equal(features(dataclasses.replace(view, bags=bags)), features(view))


@pytest.mark.parametrize("features", [hidden_features, attended_features])
def test_pooled_states_need_no_attention(features):
    view = Scene().view
    assert torch.equal(features(dataclasses.replace(view, attention=None)), features(view))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("features", [hidden_features, attended_features])
def test_gradients_reach_the_tokens_of_blocks_and_questions_alone(features, dtype):
    scene = Scene()
    attn_output = scene.attn_output.to(dtype).requires_grad_()
    hidden = scene.hidden.to(dtype).requires_grad_()
    view = dataclasses.replace(scene.view, hidden=hidden, attn_output=attn_output)
    features(view).float().square().sum().backward()
    places = {place for start, length in scene.blocks for place in range(start, start + length)}
    places |= {place for question in scene.questions for place in question}
    for states in (attn_output, hidden) if features is hidden_features else (attn_output,):
        assert set(states.grad.abs().sum(1).nonzero().flatten().tolist()) == places
    assert hidden.grad is not None or features is attended_features


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


def test_predictor_width_is_that_of_the_hidden_layer():
    predictor = SkimPredictor(
        SkimConfig(inputs=("question", "hidden", "attended"), predictor_width=7), LayerDims(20, 4, 8)
    )
    assert [branch[1].out_features for branch in predictor.branches.values()] == [7, 7, 7]
