import copy
import dataclasses
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import prune
from torch.utils._python_dispatch import TorchDispatchMode

from blockskim.encoders import adapter_for
from blockskim.model import prepared_layers
from blockskim.model.prepared_layers import CHUNK, prepare_layers
from skimmed_bert import HEADS, HIDDEN, LAYERS, SIZE, WIDE, choose, close, dense, ready_of, skimmed, states
from strategies import every_family
from tiny_models import SIZES, dense_model, encoder_config, make_batch, new_dense_model, new_skim_model, skim_model

some = settings(max_examples=max(5, settings.default.max_examples // 3))
every_way = pytest.mark.parametrize("packs", [True, False], ids=["packed", "plain"])


def layers_of(encoder, adapter):
    return prepare_layers(adapter, adapter.layers(encoder))


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
        found = layers_of(encoder, adapter)
        assert len(found) == LAYERS
        layer, expected = found[number], adapter.layers(encoder)[number]
        hidden, attn_output = states(rows, seed=seed), states(rows, seed=seed + 1)
        query, key, value = layer.project(hidden)
        left = layer.finish(attn_output, hidden)
    parts = adapter.project(expected, hidden)
    assert layer.scale == (1.0 if adapter.parts is not None else adapter.scale(expected))
    close(query * layer.scale, parts[0] * adapter.scale(expected))
    close(key, parts[1])
    close(value, parts[2])
    assert query.shape == (rows, HEADS, SIZE)
    assert query.stride(-1) == 1
    close(left, adapter.finish(expected, attn_output, hidden))


@every_family
@every_way
@torch.no_grad()
def test_ready_layers_in_bfloat16_are_close_to_the_adapter_in_float32(monkeypatch, family, packs):
    choose(monkeypatch, packs)
    encoder, adapter = dense_model(family).base_model, adapter_for(family)
    rounded = copy.deepcopy(encoder).to(torch.bfloat16)
    exact = copy.deepcopy(rounded).float()
    hidden, attn_output = (states(60, seed=seed, dtype=torch.bfloat16) for seed in (0, 1))
    for layer, expected in zip(layers_of(rounded, adapter), adapter.layers(exact), strict=True):
        # Numbers are as large as 4, rounded to 8 bits: by 0.008. That happens to the query's weights, too, and before
        # each of four linear layers and two norms; so the bounds are for 2 and for 6 such errors.
        query, key, value = adapter.project(expected, hidden.float())
        scaled = (query * (adapter.scale(expected) / layer.scale), key, value)
        for found, part in zip(layer.project(hidden), scaled, strict=True):
            assert found.dtype == torch.bfloat16
            close(found.float(), part, atol=0.016)
        close(
            layer.finish(attn_output, hidden).float(),
            adapter.finish(expected, attn_output.float(), hidden.float()),
            0.05,
        )


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
    hidden, attn_output = states(rows), states(rows, seed=1)
    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        choose(patch, packs)
        layer = layers_of(encoder, adapter)[0]
        patch.setattr(prepared_layers, "CHUNK", 10**9)
        whole = layer.finish(attn_output, hidden)
        patch.setattr(prepared_layers, "CHUNK", chunk)
        with Norms() as norms:
            found = layer.finish(attn_output, hidden)
    close(found, whole, atol=2e-6)
    assert max(norms.rows) <= chunk
    assert sum(norms.rows) == 2 * rows
    assert len(norms.rows) == 2 * math.ceil(rows / chunk)


@every_way
@torch.no_grad()
def test_no_tokens_are_no_tokens_still(monkeypatch, packs):
    choose(monkeypatch, packs)
    layer = layers_of(dense_model("bert").base_model, adapter_for("bert"))[0]
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


@pytest.mark.parametrize(("capability", "fused"), [("AVX2", None), ("AVX512", ("gelu", "none"))])
def test_gelu_is_fused_where_that_is_fast(monkeypatch, capability, fused):
    given = []
    apply = prepared_layers.apply_linear
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(prepared_layers, "apply_linear", lambda *args: given.extend(args[2:]) or apply(*args))
    model = new_skim_model("bert")
    close(skimmed(model), dense(model))
    assert [activation.fused for activation in given] == [fused] * LAYERS


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
    model.prepared.clear()
    scales = [layer.scale for layer in ready_of(model).layers]
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
    assert [layer.scale for layer in ready_of(model).layers] == [1.0] * LAYERS
    close(skimmed(model), dense(model))


@every_family
@torch.no_grad()
def test_a_family_without_known_parts_runs_through_its_modules(family):
    encoder = dense_model(family).base_model
    adapter = dataclasses.replace(adapter_for(family), parts=None)
    hidden, attn_output = states(20), states(20, seed=1)
    for layer, expected in zip(layers_of(encoder, adapter), adapter.layers(encoder), strict=True):
        assert layer.scale == adapter.scale(expected)
        for found, part in zip(layer.project(hidden), adapter.project(expected, hidden), strict=True):
            assert torch.equal(found, part)
        assert torch.equal(layer.finish(attn_output, hidden), adapter.finish(expected, attn_output, hidden))
