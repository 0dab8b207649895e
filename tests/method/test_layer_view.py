import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from blockskim.kernels.attention_probabilities import AttentionRows
from blockskim.method.blocks import token_indices
from blockskim.method.layer_view import (
    LayerView,
    TokenBags,
    attended_features,
    hidden_features,
    question_features,
    tile_features,
)

ALL = [tile_features, question_features, hidden_features, attended_features]
HEADS, SIZE, HIDDEN, BLOCK = 2, 4, 6, 8
some = settings(max_examples=max(5, settings.default.max_examples // 3))


class Scene:
    """Two packed samples with questions of 3 and 5 tokens, their blocks, and the full attention matrices."""

    def __init__(self, lengths=(27, 18), questions=(3, 5), blocks=((8, 8), (16, 8), (24, 2), (35, 8)), seed=0):
        generator = torch.Generator().manual_seed(seed)
        total = sum(lengths)
        query, key = (torch.randn(total, HEADS, SIZE, generator=generator) for _ in range(2))
        self.hidden = torch.randn(total, HIDDEN, generator=generator)
        self.context = torch.randn(total, HEADS * SIZE, generator=generator)
        self.blocks = blocks
        self.first = [0, lengths[0]]
        self.samples = [int(start >= lengths[0]) for start, _ in blocks]
        self.questions = [[first + 1 + i for i in range(n)] for first, n in zip(self.first, questions, strict=True)]
        scores = torch.einsum("qhd,khd->hqk", query, key) / math.sqrt(SIZE)
        same = torch.zeros(total, total, dtype=torch.bool)
        same[: lengths[0], : lengths[0]] = same[lengths[0] :, lengths[0] :] = True
        scores = scores.masked_fill(~same, -torch.inf)
        self.matrix = scores.softmax(-1).numpy()
        starts, sizes = torch.tensor(blocks).unbind(-1)
        tokens, exists = token_indices(starts, sizes, BLOCK)
        width = max(questions)
        question = torch.zeros(2, width, dtype=torch.long)
        for row, places in enumerate(self.questions):
            question[row, : len(places)] = torch.tensor(places)
        self.view = LayerView(
            AttentionRows(query, key, scores.logsumexp(-1).T, SIZE**-0.5),
            self.hidden,
            self.context,
            tokens,
            exists,
            torch.tensor(self.samples),
            question,
            torch.arange(width) < torch.tensor(questions)[:, None],
            torch.arange(len(blocks)),
        )


def test_tiles_are_the_diagonal_blocks_of_the_attention_matrix():
    scene = Scene()
    tiles = tile_features(scene.view).numpy()
    assert tiles.shape == (4, HEADS, BLOCK, BLOCK)
    for tile, (start, length) in zip(tiles, scene.blocks, strict=True):
        part = slice(start, start + length)
        np.testing.assert_allclose(tile[:, :length, :length], scene.matrix[:, part, part], atol=1e-6)
        assert not tile[:, length:].any()
        assert not tile[:, :, length:].any()


def scaled_log(mass):
    return 1 - 2 * math.log(mass + 1e-4) / math.log(1e-4)


@some
@given(st.integers(0, 999))
def test_question_features_worked_out_entry_by_entry(seed):
    scene = Scene(seed=seed)
    features = question_features(scene.view).numpy()
    assert features.shape == (4, 6 * HEADS)
    for row, (start, length) in enumerate(scene.blocks):
        block, question = range(start, start + length), scene.questions[scene.samples[row]]
        expected = []
        for rows, columns in ((block, question), (question, block)):
            entries = [[[float(head[i, j]) for j in columns] for i in rows] for head in scene.matrix]
            masses = [[sum(line) for line in head] for head in entries]
            expected += [sum(head) / len(head) for head in masses]
            expected += [max(head) for head in masses]
            expected += [max(max(line) for line in head) for head in entries]
        np.testing.assert_allclose(features[row], [scaled_log(mass) for mass in expected], atol=2e-5)


@some
@given(st.integers(0, 999))
def test_question_features_lie_between_nothing_and_everything(seed):
    features = question_features(Scene(seed=seed).view)
    assert float(features.min()) >= -1.0 - 1e-6
    assert float(features.max()) <= 1.0 + 1e-4
    assert scaled_log(0) == -1.0
    assert scaled_log(1) == pytest.approx(1.0, abs=1e-4)


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
        expected = [pooled(scene, row, states) for states in (scene.hidden, scene.context)]
        np.testing.assert_allclose(hidden[row], np.concatenate(expected[0] + expected[1]), atol=1e-6)
        np.testing.assert_allclose(attended[row], np.concatenate(expected[1]), atol=1e-6)


@pytest.mark.parametrize("length", [1, 2, BLOCK])
def test_pooled_states_in_bfloat16_are_rounded_once(length):
    scene = Scene(blocks=((8, length), (35, 8)))
    view = dataclasses.replace(scene.view, context=scene.context.bfloat16())
    features = attended_features(view).double().numpy()
    for row in range(2):
        expected = np.concatenate(pooled(scene, row, view.context))
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


@pytest.mark.parametrize("features", [tile_features, question_features])
def test_inputs_that_look_at_attention_say_so_when_there_is_none(features):
    with pytest.raises(ValueError, match="looks at attention"):
        features(dataclasses.replace(Scene().view, attention=None))


@pytest.mark.parametrize("features", ALL)
def test_features_of_a_block_do_not_depend_on_other_blocks_and_samples(features):
    scene = Scene()
    everything = features(scene.view)
    view = scene.view
    alone = LayerView(
        view.attention,
        view.hidden,
        view.context,
        view.tokens[2:3],
        view.exists[2:3],
        torch.tensor([0]),
        view.question[:1, :3],
        view.question_exists[:1, :3],
        view.places[2:3],
    )
    torch.testing.assert_close(features(alone), everything[2:3], atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("features", ALL)
def test_features_of_a_sample_without_a_question_are_finite(features):
    view = Scene().view
    lonely = dataclasses.replace(view, question_exists=torch.zeros_like(view.question_exists))
    assert bool(features(lonely).isfinite().all())


@pytest.mark.parametrize("features", [tile_features, question_features])
def test_gradients_reach_queries_and_keys(features):
    view = Scene().view
    rows = view.attention
    query, key = rows.query.clone().requires_grad_(), rows.key.clone().requires_grad_()
    attention = AttentionRows(query, key, rows.log_sum_exp, rows.scale)
    features(dataclasses.replace(view, attention=attention)).square().sum().backward()
    assert float(query.grad.abs().sum()) > 0
    assert float(key.grad.abs().sum()) > 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("features", [hidden_features, attended_features])
def test_gradients_reach_the_tokens_of_blocks_and_questions_alone(features, dtype):
    scene = Scene()
    context = scene.context.to(dtype).requires_grad_()
    hidden = scene.hidden.to(dtype).requires_grad_()
    view = dataclasses.replace(scene.view, hidden=hidden, context=context)
    features(view).float().square().sum().backward()
    places = {place for start, length in scene.blocks for place in range(start, start + length)}
    places |= {place for question in scene.questions for place in question}
    for states in (context, hidden) if features is hidden_features else (context,):
        assert set(states.grad.abs().sum(1).nonzero().flatten().tolist()) == places
    assert hidden.grad is not None or features is attended_features
