"""Attention over a padded batch with the full matrix; differentiable. For training."""

import torch
import torch.nn.functional as F
from torch import Tensor


def attend_padded(
    query: Tensor, key: Tensor, value: Tensor, scale: float, mask: Tensor, bias: Tensor | None, dropout: float
) -> Tensor:
    """Attention over a padded batch.

    Args:
        query: Shape: (batch, tokens, heads, head_dim)
        key: Shape: (batch, tokens, heads, head_dim)
        value: Shape: (batch, tokens, heads, head_dim)
        scale: factor on the dot products.
        mask: True where a token is real. Shape: (batch, tokens)
        bias: added to the scores. Shape: (batch or 1, heads, tokens, tokens)
        dropout: probability with which attention probabilities are dropped.

    Returns:
        The attention output. Shape: (batch, tokens, heads, head_dim)
    """
    probabilities = _scores(query, key, scale, mask, bias).softmax(-1)
    return _weighted(probabilities, value, dropout)


def attend_padded_with_sums(
    query: Tensor, key: Tensor, value: Tensor, scale: float, mask: Tensor, bias: Tensor | None, dropout: float
) -> tuple[Tensor, Tensor]:
    """What ``attend_padded`` does, of the same arguments, with the log-sum-exp of every row of scores.

    Differentiable in both results. It costs a pass over the scores more.

    Returns:
        The attention output, Shape: (batch, tokens, heads, head_dim), and the log-sum-exp,
        Shape: (batch, tokens, heads)
    """
    scores = _scores(query, key, scale, mask, bias)
    probabilities = scores.softmax(-1)
    # lse_i = s_ij - log p_ij for any j; the largest entry of a row is the one whose probability can't underflow.
    largest, column = scores.max(-1)
    share = probabilities.gather(-1, column[..., None]).squeeze(-1)
    log_sum_exp = (largest.float() - share.float().log()).transpose(1, 2)
    return _weighted(probabilities, value, dropout), log_sum_exp


def _scores(query: Tensor, key: Tensor, scale: float, mask: Tensor, bias: Tensor | None) -> Tensor:
    """Scaled dot products, the lowest number there is where a key is padding. Shape: (batch, heads, tokens, tokens)."""
    scores = (query.transpose(1, 2) * scale) @ key.permute(0, 2, 3, 1)
    if bias is not None:
        scores = scores + bias.to(scores.dtype)
    return scores.masked_fill(~mask[:, None, None, :], torch.finfo(scores.dtype).min)


def _weighted(probabilities: Tensor, value: Tensor, dropout: float) -> Tensor:
    """Sums of values by attention probabilities. Shape: (batch, tokens, heads, head_dim)."""
    attended: Tensor = F.dropout(probabilities, dropout, dropout > 0.0) @ value.transpose(1, 2)
    return attended.transpose(1, 2)
