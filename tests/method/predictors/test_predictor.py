import dataclasses

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from blockskim.kernels.attention_probabilities import AttentionRows
from blockskim.kernels.dims import LayerDims
from blockskim.method.blocks import token_indices
from blockskim.method.config import INPUTS, SkimConfig
from blockskim.method.layer_view import LayerView
from blockskim.method.predictors.predictor import KINDS, SkimPredictor, keep_probabilities, predictor_cost
from layer_scenes import Scene

every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


def features_of(names):
    return pytest.mark.parametrize("features", [KINDS[name].features for name in names], ids=names)


def test_every_input_of_the_settings_is_a_kind_and_the_other_way_round():
    assert tuple(KINDS) == INPUTS
    assert all(kind.name == name for name, kind in KINDS.items())


@every_kind
def test_a_kind_names_all_that_its_network_is_made_of(kind):
    network = kind.network(SkimConfig(inputs=(kind.name,)), DIMS)
    assert {type(part) for part in network.modules()} <= kind.modules


@every_kind
def test_a_kind_says_whether_its_features_look_at_attention(kind):
    if kind.wants_attention:
        with pytest.raises(ValueError, match="looks at attention"):
            kind.features(dataclasses.replace(Scene().view, attention=None))
    else:
        kind.features(dataclasses.replace(Scene().view, attention=None))


@features_of(["tiles", "question", "hidden", "attended"])
def test_features_of_a_block_do_not_depend_on_other_blocks_and_samples(features):
    scene = Scene()
    everything = features(scene.view)
    view = scene.view
    alone = LayerView(
        view.attention,
        view.hidden,
        view.attn_output,
        view.tokens[2:3],
        view.exists[2:3],
        torch.tensor([0]),
        view.question[:1, :3],
        view.question_exists[:1, :3],
        view.block_numbers[2:3],
    )
    torch.testing.assert_close(features(alone), everything[2:3], atol=1e-6, rtol=1e-6)


@features_of(["tiles", "question", "hidden", "attended"])
def test_features_of_a_sample_without_a_question_are_finite(features):
    view = Scene().view
    lonely = dataclasses.replace(view, question_exists=torch.zeros_like(view.question_exists))
    assert bool(features(lonely).isfinite().all())


@features_of(["tiles", "question"])
def test_gradients_reach_queries_and_keys(features):
    view = Scene().view
    rows = view.attention
    query, key = rows.query.clone().requires_grad_(), rows.key.clone().requires_grad_()
    attention = AttentionRows(query, key, rows.log_sum_exp, rows.scale)
    features(dataclasses.replace(view, attention=attention)).square().sum().backward()
    assert float(query.grad.abs().sum()) > 0
    assert float(key.grad.abs().sum()) > 0


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
    expected = sum(branch(KINDS[name].features(view)) for name, branch in predictor.branches.items())
    torch.testing.assert_close(logits, expected)


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
