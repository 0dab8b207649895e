import copy
import dataclasses
import gc
import math
import pickle
import weakref

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parametrizations, prune
from torch.utils._python_dispatch import TorchDispatchMode

from blockskim.encoders import adapter_for
from blockskim.kernels import packed_linear
from blockskim.model import prepared_layers
from blockskim.model.prepared_layers import CHUNK, PreparedLayers
from strategies import every_family
from tiny_models import SIZES, dense_model, encoder_config, make_batch, new_dense_model, new_skim_model, skim_model

HIDDEN, WIDE, HEADS, SIZE, LAYERS = 32, 48, 4, 8, 3
BATCH = make_batch("bert", [(4, 30), (2, 41), (6, 12)], padding=2)
some = settings(max_examples=max(5, settings.default.max_examples // 3))
every_way = pytest.mark.parametrize("packs", [True, False], ids=["packed", "plain"])


def close(found, expected, atol=1e-5):
    torch.testing.assert_close(found, expected, atol=atol, rtol=0)


def states(rows, width=HIDDEN, seed=0, dtype=torch.float32):
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(seed)).to(dtype)


def choose(patch, packs):
    """Leave it to the machine whether weights are packed, or forbid it."""
    if not packs:
        patch.setattr(packed_linear, "can_pack", lambda weight: False)


def ready_of(model):
    return model._prepared_layers.of(model.encoder, model.adapter)


def skimmed(model, **settings):
    """Logits of real tokens. The layers are made ready for it, if they are not."""
    found = model.skim(**BATCH.inputs, **{"thresholds": 0.0, **settings})
    return torch.stack([found.start_logits, found.end_logits])[:, BATCH.real]


def dense(model):
    """The same by the model's own modules."""
    with torch.no_grad():
        found = model(**BATCH.inputs)
    return torch.stack([found.start_logits, found.end_logits])[:, BATCH.real].float()


def some_linear(model):
    return model.encoder.encoder.layer[1].output.dense


def test_sizes_are_those_of_the_tiny_models():
    names = ("hidden_size", "intermediate_size", "num_attention_heads", "num_hidden_layers")
    assert [SIZES[name] for name in names] == [HIDDEN, WIDE, HEADS, LAYERS] == [HEADS * SIZE, WIDE, HEADS, LAYERS]


@every_family
@every_way
@some
@given(st.integers(1, 40), st.integers(0, LAYERS - 1), st.integers(0, 99))
@torch.no_grad()
def test_ready_layers_do_what_the_adapter_does(family, packs, rows, number, seed):
    encoder, adapter = dense_model(family).base_model, adapter_for(family)
    with pytest.MonkeyPatch.context() as patch:
        choose(patch, packs)
        found = PreparedLayers().of(encoder, adapter)
        assert len(found) == LAYERS
        layer, expected = found[number], adapter.layers(encoder)[number]
        hidden, context = states(rows, seed=seed), states(rows, seed=seed + 1)
        query, key, value = layer.project(hidden)
        left = layer.finish(context, hidden)
    parts = adapter.project(expected, hidden)
    assert layer.scale == (1.0 if adapter.parts is not None else adapter.scale(expected))
    close(query * layer.scale, parts[0] * adapter.scale(expected))
    close(key, parts[1])
    close(value, parts[2])
    assert query.shape == (rows, HEADS, SIZE)
    assert query.stride(-1) == 1
    close(left, adapter.finish(expected, context, hidden))


@every_family
@every_way
@torch.no_grad()
def test_ready_layers_in_bfloat16_are_close_to_the_adapter_in_float32(monkeypatch, family, packs):
    choose(monkeypatch, packs)
    encoder, adapter = dense_model(family).base_model, adapter_for(family)
    rounded = copy.deepcopy(encoder).to(torch.bfloat16)
    exact = copy.deepcopy(rounded).float()
    hidden, context = (states(60, seed=seed, dtype=torch.bfloat16) for seed in (0, 1))
    for layer, expected in zip(PreparedLayers().of(rounded, adapter), adapter.layers(exact), strict=True):
        # Numbers are as large as 4, rounded to 8 bits: by 0.008. That happens to the query's weights, too, and before
        # each of four linear layers and two norms; so the bounds are for 2 and for 6 such errors.
        query, key, value = adapter.project(expected, hidden.float())
        scaled = (query * (adapter.scale(expected) / layer.scale), key, value)
        for found, part in zip(layer.project(hidden), scaled, strict=True):
            assert found.dtype == torch.bfloat16
            close(found.float(), part, atol=0.016)
        close(layer.finish(context, hidden).float(), adapter.finish(expected, context.float(), hidden.float()), 0.05)


class Norms(TorchDispatchMode):
    """Notes the rows of each layer norm."""

    def __init__(self):
        super().__init__()
        self.rows = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function is torch.ops.aten.native_layer_norm.default:
            self.rows.append(len(args[0]))
        return function(*args, **(kwargs or {}))


@every_way
@some
@given(st.integers(1, 60), st.integers(1, 70))
def test_chunks_change_nothing(packs, rows, chunk):
    encoder, adapter = dense_model("bert").base_model, adapter_for("bert")
    hidden, context = states(rows), states(rows, seed=1)
    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        choose(patch, packs)
        layer = PreparedLayers().of(encoder, adapter)[0]
        patch.setattr(prepared_layers, "CHUNK", 10**9)
        whole = layer.finish(context, hidden)
        patch.setattr(prepared_layers, "CHUNK", chunk)
        with Norms() as norms:
            found = layer.finish(context, hidden)
    close(found, whole, atol=2e-6)
    assert max(norms.rows) <= chunk
    assert sum(norms.rows) == 2 * rows
    assert len(norms.rows) == 2 * math.ceil(rows / chunk)


@every_way
@torch.no_grad()
def test_no_tokens_are_no_tokens_still(monkeypatch, packs):
    choose(monkeypatch, packs)
    layer = PreparedLayers().of(dense_model("bert").base_model, adapter_for("bert"))[0]
    assert [part.shape for part in layer.project(states(0))] == [(0, HEADS, SIZE)] * 3
    assert layer.finish(states(0), states(0)).shape == (0, HIDDEN)


@every_family
def test_more_tokens_than_a_chunk_skim_to_the_dense_logits(family):
    batch = make_batch(family, [(4, 180)] * (CHUNK // 180 + 1))
    assert int(batch.real.sum()) > CHUNK
    expected = dense_model(family)(**batch.without_context()).start_logits
    close(skim_model(family).skim(**batch.inputs, thresholds=0.0).start_logits[batch.real], expected[batch.real])


@pytest.mark.parametrize("activation", ["relu", "silu", "gelu_new", "gelu_pytorch_tanh", "gelu_python", "quick_gelu"])
@every_way
def test_every_activation_gives_the_dense_logits(monkeypatch, activation, packs):
    choose(monkeypatch, packs)
    source = new_dense_model("bert", hidden_act=activation)
    assert encoder_config("bert").hidden_act == "gelu" != source.config.hidden_act
    model = type(skim_model()).from_backbone(source).eval()
    close(skimmed(model), dense(model))


def test_layers_are_made_once_while_nothing_changes():
    model = new_skim_model("bert")
    first = ready_of(model)
    assert ready_of(model) is first
    skimmed(model, thresholds=0.5)
    dense(model)
    model.eval()
    model.skim_config = model.skim_config.replace(thresholds=0.5)
    model.state_dict()
    assert ready_of(model) is first


def gradients(model):
    loss = model(**BATCH.inputs, start_positions=torch.tensor([8, 9, 10]), end_positions=torch.tensor([9, 9, 12])).loss
    model.zero_grad()
    loss.backward()


def change_in_place(model):
    with torch.no_grad():
        some_linear(model).weight.mul_(1.5)


def change_a_bias_in_place(model):
    with torch.no_grad():
        some_linear(model).bias[3] += 2.0


def change_in_place_in_inference_mode(model):
    with torch.inference_mode():
        some_linear(model).weight.mul_(1.5)


def step_of(kind, **arguments):
    def step(model):
        gradients(model)
        kind(model.encoder.parameters(), lr=0.05, **arguments).step()

    step.__name__ = "_".join(["step", kind.__name__, *arguments])
    return step


def load_a_state(model):
    model.load_state_dict({name: value * 1.1 for name, value in model.state_dict().items()})


def assign_a_state(model):
    model.load_state_dict({name: value * 1.1 for name, value in model.state_dict().items()}, assign=True)


def replace_a_weight(model):
    some_linear(model).weight = nn.Parameter(some_linear(model).weight.detach() * 1.5)


def replace_a_bias(model):
    some_linear(model).bias = nn.Parameter(torch.linspace(-2, 2, HIDDEN))


def remove_a_bias(model):
    some_linear(model).bias = None


def change_a_norm_in_place(model):
    with torch.no_grad():
        model.encoder.encoder.layer[1].output.LayerNorm.weight.mul_(1.5)


def replace_the_weight_of_a_norm(model):
    model.encoder.encoder.layer[1].output.LayerNorm.weight = nn.Parameter(torch.linspace(0.5, 2, HIDDEN))


def replace_a_module(model):
    layer = nn.Linear(WIDE, HIDDEN)
    with torch.no_grad():
        layer.weight.copy_(states(HIDDEN, WIDE))
    model.encoder.encoder.layer[1].output.dense = layer


def replace_a_norm(model):
    model.encoder.encoder.layer[1].output.LayerNorm = nn.LayerNorm(HIDDEN, eps=0.5)


def prune_a_weight(model):
    prune.l1_unstructured(some_linear(model), "weight", 0.5)


def normalize_a_weight(model):
    layer = parametrizations.weight_norm(some_linear(model))
    with torch.no_grad():
        layer.parametrizations.weight.original0.mul_(1.5)


def add_a_hook(model):
    some_linear(model).register_forward_hook(lambda module, args, result: 2 * result)


def add_a_hook_before(model):
    some_linear(model).register_forward_pre_hook(lambda module, args: (2 * args[0],))


def replace_an_activation(model):
    model.encoder.encoder.layer[1].intermediate.intermediate_act_fn = nn.Tanh()


CHANGES = [
    change_in_place,
    change_a_bias_in_place,
    change_in_place_in_inference_mode,
    step_of(torch.optim.SGD),
    step_of(torch.optim.SGD, foreach=True),
    step_of(torch.optim.AdamW),
    step_of(torch.optim.AdamW, fused=True),
    load_a_state,
    assign_a_state,
    replace_a_weight,
    replace_a_bias,
    remove_a_bias,
    change_a_norm_in_place,
    replace_the_weight_of_a_norm,
    replace_a_module,
    replace_a_norm,
    replace_an_activation,
    prune_a_weight,
    normalize_a_weight,
    add_a_hook,
    add_a_hook_before,
]


@every_way
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_what_changes_in_the_model_changes_its_skimming(monkeypatch, change, packs):
    choose(monkeypatch, packs)
    model = new_skim_model("bert")
    before = skimmed(model)
    change(model)
    assert not model.training
    after = skimmed(model)
    close(after, dense(model))
    assert float((after - before).abs().max()) > 1e-3


def test_steps_of_training_change_its_skimming():
    # Fused optimizers, as the trainer's, leave no trace on the weights.
    model = new_skim_model("bert")
    before = skimmed(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05, fused=True)
    model.train()
    gradients(model)
    optimizer.step()
    model.eval()
    after = skimmed(model)
    close(after, dense(model))
    assert not torch.allclose(after, before, atol=1e-3)


@every_family
def test_a_model_that_moved_to_bfloat16_skims_in_it(family):
    model = new_skim_model(family)
    batch = make_batch(family, [(4, 60), (2, 41)])
    before = model.skim(**batch.inputs, thresholds=0.0).start_logits[batch.real]
    assert {part.dtype for layer in ready_of(model) for part in layer.project(states(3))} == {torch.float32}
    model.to(torch.bfloat16)
    hidden = states(3, dtype=torch.bfloat16)
    assert {part.dtype for layer in ready_of(model) for part in layer.project(hidden)} == {torch.bfloat16}
    after = model.skim(**batch.inputs, thresholds=0.0).start_logits[batch.real]
    assert not torch.equal(after, before)
    # Logits are as large as 2, and as far off as a dozen roundings to 8 bits.
    close(after, before, atol=0.1)


@every_family
def test_what_was_lost_in_bfloat16_stays_lost_in_float32(family):
    model = new_skim_model(family)
    batch = make_batch(family, [(4, 60), (2, 41)])
    before = model.skim(**batch.inputs, thresholds=0.0).start_logits[batch.real]
    model.to(torch.bfloat16).to(torch.float32)
    after = model.skim(**batch.inputs, thresholds=0.0).start_logits[batch.real]
    with torch.no_grad():
        close(after, model(**batch.inputs).start_logits[batch.real])
    assert not torch.allclose(after, before, atol=1e-4, rtol=0)


def remembered(model):
    """A reference to something that the ready layers hold, and that nothing else does."""
    gc.collect()
    return weakref.ref(ready_of(model)[0].project)


def test_training_frees_the_layers_that_were_made_ready():
    model = new_skim_model("bert")
    held = remembered(model)
    model.eval()
    assert held() is not None
    model.train()
    gc.collect()
    assert held() is None
    model.eval()
    close(skimmed(model), dense(model))


def test_clearing_frees_the_layers():
    model = new_skim_model("bert")
    held = remembered(model)
    model._prepared_layers.clear()
    gc.collect()
    assert held() is None
    assert model._prepared_layers.num_bytes == 0


def test_old_layers_are_freed_before_new_ones_are_made(monkeypatch):
    model = new_skim_model("bert")
    held = remembered(model)
    change_in_place(model)
    alive = []
    make = prepared_layers.pack_linear

    def watching(*arguments):
        gc.collect()
        alive.append(held() is not None)
        return make(*arguments)

    monkeypatch.setattr(prepared_layers, "pack_linear", watching)
    ready_of(model)
    assert alive == [False] * 4 * LAYERS


def test_preparing_tells_the_memory_that_copies_take():
    model = new_skim_model("bert")
    size = model.prepare()
    assert ready_of(model) is ready_of(model)
    # Joined projections are copies everywhere; where weights are packed, so are those of the other linear layers.
    joined, others = 3 * HIDDEN * HIDDEN, HIDDEN * HIDDEN + 2 * HIDDEN * WIDE
    packs = packed_linear.can_pack(some_linear(model).weight)
    assert 4 * LAYERS * (joined + packs * others) <= size <= 1.2 * 4 * LAYERS * (joined + packs * others)
    model.train()
    assert model._prepared_layers.num_bytes == 0


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
@every_family
def test_copies_of_a_model_that_has_skimmed_skim_alike_and_for_themselves(family, duplicate):
    model, batch = new_skim_model(family), make_batch(family, [(4, 30), (2, 41)])

    def skim(one):
        return one.skim(**batch.inputs, thresholds=0.5).start_logits

    expected = skim(model)
    layers = ready_of(model)
    other = duplicate(model)
    assert torch.equal(skim(other), expected)
    assert ready_of(other) is not layers
    assert ready_of(model) is layers
    with torch.no_grad():
        for value in other.encoder.parameters():
            value.mul_(1.5)
    assert not torch.equal(skim(other), expected)
    assert torch.equal(skim(model), expected)


def test_a_pickle_has_no_second_copy_of_the_weights():
    model = new_skim_model("bert")
    before = len(pickle.dumps(model))
    assert model.prepare() > 0
    assert len(pickle.dumps(model)) == before


class Doubling(nn.Linear):
    """As adapters and quantised layers are: a linear layer that does something else."""

    def forward(self, states):
        return 2 * super().forward(states)


class Shifting(nn.LayerNorm):
    def forward(self, states):
        return super().forward(states) + 1


def with_class(kind, *path):
    def change(layer):
        for name in path:
            layer = getattr(layer, name)
        layer.__class__ = kind

    return change


def with_a_hook(layer):
    layer.output.dense.register_forward_hook(lambda module, args, result: 2 * result)


def pruned(layer):
    prune.l1_unstructured(layer.intermediate.dense, "weight", 0.5)


def without_a_bias(layer):
    layer.attention.self.query.bias = None


@pytest.mark.parametrize(
    "change",
    [
        with_class(Doubling, "attention", "self", "query"),
        with_class(Doubling, "attention", "output", "dense"),
        with_class(Doubling, "intermediate", "dense"),
        with_class(Doubling, "output", "dense"),
        with_class(Shifting, "attention", "output", "LayerNorm"),
        with_class(Shifting, "output", "LayerNorm"),
        with_a_hook,
        pruned,
        without_a_bias,
    ],
)
def test_a_layer_with_other_parts_runs_through_its_modules(change):
    model = new_skim_model("bert")
    before = skimmed(model)
    change(model.encoder.encoder.layer[1])
    model._prepared_layers.clear()
    scales = [layer.scale for layer in ready_of(model)]
    assert scales == [1.0, model.adapter.scale(model.encoder.encoder.layer[1]), 1.0]
    after = skimmed(model)
    close(after, dense(model))
    assert not torch.allclose(after, before, atol=1e-3)


@every_way
def test_projections_may_all_lack_their_bias(monkeypatch, packs):
    choose(monkeypatch, packs)
    model = new_skim_model("bert")
    for layer in model.encoder.encoder.layer:
        for name in ("query", "key", "value"):
            getattr(layer.attention.self, name).bias = None
    assert [layer.scale for layer in ready_of(model)] == [1.0] * LAYERS
    close(skimmed(model), dense(model))


@every_family
@torch.no_grad()
def test_a_family_without_known_parts_runs_through_its_modules(family):
    encoder = dense_model(family).base_model
    adapter = dataclasses.replace(adapter_for(family), parts=None)
    hidden, context = states(20), states(20, seed=1)
    for layer, expected in zip(PreparedLayers().of(encoder, adapter), adapter.layers(encoder), strict=True):
        assert layer.scale == adapter.scale(expected)
        for found, part in zip(layer.project(hidden), adapter.project(expected, hidden), strict=True):
            assert torch.equal(found, part)
        assert torch.equal(layer.finish(context, hidden), adapter.finish(expected, context, hidden))
