import pytest
import torch

from blockskim.kernels.attention_probabilities import AttentionRows, take_rows
from blockskim.kernels.packed_attention import attend_packed
from blockskim.kernels.padded_attention import attend_padded_with_sums
from padded_tensors import padded, padded_reference, separate_projections
from plain_attention import HEADS, SCALE


def test_gradients_of_tiles_agree_with_finite_differences():
    *parts, mask = padded(lengths=(12,))
    query, key, value = (part.clone().requires_grad_() for part in parts)
    block = torch.arange(4, 12)[None]
    weights = torch.randn(1, HEADS, 8, 8, generator=torch.Generator().manual_seed(3))

    def looked_at(query, key):
        _, log_sum_exp = attend_padded_with_sums(query, key, value, SCALE, mask, None, 0.0)
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
    _, log_sum_exp = attend_padded_with_sums(query, key, value, SCALE, mask, bias, 0.0)
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
    query, key, value = separate_projections(30)
    _, log_sum_exp = attend_packed(query, key, value, SCALE, [30], None)
    everything = torch.arange(30)[None]
    total = AttentionRows(query, key, log_sum_exp, SCALE).probabilities(everything, everything).sum(-1)
    torch.testing.assert_close(total, torch.ones(1, HEADS, 30), atol=2e-6, rtol=0)


@pytest.mark.parametrize("padded_path", [False, True])
def test_probabilities_in_bfloat16_are_close_and_in_float32(padded_path):
    query, key, value = separate_projections(64, dtype=torch.bfloat16)
    if padded_path:
        mask = torch.ones(1, 64, dtype=torch.bool)
        log_sum_exp = attend_padded_with_sums(query[None], key[None], value[None], SCALE, mask, None, 0.0)[1][0]
    else:
        log_sum_exp = attend_packed(query, key, value, SCALE, [64], None)[1]
    block = torch.arange(16, 48)[None]
    found = AttentionRows(query, key, log_sum_exp, SCALE).probabilities(block, block)
    assert found.dtype == torch.float32
    scores = torch.einsum("qhd,khd->hqk", query.float(), key.float()) * SCALE
    torch.testing.assert_close(found[0], scores.softmax(-1)[:, 16:48, 16:48], atol=5e-3, rtol=0.05)


def test_take_rows_gathers_by_an_index_of_any_shape():
    values = torch.arange(24).view(6, 2, 2)
    indices = torch.tensor([[5, 0, 0], [1, 2, 5]])
    assert torch.equal(take_rows(values, indices), values[indices])
