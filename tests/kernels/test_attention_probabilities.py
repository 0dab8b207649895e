import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from blockskim.kernels.attention_probabilities import AttentionRows, attend_padded, take_rows
from blockskim.kernels.packed_attention import attend_packed

HEADS, SIZE = 3, 8
SCALE = SIZE**-0.5
some = settings(max_examples=max(5, settings.default.max_examples // 3))


def projections(*shape, seed=0, spread=1.0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return [(torch.randn(*shape, HEADS, SIZE, generator=generator) * spread).to(dtype) for _ in range(3)]


def padded(lengths=(20, 13, 1), seed=0, spread=1.0, dtype=torch.float32):
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    return [*projections(len(lengths), max(lengths), seed=seed, spread=spread, dtype=dtype), mask]


def padded_reference(query, key, value, mask, bias=None):
    """Attention probabilities, context and log-sum-exp from the full matrix."""
    scores = torch.einsum("bqhd,bkhd->bhqk", query, key) * SCALE
    if bias is not None:
        scores = scores + bias
    scores = scores.masked_fill(~mask[:, None, None, :], -torch.inf)
    probabilities = scores.softmax(-1)
    return probabilities, torch.einsum("bhqk,bkhd->bqhd", probabilities, value), scores.logsumexp(-1).transpose(1, 2)


@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("spread", [0.1, 1.0, 3.0])
def test_padded_attention_gives_context_and_log_sum_exp(spread, with_bias):
    query, key, value, mask = padded(spread=spread)
    bias = torch.randn(1, HEADS, 20, 20, generator=torch.Generator().manual_seed(7)) if with_bias else None
    context, log_sum_exp = attend_padded(query, key, value, SCALE, mask, bias, 0.0)
    _, expected, expected_sum = padded_reference(
        query.double(), key.double(), value.double(), mask, None if bias is None else bias.double()
    )
    torch.testing.assert_close(context[mask].double(), expected[mask], atol=5e-6, rtol=1e-5)
    torch.testing.assert_close(log_sum_exp[mask].double(), expected_sum[mask], atol=5e-6, rtol=1e-6)


def test_padded_attention_is_finite_on_padding():
    query, key, value, mask = padded()
    for part in attend_padded(query, key, value, SCALE, mask, None, 0.0):
        assert bool(part.isfinite().all())


def test_log_sum_exp_is_that_before_dropout():
    query, key, value, mask = padded()
    context, log_sum_exp = attend_padded(query, key, value, SCALE, mask, None, 0.0)
    torch.manual_seed(0)
    dropped, same = attend_padded(query, key, value, SCALE, mask, None, 0.5)
    assert torch.equal(log_sum_exp, same)
    assert not torch.allclose(context, dropped)


@some
@given(st.integers(0, 999), st.booleans())
def test_gradients_through_the_log_sum_exp_are_those_of_logsumexp(seed, with_bias):
    *parts, mask = padded(seed=seed)
    bias = torch.randn(1, HEADS, 20, 20, generator=torch.Generator().manual_seed(seed)) if with_bias else None
    generator = torch.Generator().manual_seed(seed + 1)
    weights = [torch.randn(3, 20, HEADS, SIZE, generator=generator), torch.randn(3, 20, HEADS, generator=generator)]
    weights = [weight * mask.view(3, 20, *[1] * (weight.dim() - 2)) for weight in weights]
    gradients = []
    for attend in (
        lambda q, k, v: attend_padded(q, k, v, SCALE, mask, bias, 0.0),
        lambda q, k, v: padded_reference(q, k, v, mask, bias)[1:],
    ):
        leaves = [part.clone().requires_grad_() for part in parts]
        results = attend(*leaves)
        sum((result * weight).sum() for result, weight in zip(results, weights, strict=True)).backward()
        gradients.append([leaf.grad for leaf in leaves])
    for found, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-4)


def test_gradients_of_tiles_agree_with_finite_differences():
    *parts, mask = padded(lengths=(12,))
    query, key, value = (part.clone().requires_grad_() for part in parts)
    block = torch.arange(4, 12)[None]
    weights = torch.randn(1, HEADS, 8, 8, generator=torch.Generator().manual_seed(3))

    def looked_at(query, key):
        _, log_sum_exp = attend_padded(query, key, value, SCALE, mask, None, 0.0)
        rows = AttentionRows(query.flatten(0, 1), key.flatten(0, 1), log_sum_exp.flatten(0, 1), SCALE)
        return (rows.probabilities(block, block) * weights).sum()

    looked_at(query, key).backward()
    step = 1e-2
    generator = torch.Generator().manual_seed(4)
    for leaf in (query, key):
        direction = torch.randn(leaf.shape, generator=generator)
        moved = [
            [other + sign * step * direction if other is leaf else other for other in (query, key)] for sign in (1, -1)
        ]
        with torch.no_grad():
            slope = (looked_at(*moved[0]) - looked_at(*moved[1])) / (2 * step)
        assert float(slope) == pytest.approx(float((leaf.grad * direction).sum()), rel=5e-3, abs=1e-4)


@pytest.mark.parametrize("with_bias", [False, True])
def test_probabilities_are_entries_of_the_attention_matrix(with_bias):
    query, key, value, mask = padded(lengths=(20, 20))
    bias = torch.randn(1, HEADS, 20, 20, generator=torch.Generator().manual_seed(7)) if with_bias else None
    _, log_sum_exp = attend_padded(query, key, value, SCALE, mask, bias, 0.0)
    matrix, _, _ = padded_reference(query, key, value, mask, bias)

    def between(rows, columns):
        return bias[0][:, rows[..., :, None] % 20, columns[..., None, :] % 20].movedim(0, -3)

    rows = AttentionRows(
        query.flatten(0, 1), key.flatten(0, 1), log_sum_exp.flatten(0, 1), SCALE, between if with_bias else None
    )
    chosen, columns = torch.tensor([[3, 4, 5], [27, 22, 22]]), torch.tensor([[0, 19], [39, 20]])
    expected = torch.stack([matrix[g][:, chosen[g] - 20 * g][:, :, columns[g] - 20 * g] for g in range(2)])
    torch.testing.assert_close(rows.probabilities(chosen, columns), expected, atol=1e-6, rtol=1e-5)


def test_probabilities_of_a_row_add_up_to_one():
    query, key, value = projections(30)
    _, log_sum_exp = attend_packed(query, key, value, SCALE, [30], None)
    everything = torch.arange(30)[None]
    total = AttentionRows(query, key, log_sum_exp, SCALE).probabilities(everything, everything).sum(-1)
    torch.testing.assert_close(total, torch.ones(1, HEADS, 30), atol=2e-6, rtol=0)


@pytest.mark.parametrize("padded_path", [False, True])
def test_probabilities_in_bfloat16_are_close_and_in_float32(padded_path):
    query, key, value = projections(64, dtype=torch.bfloat16)
    if padded_path:
        mask = torch.ones(1, 64, dtype=torch.bool)
        log_sum_exp = attend_padded(query[None], key[None], value[None], SCALE, mask, None, 0.0)[1][0]
    else:
        log_sum_exp = attend_packed(query, key, value, SCALE, [64], None)[1]
    block = torch.arange(16, 48)[None]
    found = AttentionRows(query, key, log_sum_exp, SCALE).probabilities(block, block)
    assert found.dtype == torch.float32
    scores = torch.einsum("qhd,khd->hqk", query.float(), key.float()) * SCALE
    torch.testing.assert_close(found[0], scores.softmax(-1)[:, 16:48, 16:48], atol=5e-3, rtol=0.05)


@pytest.mark.parametrize(("dtype", "gap"), [(torch.float32, 110.0), (torch.float16, 22.0)])
def test_log_sum_exp_holds_for_a_token_that_hardly_attends_to_itself(dtype, gap):
    # Softmax gives such a token 0 for itself in this type, but others of its block may have all the attention.
    score = torch.tensor([0.0, gap / SCALE])
    query = torch.zeros(1, 2, 1, SIZE, dtype=dtype)
    query[0, 0, 0, 0] = 1
    key = torch.zeros(1, 2, 1, SIZE, dtype=dtype)
    key[0, :, 0, 0] = score.to(dtype)
    mask = torch.ones(1, 2, dtype=torch.bool)
    _, log_sum_exp = attend_padded(query, key, torch.zeros_like(key), SCALE, mask, None, 0.0)
    assert float(log_sum_exp[0, 0, 0]) == pytest.approx(gap, rel=1e-2)


def test_take_rows_gathers_by_an_index_of_any_shape():
    values = torch.arange(24).view(6, 2, 2)
    indices = torch.tensor([[5, 0, 0], [1, 2, 5]])
    assert torch.equal(take_rows(values, indices), values[indices])
