"""Attention probabilities between chosen tokens, from what attention leaves behind.

A *probability* is ``exp(scale * q_i . k_j + bias_ij - lse_i)``. With the log-sum-exp ``lse`` of each row kept, the
few entries that are asked for are computed afterwards from queries and keys, exactly, and no attention matrix is kept.
They are the probabilities before dropout, in training as at inference.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
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
