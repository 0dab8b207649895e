import sys
import types

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from blockskim.kernels import varlen_attention
from blockskim.kernels.packed_attention import attend_packed
from blockskim.kernels.varlen_attention import (
    attend_varlen,
    choose_kernel,
    flash_attn_kernel,
    token_log_sum_exp,
    torch_kernel,
)
from plain_attention import HEADS, SCALE, SIZE, head_biases, projections, reference

ONE_ROW = HEADS * 4  # bytes of a row of scores in float32, for each key
some = settings(max_examples=max(5, settings.default.max_examples // 2))
all_lengths = st.lists(st.integers(0, 40) | st.sampled_from([0, 1]), min_size=1, max_size=6)


@pytest.fixture(autouse=True)
def forget_kernels():
    """Looks for kernels anew: tests put others in their place."""
    for find in (torch_kernel, flash_attn_kernel):
        find.cache_clear()
    yield
    for find in (torch_kernel, flash_attn_kernel):
        find.cache_clear()


def assert_close(found, expected, atol=4e-6, rtol=1e-5):
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.double(), other.double(), atol=atol, rtol=rtol)


@some
@given(
    all_lengths,
    st.integers(0, 3),
    st.integers(0, 99),
    st.booleans(),
    st.sampled_from([1, ONE_ROW * 100, 10_000, 2**26]),
)
def test_padded_attention_is_attention_of_each_sequence_to_itself(lengths, padding, seed, with_bias, limit):
    parts = projections(sum(lengths) + padding, seed, spread=1.5)
    biases = head_biases(lengths, seed) if with_bias else None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(varlen_attention, "SCORE_BYTES", limit)
        attn_output, log_sum_exp = attend_varlen(*parts, SCALE, lengths, biases)
    assert (attn_output.dtype, log_sum_exp.dtype) == (torch.float32, torch.float32)
    assert_close((attn_output, log_sum_exp), reference(*parts, SCALE, lengths, biases))
    assert not attn_output[sum(lengths) :].any()
    assert not log_sum_exp[sum(lengths) :].any()


@pytest.mark.parametrize("with_bias", [False, True])
def test_padded_attention_equals_packed_attention(with_bias):
    lengths = [5, 0, 64, 1, 130]
    parts = projections(sum(lengths), spread=2.0)
    biases = head_biases(lengths) if with_bias else None
    assert_close(attend_varlen(*parts, SCALE, lengths, biases), attend_packed(*parts, SCALE, lengths, biases))


@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_log_sum_exp_is_not_rounded_to_half_precision(dtype, with_bias):
    lengths = [33, 1, 20]
    parts = projections(60, spread=2.0, dtype=dtype)
    biases = head_biases(lengths) if with_bias else None
    attn_output, log_sum_exp = attend_varlen(*parts, SCALE, lengths, biases)
    assert (attn_output.dtype, log_sum_exp.dtype) == (dtype, torch.float32)
    expected, expected_sum = reference(*parts, SCALE, lengths, biases)
    assert_close([log_sum_exp], [expected_sum])
    assert_close([attn_output], [expected], atol=0.05, rtol=0.03)


def test_log_sum_exp_is_not_rounded_under_autocast():
    parts = projections(30, spread=2.0, dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        _, log_sum_exp = attend_varlen(*parts, SCALE, [20, 10], None)
    assert_close([log_sum_exp], [reference(*parts, SCALE, [20, 10])[1]])


def test_float64_stays_float64_but_for_the_log_sum_exp():
    parts = projections(7, dtype=torch.float64)
    attn_output, log_sum_exp = attend_varlen(*parts, SCALE, [4, 3], None)
    assert (attn_output.dtype, log_sum_exp.dtype) == (torch.float64, torch.float32)
    assert_close([attn_output], [reference(*parts, SCALE, [4, 3])[0]], atol=1e-14, rtol=1e-13)


@pytest.mark.parametrize("lengths", [[], [0], [0, 0]])
@pytest.mark.parametrize("tokens", [0, 2])
def test_nothing_but_padding_gives_zeros(tokens, lengths):
    attn_output, log_sum_exp = attend_varlen(*projections(tokens), SCALE, lengths, None)
    assert torch.equal(attn_output, torch.zeros(tokens, HEADS, SIZE))
    assert torch.equal(log_sum_exp, torch.zeros(tokens, HEADS))


def test_lengths_beyond_the_tokens_are_refused():
    with pytest.raises(ValueError, match="add up to 6, but there are only 5"):
        attend_varlen(*projections(5), SCALE, [2, 4], None)


class Products(TorchDispatchMode):
    """Notes the bytes of each matrix product."""

    def __init__(self):
        super().__init__()
        self.sizes = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if function is torch.ops.aten.bmm.default:
            self.sizes.append(result.nbytes)
        return result


@pytest.mark.parametrize("rows", [1, 3, 40, 41, 100, 1000])
def test_no_more_scores_than_allowed_exist_at_a_time(monkeypatch, rows):
    lengths = [40, 12, 1, 33, 0, 40, 7]
    limit = ONE_ROW * 40 * rows
    monkeypatch.setattr(varlen_attention, "SCORE_BYTES", limit)
    with Products() as products:
        attend_varlen(*projections(sum(lengths)), SCALE, lengths, None)
    all_scores = ONE_ROW * 40 * 40 * 6
    assert limit // 2 < max(products.sizes) <= limit or max(products.sizes) == all_scores
    assert sum(products.sizes) == all_scores


HALF, AMPERE = torch.bfloat16, (8, 0)


@pytest.mark.parametrize(
    ("expected", "case"),
    [
        ("torch", ("cuda", HALF, 64, False, AMPERE, True, True)),
        ("torch", ("cuda", torch.float16, 64, False, AMPERE, True, False)),
        ("torch", ("cuda", HALF, 256, False, (12, 0), True, True)),
        ("flash-attn", ("cuda", HALF, 64, False, AMPERE, False, True)),
        ("flash-attn", ("cuda", torch.float16, 8, False, (8, 6), False, True)),
        ("padded", ("cuda", HALF, 64, False, AMPERE, False, False)),
        ("padded", ("cuda", torch.float32, 64, False, AMPERE, True, True)),
        ("padded", ("cuda", torch.float64, 64, False, AMPERE, True, True)),
        ("padded", ("cuda", HALF, 64, True, AMPERE, True, True)),
        ("padded", ("cuda", torch.float16, 64, False, (7, 5), True, True)),
        ("padded", ("cuda", HALF, 64, False, None, True, True)),
        ("padded", ("cuda", HALF, 20, False, AMPERE, True, True)),
        ("padded", ("cuda", HALF, 264, False, AMPERE, True, True)),
        ("padded", ("cpu", HALF, 64, False, None, True, True)),
        ("padded", ("mps", torch.float16, 64, False, None, True, True)),
    ],
)
def test_choice_of_the_kernel(expected, case):
    assert choose_kernel(*case) == expected


FORMS = ("tokens first", "heads first", "padded", "padded more")


def fused_kernel(query, key, value, offsets, ends, longest, also_longest, scale, form):
    """What a fused kernel computes, on any device; NaN where it leaves memory as it was."""
    assert offsets.dtype == torch.int32
    assert torch.equal(offsets, ends)
    lengths = offsets.diff().tolist()
    assert longest == also_longest == max(lengths)
    assert min(lengths) > 0
    assert all(part.stride(-1) == 1 for part in (query, key, value))
    attn_output, log_sum_exp = reference(query, key, value, scale, lengths)
    attn_output[sum(lengths) :] = torch.nan
    log_sum_exp[sum(lengths) :] = torch.nan
    log_sum_exp = log_sum_exp.float()
    if form == "heads first":
        log_sum_exp = log_sum_exp.T.contiguous()
    elif form.startswith("padded"):
        width = longest + 5 * (form == "padded more")
        padded = torch.full((len(lengths), len(log_sum_exp[0]), width), torch.nan)
        for row, part in zip(padded, log_sum_exp[: sum(lengths)].split(lengths), strict=True):
            row[:, : len(part)] = part.T
        log_sum_exp = padded
    return attn_output.to(query.dtype), log_sum_exp


def use_fake_torch(patch, form):
    def varlen_attn(
        query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, *, return_aux=None, scale=None, window_size=(-1, -1)
    ):
        assert return_aux.lse
        return fused_kernel(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, scale, form)

    module = types.ModuleType("torch.nn.attention.varlen")
    module.varlen_attn = varlen_attn
    module.AuxRequest = lambda lse: types.SimpleNamespace(lse=lse)
    patch.setitem(sys.modules, "torch.nn.attention.varlen", module)
    patch.setattr(varlen_attention, "choose_kernel", lambda *case: "torch")


def use_fake_flash_attn(patch, form):
    def flash_attn_varlen_func(
        q,
        k,
        v,
        cu_seqlens_q,
        cu_seqlens_k,
        max_seqlen_q,
        max_seqlen_k,
        dropout_p=0.0,
        softmax_scale=None,
        causal=False,
        return_attn_probs=False,
    ):
        assert return_attn_probs
        assert not dropout_p
        assert not causal
        results = fused_kernel(q, k, v, cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k, softmax_scale, form)
        return *results, None

    module = types.ModuleType("flash_attn")
    module.flash_attn_varlen_func = flash_attn_varlen_func
    patch.setitem(sys.modules, "flash_attn", module)
    patch.setattr(varlen_attention, "choose_kernel", lambda *case: "flash-attn")


@some
@given(
    st.sampled_from([use_fake_torch, use_fake_flash_attn]),
    st.sampled_from(FORMS),
    all_lengths | st.just([2, 1]) | st.just([1, 1, 1]),
    st.integers(0, 3),
)
def test_every_form_of_log_sum_exp_is_read_right(use_fake, form, lengths, padding):
    parts = projections(sum(lengths) + padding)
    torch_kernel.cache_clear()
    flash_attn_kernel.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        use_fake(patch, form)
        found = attend_varlen(*parts, 0.3, lengths, None)
    assert_close(found, reference(*parts, 0.3, lengths))
    assert [part.shape for part in found] == [parts[0].shape, parts[0].shape[:2]]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("use_fake", [use_fake_torch, use_fake_flash_attn])
def test_as_many_tokens_as_heads_leave_no_doubt(monkeypatch, use_fake, form):
    lengths = [4, 1, 2]
    parts = projections(7, heads=7)
    use_fake(monkeypatch, form)
    assert_close(attend_varlen(*parts, SCALE, lengths, None), reference(*parts, SCALE, lengths))


@pytest.mark.parametrize("shape", [(5,), (4, 5), (5, 4), (1, 3, 5), (2, 3, 3), (3, 2, 4), (2, 4, 3), (2, 3, 4, 1)])
def test_another_form_of_log_sum_exp_is_refused(shape):
    with pytest.raises(RuntimeError, match="log-sum-exp of shape"):
        token_log_sum_exp(torch.zeros(shape), 5, 3, [4, 1])


def test_a_form_that_may_be_either_way_round_is_refused():
    with pytest.raises(RuntimeError, match="log-sum-exp of shape"):
        token_log_sum_exp(torch.zeros(3, 3), 3, 3, [2, 1])


@pytest.mark.skipif(torch.__version__ < "2.11", reason="came with PyTorch 2.11")
def test_this_pytorch_has_a_kernel_with_log_sum_exp():
    # Everything works without it; should this fail after an update of PyTorch, look for what took its place.
    assert torch_kernel() is not None


def test_no_torch_kernel_where_pytorch_has_none(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.nn.attention.varlen", None)
    assert torch_kernel() is None


def test_no_torch_kernel_where_it_knows_no_scale_or_log_sum_exp(monkeypatch):
    module = types.ModuleType("torch.nn.attention.varlen")
    module.AuxRequest = None
    module.varlen_attn = lambda query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, is_causal=False: None
    monkeypatch.setitem(sys.modules, "torch.nn.attention.varlen", module)
    assert torch_kernel() is None


def test_no_flash_attn_kernel_where_the_package_is_missing_or_another(monkeypatch):
    monkeypatch.setitem(sys.modules, "flash_attn", None)
    assert flash_attn_kernel() is None
    flash_attn_kernel.cache_clear()
    module = types.ModuleType("flash_attn")
    monkeypatch.setitem(sys.modules, "flash_attn", module)
    assert flash_attn_kernel() is None
    flash_attn_kernel.cache_clear()
    module.flash_attn_varlen_func = lambda q, k, v, cu_seqlens_q, cu_seqlens_k, return_lse=False: None
    assert flash_attn_kernel() is None


def test_other_devices_never_ask_for_flash_attn(monkeypatch):
    def unexpected():
        raise AssertionError("looked for a CUDA kernel")

    monkeypatch.setattr(varlen_attention, "torch_kernel", unexpected)
    monkeypatch.setattr(varlen_attention, "flash_attn_kernel", unexpected)
    attend_varlen(*projections(5), SCALE, [5], None)


@pytest.mark.cuda
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", ["torch", "flash-attn"])
@pytest.mark.parametrize("lengths", [[130, 1, 0, 64, 5], [3], [300, 300]])
def test_kernels_agree_with_padding_on_cuda(monkeypatch, lengths, name, dtype):
    if {"torch": torch_kernel, "flash-attn": flash_attn_kernel}[name]() is None:
        pytest.skip(f"no kernel {name} here")
    if torch.cuda.get_device_capability() < AMPERE:
        pytest.skip("the device is too old for fused kernels")
    for padding in (0, 9):
        tokens = sum(lengths) + padding
        parts = [part.cuda() for part in projections(tokens, dtype=dtype, heads=12, size=64)]
        fused = torch.stack(parts, 1)
        monkeypatch.setattr(varlen_attention, "choose_kernel", lambda *case: name)
        found = attend_varlen(*fused.unbind(1), 0.125, lengths, None)
        monkeypatch.setattr(varlen_attention, "choose_kernel", lambda *case: "padded")
        padded = attend_varlen(*fused.unbind(1), 0.125, lengths, None)
        expected = reference(*parts, 0.125, lengths)
        for attn_output, log_sum_exp in (found, padded):
            assert log_sum_exp.dtype == torch.float32
            assert_close([attn_output], [expected[0]], atol=0.02, rtol=0.02)
            assert_close([log_sum_exp], [expected[1]], atol=2e-4, rtol=1e-4)


@pytest.mark.cuda
@pytest.mark.parametrize("with_bias", [False, True])
def test_padded_attention_on_cuda(with_bias):
    lengths = [5, 0, 64, 130]
    parts = [part.cuda() for part in projections(sum(lengths) + 2)]
    biases = [bias.cuda() for bias in head_biases(lengths)] if with_bias else None
    assert_close(
        attend_varlen(*parts, SCALE, lengths, biases), reference(*parts, SCALE, lengths, biases), atol=1e-5, rtol=1e-4
    )
