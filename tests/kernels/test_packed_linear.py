import copy
import dataclasses

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from transformers.activations import ACT2FN

from blockskim.kernels import packed_linear
from blockskim.kernels.packed_linear import (
    Activation,
    activation_of,
    apply_linear,
    apply_linear_and_add,
    can_pack,
    fused_where_fast,
    pack_linear,
)

some = settings(max_examples=max(5, settings.default.max_examples // 2))
FUSED = {("gelu", "none"): F.gelu, ("gelu", "tanh"): lambda x: F.gelu(x, approximate="tanh"), ("relu", ""): F.relu}
"""What the fused kernel computes under its names."""

# Errors relative to the largest sum of absolute products. In bfloat16 the weights may be rounded once more when a scale
# is put into them, and the result is rounded in the end: 2 roundings to 8 significant bits, sums being made in float32.
# Where a result is rounded before an activation that is not fused, or before a residual, there is a third.
ERRORS = {torch.float32: 1e-5, torch.bfloat16: 3 * 2.0**-8}
every_dtype = pytest.mark.parametrize("dtype", ERRORS, ids=str)


@pytest.fixture(params=["packed", "plain"])
def way(request, monkeypatch):
    """The packed kernel, and the fallback for machines without it."""
    if request.param == "plain":
        monkeypatch.setattr(packed_linear, "can_pack", lambda weight: False)
    elif not can_pack(torch.zeros(1, 1)):
        pytest.skip("this machine has no packed kernel")
    return request.param


def make(inputs, outputs, bias=True, seed=0, dtype=torch.float32):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layer = nn.Linear(inputs, outputs, bias).to(dtype)
        if bias:
            nn.init.normal_(layer.bias)
    return layer


def states(rows, width, seed=0, dtype=torch.float32, spread=1.0):
    generator = torch.Generator().manual_seed(1000 + seed)
    return (torch.randn(rows, width, generator=generator) * spread).to(dtype)


def exact(layer, rows):
    """What a layer gives in float64, and the largest sum of absolute products, which errors are relative to."""
    weight, rows = layer.weight.detach().double(), rows.double()
    bias = None if layer.bias is None else layer.bias.detach().double()
    size = F.linear(rows.abs(), weight.abs(), None if bias is None else bias.abs())
    return F.linear(rows, weight, bias), float(size.max()) if size.numel() else 0.0


def close(found, expected, dtype, size):
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), expected, atol=ERRORS[dtype] * size, rtol=0)


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="a PyTorch without oneDNN")
def test_this_pytorch_has_the_packed_operators():
    # Everything works without them; should this fail after an update of PyTorch, look for what took their place.
    assert all(hasattr(torch.ops.mkldnn, name) for name in ("_reorder_linear_weight", "_linear_pointwise"))


@some
@given(
    st.integers(0, 70) | st.sampled_from([0, 1, 511, 512, 513, 1100]),
    st.integers(1, 70),
    st.lists(st.integers(1, 70), min_size=1, max_size=3),
    st.booleans(),
    st.booleans(),
    st.sampled_from(sorted(ERRORS, key=str)),
    st.integers(0, 99),
)
def test_joined_layers_give_what_each_gives_times_its_scale(rows, inputs, outputs, bias, scaled, dtype, seed):
    layers = [make(inputs, width, bias, seed + i, dtype) for i, width in enumerate(outputs)]
    before = copy.deepcopy(layers)
    scales = [0.35, 1.0, -2.0][: len(layers)] if scaled else None
    entering = states(rows, inputs, seed, dtype)
    found = [apply_linear(pack_linear(layers, scales), entering)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packed_linear, "can_pack", lambda weight: False)
        ready = pack_linear(layers, scales)
        assert not ready.packed
        found.append(apply_linear(ready, entering))
    for result in found:
        assert not result.requires_grad
        assert result.shape == (rows, sum(outputs))
        for layer, scale, part in zip(layers, scales or [1.0] * 3, result.split(outputs, 1), strict=False):
            expected, size = exact(layer, entering)
            close(part, expected * scale, dtype, size * abs(scale))
    for layer, same in zip(layers, before, strict=True):
        for name, value in layer.state_dict().items():
            assert torch.equal(value, same.state_dict()[name])


@every_dtype
def test_the_packed_kernel_runs_where_it_can(way, dtype):
    layer = make(8, 8, dtype=dtype)
    assert pack_linear([layer]).packed == (way == "packed" and can_pack(layer.weight))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_other_types_are_not_packed(dtype):
    layer = make(16, 24, dtype=dtype)
    assert not can_pack(layer.weight)
    found = apply_linear(pack_linear([layer]), states(5, 16, dtype=dtype))
    expected, _ = exact(layer, states(5, 16, dtype=dtype))
    torch.testing.assert_close(found.double(), expected, atol=1e-12 if dtype == torch.float64 else 0.01, rtol=0)


