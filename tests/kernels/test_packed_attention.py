import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from blockskim.kernels import packed_attention
from blockskim.kernels.packed_attention import LONG, ROWS, SHORT, STEPS, attend_packed, has_fused_cpu, padded_rows
from plain_attention import HEADS, SCALE, SIZE, head_biases, projections, reference

BORDER = 48  # tokens from which on sequences are long on the ways that treat them differently
LARGE = 3e38  # just below the largest number of float32 and bfloat16
some = settings(max_examples=max(5, settings.default.max_examples // 2))
# Nothing, single tokens, multiples of ROWS and their neighbours, both sides of the border.
all_lengths = st.lists(
    st.integers(0, 2 * BORDER) | st.sampled_from([0, 1, ROWS, BORDER - 1, BORDER, BORDER + 1]),
    min_size=1,
    max_size=5,
)
NEVER, ALWAYS = -1, 10**9
WAYS = {
    # The type, whether there is the fused operator, whether oneDNN multiplies bfloat16 fast, and SHORT and LONG.
    "float32-products": (torch.float32, True, True, NEVER, ALWAYS),
    "float32-fused": (torch.float32, True, True, NEVER, NEVER),
    "float32-both": (torch.float32, True, True, NEVER, BORDER),
    "float32-padded": (torch.float32, False, True, SHORT, LONG),
    "bfloat16-products": (torch.bfloat16, True, True, NEVER, LONG),
    "bfloat16-fused": (torch.bfloat16, True, False, NEVER, LONG),
    "bfloat16-in-float32": (torch.bfloat16, True, True, ALWAYS, LONG),
    "bfloat16-both": (torch.bfloat16, True, True, BORDER * SIZE - 1, LONG),
    "bfloat16-padded": (torch.bfloat16, False, True, SHORT, LONG),
}
every_way = pytest.mark.parametrize("name", WAYS)
every_bias = pytest.mark.parametrize("with_bias", [False, True])


def take(patch, name):
    """Take one of the ways, whichever this machine would pick. Gives its type."""
    dtype, fused, products, short, long = WAYS[name]
    patch.setattr(packed_attention, "has_fused_cpu", lambda: fused)
    patch.setattr(packed_attention, "has_fast_products", lambda: products)
    patch.setattr(packed_attention, "SHORT", short)
    patch.setattr(packed_attention, "LONG", long)
    return dtype


# Relative error of a number. Of bfloat16 it is that of rounding to its 8 significant bits, which happens to scores on
# one way and to biases on another, to probabilities, and to the output in the end. Sums add little to it, since they
# are made in float32; in float32 they are all there is, so it gets 4 bits more than rounding to 24 of them.
ERRORS = {torch.float32: 2.0**-20, torch.bfloat16: 2.0**-8}


def check(found, query, key, value, scale, lengths, biases=None):
    """Compare with float64, as far as the type allows, and look for zeros on padding.

    When scores are off by d, their log-sum-exp is by no more than d, and all weights together by no more than d. So
    the output, a mean of values, is off by d times the largest value, plus the rounding of weights and of itself.
    """
    attn_output, log_sum_exp = found
    total = sum(lengths)
    parts = [part[:total] for part in (query, key, value)]
    expected, expected_sum = reference(*parts, scale, lengths, biases)
    largest = 2.0
    for one, other in zip(*(part.double().split(list(lengths)) for part in parts[:2]), strict=True):
        if len(one):
            largest = max(largest, 2 + float(torch.einsum("qhd,khd->hqk", one, other).abs().max()) * scale)
    largest += max((float(bias.abs().max()) for bias in biases or [] if bias.numel()), default=0.0)
    error = ERRORS[query.dtype] * largest
    assert (attn_output.dtype, attn_output.shape) == (query.dtype, query.shape)
    assert not attn_output[total:].any()
    span = float(parts[2].abs().max()) if total else 0.0
    torch.testing.assert_close(attn_output[:total].double(), expected, atol=error * span, rtol=0)
    if log_sum_exp is not None:
        assert (log_sum_exp.dtype, log_sum_exp.shape) == (torch.float32, query.shape[:2])
        assert not log_sum_exp[total:].any()
        torch.testing.assert_close(log_sum_exp[:total].double(), expected_sum, atol=error, rtol=0)


class Calls(TorchDispatchMode):
    """Notes the shapes and types of matrix products, and counts calls of the fused operator."""

    def __init__(self):
        super().__init__()
        self.products = []
        self.types = set()
        self.fused = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if function is torch.ops.aten.bmm.default:
            self.products.append(tuple(result.shape))
            self.types.add(result.dtype)
        self.fused += function is torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default
        return result


def test_this_pytorch_has_the_fused_operator():
    # Everything works without it; should this fail after an update of PyTorch, look for what took its place.
    assert has_fused_cpu()


@every_way
@every_bias
@pytest.mark.parametrize("lengths", [[1], [37], [BORDER - 1, BORDER], [5, 0, 64, 1, 130], [0, 3], [60, 0, 0], []])
def test_packed_attention_is_attention_of_each_sequence_to_itself(monkeypatch, name, lengths, with_bias):
    parts = projections(sum(lengths), spread=1.5, dtype=take(monkeypatch, name))
    biases = head_biases(lengths) if with_bias else None
    check(attend_packed(*parts, SCALE, lengths, biases), *parts, SCALE, lengths, biases)


@every_way
@some
@given(
    all_lengths,
    st.integers(0, 2 * ROWS),
    st.integers(0, 99),
    st.booleans(),
    st.sampled_from([1.0, SCALE]),
    st.sampled_from([1, HEADS * 24 * BORDER, packed_attention.SCORES]),
)
def test_padding_has_no_influence_and_becomes_zeros(name, lengths, spare, seed, with_bias, scale, scores):
    total = sum(lengths)
    with pytest.MonkeyPatch.context() as patch:
        dtype = take(patch, name)
        patch.setattr(packed_attention, "SCORES", scores)
        parts = projections(total + spare, seed, dtype=dtype)
        biases = [bias.to(dtype) for bias in head_biases(lengths, seed)] if with_bias else None
        found = attend_packed(*parts, scale, lengths, biases)
        for part in parts:
            part[total:] = LARGE
            part[total:, :, ::2] *= -1
        again = attend_packed(*parts, scale, lengths, biases)
        alone, nothing = attend_packed(*parts, scale, lengths, biases, wants_log_sum_exp=False)
    check(found, *parts, scale, lengths, biases)
    for one, other in zip(found, again, strict=True):
        assert torch.equal(one, other)
    assert nothing is None
    assert torch.equal(alone, found[0])


@every_way
def test_a_sequence_near_the_end_needs_no_spare_rows(monkeypatch, name):
    dtype = take(monkeypatch, name)
    lengths = [BORDER + 1, 2 * BORDER - 3]
    for spare in range(ROWS):
        parts = projections(sum(lengths) + spare, dtype=dtype)
        check(attend_packed(*parts, SCALE, lengths, None), *parts, SCALE, lengths)


@every_way
def test_views_of_a_fused_matrix_give_what_copies_give(monkeypatch, name):
    views = projections(90, dtype=take(monkeypatch, name))
    assert not any(view.is_contiguous() for view in views)
    copies = [view.contiguous() for view in views]
    check(attend_packed(*views, SCALE, [60, 30], None), *copies, SCALE, [60, 30])


@every_way
def test_nothing_that_was_given_changes(monkeypatch, name):
    lengths = [60, 20]
    parts, biases = projections(88, dtype=take(monkeypatch, name)), head_biases(lengths)
    before = [value.clone() for value in (*parts, *biases)]
    attend_packed(*parts, SCALE, lengths, biases)
    for value, same in zip((*parts, *biases), before, strict=True):
        assert torch.equal(value, same)


@every_way
@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_log_sum_exp_holds_where_probabilities_underflow(monkeypatch, name, scale):
    # One token has all the attention of a third of the rows and none of another third: e**-200 is 0 in float32.
    length, gap = BORDER + 5, 200.0
    query, key, value = (part.clone() for part in projections(length, dtype=take(monkeypatch, name)))
    query.zero_()[:, :, 0] = torch.tensor([1.0, 0.0, -1.0]).repeat(length)[:length, None]
    key.zero_()[7, :, 0] = gap / scale
    found = attend_packed(query, key, value, scale, [length], None)
    check(found, query, key, value, scale, [length])
    rest = torch.tensor(length - 1.0).log()
    expected = torch.tensor([gap, torch.tensor(float(length)).log(), rest]).repeat(length)[:length, None]
    torch.testing.assert_close(found[1], expected.expand(length, HEADS), atol=1e-4, rtol=0)


@every_bias
@pytest.mark.parametrize(
    ("name", "sizes"),
    [("float32-products", [90, 61, 200]), ("bfloat16-in-float32", [90, 61, 200]), ("bfloat16-products", [96, 64, 200])],
)
def test_scores_exist_in_pieces_of_whole_rows(monkeypatch, name, sizes, with_bias):
    dtype = take(monkeypatch, name)
    lengths = [90, 61, 200]
    parts = projections(padded_rows(lengths), dtype=dtype)
    biases = head_biases(lengths) if with_bias else None
    for limit in (1, HEADS * 104 * 2 * ROWS, HEADS * 200 * 5 * ROWS + 7):
        monkeypatch.setattr(packed_attention, "SCORES", limit)
        with Calls() as calls:
            found = attend_packed(*parts, SCALE, lengths, biases)
        check(found, *parts, SCALE, lengths, biases)
        scores = calls.products[::2]
        assert len(scores) > 3
        for heads, rows, columns in scores:
            assert heads * rows * columns <= max(limit, HEADS * ROWS * columns)
        # Every row of every sequence once, in bfloat16 with padding up to a multiple of ROWS.
        assert [sum(rows for _, rows, columns in scores if columns == size) for size in sizes] == sizes


@some
@given(st.lists(st.integers(0, 3000), max_size=8), st.sampled_from([1, 2, 8, 16]))
def test_padded_rows_are_enough_to_read_on_to_a_multiple_and_hardly_more(lengths, multiple):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packed_attention, "ROWS", multiple)
        rows = padded_rows(lengths)
        without = padded_rows([length for length in lengths if length])
    total = sum(lengths)
    last = ([0] + [length for length in lengths if length])[-1]
    read = total - last + -(-last // multiple) * multiple
    assert read <= rows < read + max(multiple, total / STEPS + 1)
    assert rows % multiple == 0
    assert rows == without


def test_few_numbers_of_padded_rows_serve_all_sizes_so_that_kernels_come_to_an_end():
    numbers = {padded_rows([length]) for length in range(1, 100_000)}
    doublings = 100_000 / (ROWS * STEPS)
    assert len(numbers) <= STEPS * (2 + math.log2(doublings))
    assert all(padded_rows([length]) < length * (1 + 1 / STEPS) + ROWS for length in range(1, 10_000))


@some
@given(st.lists(st.integers(0, 2 * BORDER), min_size=1, max_size=5))
def test_with_padded_rows_all_products_have_shapes_in_multiples(lengths):
    with pytest.MonkeyPatch.context() as patch, Calls() as calls:
        parts = projections(padded_rows(lengths), dtype=take(patch, "bfloat16-products"))
        attend_packed(*parts, SCALE, lengths, None)
    assert len(calls.products) == 2 * sum(length > 0 for length in lengths)
    assert all(rows % ROWS == columns % ROWS == 0 for _, rows, columns in calls.products)


@pytest.mark.parametrize(
    ("dtype", "fast", "size", "length", "way"),
    [
        (torch.float32, True, 64, 1, torch.float32),
        (torch.float32, True, 64, LONG - 1, torch.float32),
        (torch.float32, True, 64, LONG, "fused"),
        (torch.float32, True, 8, SHORT // 8, torch.float32),
        (torch.float32, True, 8, SHORT // 8 + 1, "fused"),
        (torch.bfloat16, True, 64, SHORT // 64, torch.float32),
        (torch.bfloat16, True, 64, SHORT // 64 + 1, torch.bfloat16),
        (torch.bfloat16, False, 64, SHORT // 64, torch.float32),
        (torch.bfloat16, False, 64, SHORT // 64 + 1, "fused"),
        (torch.float16, True, 64, SHORT // 64 + 1, "fused"),
    ],
)
def test_the_way_depends_on_type_and_length_and_processor(monkeypatch, dtype, fast, size, length, way):
    monkeypatch.setattr(packed_attention, "has_fast_products", lambda: fast)
    with Calls() as calls:
        attend_packed(*projections(length, dtype=dtype, size=size), 0.3, [length], None)
    assert (calls.types, calls.fused) == ((set(), 1) if way == "fused" else ({way}, 0))


@pytest.mark.parametrize("name", ["float32-padded", "bfloat16-padded"])
@pytest.mark.parametrize("wants", [True, False])
def test_without_the_fused_operator_all_sequences_go_through_one_call(monkeypatch, name, wants):
    parts = projections(90, dtype=take(monkeypatch, name))
    biases = head_biases([70, 20])
    asked = []

    def attend_varlen(*arguments):
        asked.append(arguments)
        return "attn_output", "log-sum-exp"

    monkeypatch.setattr(packed_attention, "attend_varlen", attend_varlen)
    found = attend_packed(*parts, SCALE, [70, 20], biases, wants)
    assert found == ("attn_output", "log-sum-exp" if wants else None)
    assert asked == [(*parts, SCALE, [70, 20], biases)]


@every_way
def test_packed_attention_equals_torch_sdpa(monkeypatch, name):
    dtype = take(monkeypatch, name)
    query, key, value = projections(60, dtype=dtype)
    attn_output, _ = attend_packed(query, key, value, SCALE, [60], None)
    expected = F.scaled_dot_product_attention(*(x.transpose(0, 1)[None] for x in (query, key, value)), scale=SCALE)
    # In bfloat16 both are rounded, so they may differ by both their errors; these are below 0.02 here.
    atol = 1e-6 if dtype == torch.float32 else 0.04
    torch.testing.assert_close(attn_output, expected[0].transpose(0, 1), atol=atol, rtol=1e-5)


@pytest.mark.cuda
@every_bias
def test_packed_attention_on_cuda(with_bias):
    lengths = [5, 0, 64, 130]
    parts = [part.cuda() for part in projections(sum(lengths) + 3)]
    biases = [bias.cuda() for bias in head_biases(lengths)] if with_bias else None
    for found, expected in zip(
        attend_packed(*parts, SCALE, lengths, biases), reference(*parts, SCALE, lengths, biases), strict=True
    ):
        torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=1e-4)
