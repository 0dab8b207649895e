"""Self-attention that also yields the log-sum-exp of every row of scores, from which any probability can be had.

A *probability* is ``exp(scale * q_i . k_j + bias_ij - lse_i)``. With the log-sum-exp ``lse`` kept, the few entries a
skim predictor looks at are computed afterwards from queries and keys, exactly, and no attention matrix is kept. They
are the probabilities before dropout, in training as at inference.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

Bias = Callable[[Tensor, Tensor], Tensor]
"""Score bias between tokens: (queries (..., rows), keys (..., columns)) -> (..., heads, rows, columns)."""


@dataclass(frozen=True, slots=True)
class AttentionRows:
    """All that is needed to compute attention probabilities between chosen tokens of a layer.

    Attributes:
        query: Shape: (tokens, heads, head_dim)
        key: Shape: (tokens, heads, head_dim)
        log_sum_exp: log of the sum of the exponentials of each row of scores. Shape: (tokens, heads)
        scale: factor on the dot products.
        bias: what is added to the scores, given the flat indices of tokens; None for nothing.
    """

    query: Tensor
    key: Tensor
    log_sum_exp: Tensor
    scale: float
    bias: Bias | None = None

    def probabilities(self, rows: Tensor, columns: Tensor, exists: Tensor | None = None) -> Tensor:
        """Attention of the tokens ``rows`` to the tokens ``columns``, in float32.

        Args:
            rows: flat token indices. Shape: (groups, rows)
            columns: flat token indices. Shape: (groups, columns)
            exists: False where the result is to be 0. Shape: (groups, rows, columns)

        Returns:
            Shape: (groups, heads, rows, columns)
        """
        query = take_rows(self.query, rows).transpose(1, 2)
        key = take_rows(self.key, columns).permute(0, 2, 3, 1)
        # In place: there are many of these entries, and passing over fresh memory costs more than the arithmetic.
        scores = (query @ key).float().mul_(self.scale)
        if self.bias is not None:
            scores = scores + self.bias(rows, columns)
        scores.sub_(take_rows(self.log_sum_exp, rows).transpose(1, 2)[..., None])
        if exists is not None:
            scores.masked_fill_(~exists[:, None], -torch.inf)
        return scores.exp_()


def take_rows(values: Tensor, indices: Tensor) -> Tensor:
    """Gather rows by an index of any shape; cheap to differentiate. Shape: indices.shape + values.shape[1:]."""
    return values.index_select(0, indices.reshape(-1)).view(*indices.shape, *values.shape[1:])


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
        The context, Shape: (batch, tokens, heads, head_dim), and the log-sum-exp, Shape: (batch, tokens, heads)
    """
    rows, columns, values = query.transpose(1, 2), key.permute(0, 2, 3, 1), value.transpose(1, 2)
    scores = (rows * scale) @ columns
    if bias is not None:
        scores = scores + bias.to(scores.dtype)
    scores = scores.masked_fill(~mask[:, None, None, :], torch.finfo(scores.dtype).min)
    probabilities = scores.softmax(-1)
    # lse_i = s_ij - log p_ij for any j; the largest entry of a row is the one whose probability can't underflow.
    largest, place = scores.max(-1)
    share = probabilities.gather(-1, place[..., None]).squeeze(-1)
    log_sum_exp = (largest.float() - share.float().log()).transpose(1, 2)
    context = F.dropout(probabilities, dropout, dropout > 0.0) @ values
    return context.transpose(1, 2), log_sum_exp


def attend_packed(
    query: Tensor, key: Tensor, value: Tensor, scale: float, lengths: Sequence[int], biases: Sequence[Tensor] | None
) -> tuple[Tensor, Tensor]:
    """Attention over packed sequences, each to itself, without a padded token anywhere. For inference.

    Args:
        query: Shape: (tokens, heads, head_dim)
        key: Shape: (tokens, heads, head_dim)
        value: Shape: (tokens, heads, head_dim)
        scale: factor on the dot products.
        lengths: tokens of each sequence; they add up to ``tokens``.
        biases: added to the scores of each sequence. Shape: (heads, length, length)

    Returns:
        The context, Shape: (tokens, heads, head_dim), and the log-sum-exp, Shape: (tokens, heads), float32
    """
    attend = _fused_cpu if query.device.type == "cpu" and has_fused_cpu() else _plain
    context = torch.empty_like(query)
    log_sum_exp = torch.empty(query.shape[:2], dtype=torch.float32, device=query.device)
    first = 0
    for index, length in enumerate(lengths):
        if not length:
            continue
        part = slice(first, first + length)
        bias = None if biases is None else biases[index]
        context[part], log_sum_exp[part] = attend(query[part], key[part], value[part], scale, bias)
        first += length
    return context, log_sum_exp


def has_fused_cpu() -> bool:
    """Whether this build of PyTorch has the CPU flash attention that returns the log-sum-exp (a private operator)."""
    return hasattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu")


def _fused_cpu(query: Tensor, key: Tensor, value: Tensor, scale: float, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    mask = None if bias is None else bias[None].to(query.dtype)
    context, log_sum_exp = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        query.transpose(0, 1)[None],
        key.transpose(0, 1)[None],
        value.transpose(0, 1)[None],
        0.0,
        False,
        attn_mask=mask,
        scale=scale,
    )
    return context[0].transpose(0, 1), log_sum_exp.reshape(query.shape[1], query.shape[0]).T


def _plain(query: Tensor, key: Tensor, value: Tensor, scale: float, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    scores = torch.einsum("qhd,khd->hqk", query, key).float() * scale
    if bias is not None:
        scores = scores + bias
    log_sum_exp = scores.logsumexp(-1)
    probabilities = (scores - log_sum_exp[..., None]).exp().to(value.dtype)
    return torch.einsum("hqk,khd->qhd", probabilities, value), log_sum_exp.T