def test_nothing_is_packed_elsewhere_or_without_the_library(monkeypatch):
    weight = torch.zeros(4, 4)
    assert not can_pack(weight.to("meta"))
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert not can_pack(weight)


@pytest.mark.parametrize("capability", ["DEFAULT", "NO AVX", "VSX", "SVE256"])
def test_float32_is_not_packed_for_processors_that_it_is_not_fast_on(monkeypatch, capability):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert not can_pack(torch.zeros(4, 4))


@every_dtype
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", [0, 1, 37])
@pytest.mark.parametrize("name", ["gelu", "gelu_pytorch_tanh", "relu", "silu", "gelu_new", "gelu_python"])
def test_an_activation_follows(way, name, rows, bias, dtype):
    layer, entering = make(24, 40, bias, dtype=dtype), states(rows, 24, dtype=dtype, spread=2.0)
    activation = activation_of(ACT2FN[name])
    found = apply_linear(pack_linear([layer]), entering, activation)
    expected, size = exact(layer, entering)
    close(found, ACT2FN[name](expected), dtype, size)
    assert (activation.fused is None) == (name not in ("gelu", "gelu_pytorch_tanh", "relu"))


@every_dtype
def test_any_function_may_be_an_activation(way, dtype):
    layer, entering = make(24, 40, dtype=dtype), states(9, 24, dtype=dtype)
    found = apply_linear(pack_linear([layer]), entering, Activation(torch.sin))
    expected, size = exact(layer, entering)
    close(found, expected.sin(), dtype, size)


@every_dtype
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", [0, 1, 37])
def test_a_residual_is_added_and_left_as_it_was(way, rows, bias, dtype):
    layer, entering = make(24, 40, bias, dtype=dtype), states(rows, 24, dtype=dtype)
    residual = states(rows, 40, seed=1, dtype=dtype)
    before = [entering.clone(), residual.clone()]
    found = apply_linear_and_add(pack_linear([layer]), entering, residual)
    expected, size = exact(layer, entering)
    close(found, expected + residual.double(), dtype, size + float(residual.abs().max()) if rows else 0.0)
    assert torch.equal(entering, before[0])
    assert torch.equal(residual, before[1])
    assert rows == 0 or found.data_ptr() not in (residual.data_ptr(), entering.data_ptr())


@pytest.mark.parametrize("name", sorted(ACT2FN))
def test_only_what_is_equal_to_a_fused_activation_is_taken_for_one(name):
    module = ACT2FN[name]
    activation = activation_of(module)
    assert activation.apply is module
    if activation.fused is None:
        assert name not in ("gelu", "gelu_pytorch_tanh", "relu")
        return
    places = torch.linspace(-12, 12, 4801, dtype=torch.float64)
    torch.testing.assert_close(module(places), FUSED[activation.fused](places), atol=1e-12, rtol=0)


@pytest.mark.parametrize(
    ("activation", "fused"),
    [
        (nn.GELU(), ("gelu", "none")),
        (nn.GELU(approximate="tanh"), ("gelu", "tanh")),
        (nn.ReLU(), ("relu", "")),
        (nn.ReLU(inplace=True), ("relu", "")),
        (nn.LeakyReLU(), None),
        (nn.ReLU6(), None),
        (nn.SiLU(), None),
        (F.silu, None),
        (torch.tanh, None),
        (lambda x: x, None),
    ],
)
def test_activations_of_torch(activation, fused):
    found = activation_of(activation)
    assert found.apply is activation
    assert found.fused == fused


@pytest.mark.parametrize(
    ("capability", "activation", "fused"),
    [
        ("AVX2", nn.GELU(), None),
        ("AVX2", nn.GELU(approximate="tanh"), None),
        ("AVX2", nn.ReLU(), ("relu", "")),
        ("AVX2", nn.SiLU(), None),
        ("AVX512", nn.GELU(), ("gelu", "none")),
        ("DEFAULT", nn.GELU(), ("gelu", "none")),
    ],
)
def test_an_activation_is_fused_where_that_is_fast(monkeypatch, capability, activation, fused):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    found = fused_where_fast(activation_of(activation))
    assert found.apply is activation
    assert found.fused == fused


@every_dtype
def test_an_activation_that_is_not_fused_gives_the_same(way, dtype):
    layer, entering = make(24, 40, dtype=dtype), states(9, 24, dtype=dtype, spread=2.0)
    apart = dataclasses.replace(activation_of(ACT2FN["gelu"]), fused=None)
    expected, size = exact(layer, entering)
    close(apply_linear(pack_linear([layer]), entering, apart), F.gelu(expected), dtype, size)
