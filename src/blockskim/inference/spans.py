"""The best answer spans of windows, searched in one go over all of a batch."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Spans:
    """The best spans of each window, best first; a score of -inf where a window has no more of them.

    Attributes:
        scores: start logit plus end logit. Shape: (windows, n_best)
        starts: first token. Shape: (windows, n_best)
        ends: last token, inclusive. Shape: (windows, n_best)
    """

    scores: Floats
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]


def best_spans(
    start_logits: Floats,
    end_logits: Floats,
    context_mask: NDArray[np.bool_],
    max_length: int,
    n_best: int,
    passages: NDArray[np.integer] | None = None,
) -> Spans:
    """Find the spans of context tokens with the highest sum of start and end logit.

    Dropped tokens have logits of -inf and so never begin or end a span. Among equals the span that begins first comes
    first, and of those that begin together the shortest.

    Args:
        start_logits: Shape: (windows, tokens)
        end_logits: Shape: (windows, tokens)
        context_mask: True on tokens that an answer may begin or end with. Shape: (windows, tokens)
        max_length: most tokens in an answer.
        n_best: how many spans per window.
        passages: the passage of each token, where windows hold several: a span lies in one. Shape: (windows, tokens)

    Returns:
        The spans, best first.
    """
    windows, tokens = start_logits.shape
    max_length = min(max_length, tokens)
    starts = np.where(context_mask, start_logits, -np.inf).astype(np.float32, copy=False)
    ends = np.full((windows, tokens + max_length - 1), -np.inf, dtype=np.float32)
    np.copyto(ends[:, :tokens], end_logits, where=context_mask)
    # The best spans begin at those tokens whose own best span is among the best, so only these are looked at closely.
    # Where spans may not go on from one passage to the next, that is not known of the best ahead, so all are.
    count = tokens if passages is not None else min(n_best, tokens)
    leaders = _leading_tokens(starts + _best_ahead(ends, max_length), count)
    rows = np.arange(windows)[:, None]
    reach = leaders[..., None] + np.arange(max_length)
    scores = starts[rows, leaders][..., None] + ends[rows[..., None], reach]
    if passages is not None:
        ahead = np.pad(passages, ((0, 0), (0, max_length - 1)), constant_values=-1)
        scores[ahead[rows[..., None], reach] != passages[rows, leaders][..., None]] = -np.inf
    scores = scores.reshape(windows, -1)
    chosen = _ranked(scores, min(n_best, tokens * max_length))
    first = leaders[rows, chosen // max_length]
    return Spans(scores[rows, chosen], first, first + chosen % max_length)


def _best_ahead(ends: Floats, reach: int) -> Floats:
    """The highest of each value and the ``reach - 1`` behind it.

    Shape: (windows, tokens + reach - 1) to (windows, tokens).
    """
    best, covered = ends, 1
    while covered < reach:
        step = min(covered, reach - covered)
        best = np.maximum(best[:, :-step], best[:, step:])
        covered += step
    return best


def _leading_tokens(scores: Floats, count: int) -> NDArray[np.int64]:
    """Places of the highest scores of each row, in ascending order; among equals the first.

    Shape: (windows, tokens) to (windows, count)
    """
    if count == 1:
        return scores.argmax(1, keepdims=True)
    return np.sort(_ranked(scores, count), axis=1)


def _ranked(scores: Floats, count: int) -> NDArray[np.int64]:
    """Places of the highest scores of each row, highest first; among equals the first.

    Shape: (windows, places) to (windows, count)
    """
    if count == 1:
        return scores.argmax(1, keepdims=True)
    return np.argsort(-scores, axis=1, kind="stable")[:, :count]
