"""Attention over a padded batch, with the log-sum-exp of every row of scores; differentiable in both."""

import torch
import torch.nn.functional as F
from torch import Tensor


def attend_padded(
    query: Tensor, key: Tensor, value: Tensor, scale: float, mask: Tensor, bias: Tensor | None, dropout: float
) -> tuple[Tensor, Tensor]:
    """Attention over a padded batch with the full matrix, differentiable in both results. For training.

    Args:
        query: Shape: (batch, tokens, heads, head_dim)
        key: Shape: (batch, tokens, heads, head_dim)
        value: Shape: (batch, tokens, heads, head_dim)
        scale: factor on the dot products.
        mask: True where a token is real. Shape: (batch, tokens)
        bias: added to the scores. Shape: (batch or 1, heads, tokens, tokens)
        dropout: probability with which attention probabilities are dropped.

    Returns:
        The attention output, Shape: (batch, tokens, heads, head_dim), and the log-sum-exp of every row of scores,
        Shape: (batch, tokens, heads)
    """
    rows, columns, values = query.transpose(1, 2), key.permute(0, 2, 3, 1), value.transpose(1, 2)
    scores = (rows * scale) @ columns
    if bias is not None:
        scores = scores + bias.to(scores.dtype)
    scores = scores.masked_fill(~mask[:, None, None, :], torch.finfo(scores.dtype).min)
    probabilities = scores.softmax(-1)
    # lse_i = s_ij - log p_ij for any j; the largest entry of a row is the one whose probability can't underflow.
    largest, column = scores.max(-1)
    share = probabilities.gather(-1, column[..., None]).squeeze(-1)
    log_sum_exp = (largest.float() - share.float().log()).transpose(1, 2)
    attn_output = F.dropout(probabilities, dropout, dropout > 0.0) @ values
    return attn_output.transpose(1, 2), log_sum_exp
