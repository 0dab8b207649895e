"""The best answer spans of windows, searched in one go over all of a batch."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Spans:
    """The best spans of each window, best first; a score of -inf where a window has no more of them.

    Attributes:
        scores: start logit plus end logit. Shape: (windows, n_best)
        starts: first token. Shape: (windows, n_best)
        ends: last token, inclusive. Shape: (windows, n_best)
    """

    scores: Tensor
    starts: Tensor
    ends: Tensor


def best_spans(start_logits: Tensor, end_logits: Tensor, context_mask: Tensor, max_length: int, n_best: int) -> Spans:
    """Find the spans of context tokens with the highest sum of start and end logit.

    Dropped tokens have logits of -inf and so never begin or end a span.

    Args:
        start_logits: Shape: (windows, tokens)
        end_logits: Shape: (windows, tokens)
        context_mask: 1 on tokens that an answer may begin or end with. Shape: (windows, tokens)
        max_length: most tokens in an answer.
        n_best: how many spans per window.

    Returns:
        The spans, best first.
    """
    outside = ~context_mask.bool()
    starts = start_logits.float().masked_fill(outside, -torch.inf)
    ends = end_logits.float().masked_fill(outside, -torch.inf)
    windows, tokens = starts.shape
    max_length = min(max_length, tokens)
    padded = torch.cat([ends, ends.new_full((windows, max_length - 1), -torch.inf)], dim=1)
    scores = starts[:, :, None] + padded.unfold(1, max_length, 1)
    flat = scores.reshape(windows, -1)
    best, index = flat.topk(min(n_best, flat.shape[1]), dim=1) if n_best > 1 else flat.max(dim=1, keepdim=True)
    first = index // max_length
    return Spans(best, first, first + index % max_length)
