"""Self-attention that also yields the log-sum-exp of every row of scores, from which any probability can be had.

A *probability* is ``exp(scale * q_i . k_j + bias_ij - lse_i)``. With the log-sum-exp ``lse`` kept, the few entries a
skim predictor looks at are computed afterwards from queries and keys, exactly, and no attention matrix is kept. They
are the probabilities before dropout, in training as at inference.
"""

from collections.abc import Callable
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
