import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from blockskim.kernels.padded_attention import attend_padded, attend_padded_with_sums
from padded_tensors import padded, padded_reference
from plain_attention import HEADS, SCALE, SIZE

some = settings(max_examples=max(5, settings.default.max_examples // 3))


@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("spread", [0.1, 1.0, 3.0])
def test_padded_attention_gives_its_output_and_log_sum_exp(spread, with_bias):
    query, key, value, mask = padded(spread=spread)
    bias = torch.randn(1, HEADS, 20, 20, generator=torch.Generator().manual_seed(7)) if with_bias else None
    attn_output, log_sum_exp = attend_padded_with_sums(query, key, value, SCALE, mask, bias, 0.0)
    _, expected, expected_sum = padded_reference(
        query.double(), key.double(), value.double(), mask, None if bias is None else bias.double()
    )
    torch.testing.assert_close(attn_output[mask].double(), expected[mask], atol=5e-6, rtol=1e-5)
    torch.testing.assert_close(log_sum_exp[mask].double(), expected_sum[mask], atol=5e-6, rtol=1e-6)
    assert torch.equal(attend_padded(query, key, value, SCALE, mask, bias, 0.0), attn_output)


def test_padded_attention_is_finite_on_padding():
    query, key, value, mask = padded()
    for part in attend_padded_with_sums(query, key, value, SCALE, mask, None, 0.0):
        assert bool(part.isfinite().all())


def test_log_sum_exp_is_that_before_dropout():
    query, key, value, mask = padded()
    attn_output, log_sum_exp = attend_padded_with_sums(query, key, value, SCALE, mask, None, 0.0)
    torch.manual_seed(0)
    dropped, same = attend_padded_with_sums(query, key, value, SCALE, mask, None, 0.5)
    assert torch.equal(log_sum_exp, same)
    assert not torch.allclose(attn_output, dropped)


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
        lambda q, k, v: attend_padded_with_sums(q, k, v, SCALE, mask, bias, 0.0),
        lambda q, k, v: padded_reference(q, k, v, mask, bias)[1:],
    ):
        leaves = [part.clone().requires_grad_() for part in parts]
        results = attend(*leaves)
        sum((result * weight).sum() for result, weight in zip(results, weights, strict=True)).backward()
        gradients.append([leaf.grad for leaf in leaves])
    for found, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize(("dtype", "gap"), [(torch.float32, 110.0), (torch.float16, 22.0)])
def test_log_sum_exp_holds_for_a_token_that_hardly_attends_to_itself(dtype, gap):
    # Softmax gives such a token 0 for itself in this type, but others of its block may have all the attention.
    score = torch.tensor([0.0, gap / SCALE])
    query = torch.zeros(1, 2, 1, SIZE, dtype=dtype)
    query[0, 0, 0, 0] = 1
    key = torch.zeros(1, 2, 1, SIZE, dtype=dtype)
    key[0, :, 0, 0] = score.to(dtype)
    mask = torch.ones(1, 2, dtype=torch.bool)
    _, log_sum_exp = attend_padded_with_sums(query, key, torch.zeros_like(key), SCALE, mask, None, 0.0)
    assert float(log_sum_exp[0, 0, 0]) == pytest.approx(gap, rel=1e-2)
