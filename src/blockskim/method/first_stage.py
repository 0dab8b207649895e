"""What of a long document is worth reading: its blocks compared with the question by word embeddings, before any layer.

It is the first stage of retrieval, inside of a document. Every token of the question looks for its likeness in every
block; a likeness counts by how few blocks have one, as rare words do in BM25 (Robertson and Zaragoza, 2009), and blocks
near a good one are good, too, since an answer need not stand beside the words of its question. Nothing is trained. The
scores of a document are compared with its best alone: they depend on nothing else that is read.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.integer[Any]]
Floats = NDArray[np.float32]

DEVIATIONS = 2.0
"""Similarities count from so many standard deviations above the mean of a question token's: in many models any two
words are somewhat alike."""

REACH = 6
"""Blocks to either side that a likeness counts for, too."""

DECAY = 0.88
"""What is left of it from one block to the next."""

MOST_TOKENS = 65_536
"""Whose likenesses are laid out at once, at least a block's; all of a long document's would take gigabytes."""


def block_scores(
    context: Ints, question: Ints, size: int, embed: Callable[[Ints], Floats] | None = None
) -> tuple[NDArray[np.float64], int]:
    """How well each block of a context fits a question, and what it took to tell.

    Args:
        context: token ids of the whole document. Shape: (tokens,)
        question: token ids without special ones. Shape: (question,)
        size: tokens of a block.
        embed: gives the word embeddings of token ids. Shape: (ids,) to (ids, width). None: tokens are alike only where
            they are the same.

    Returns:
        Scores. Shape: (blocks,) And the operations of the one product that is computed: distinct tokens of the question
        by those of the context.
    """
    # Of some characters a tokenizer leaves nothing.
    if not len(context):
        return np.zeros(0), 0
    asked = np.unique(question)
    distinct, places = np.unique(context, return_inverse=True)
    alike, flops = (asked[:, None] == distinct).astype(np.float32), 0
    if embed is not None:
        rows, columns = embed(asked), embed(distinct)
        alike = np.maximum(alike, _similarity(rows, columns))
        flops = 2 * len(asked) * len(distinct) * rows.shape[1]
    found = _best_of_blocks(alike, places, size)
    # The inverse document frequency of a likeness, with blocks for documents.
    weights = np.log(found.shape[1] / np.maximum(found.sum(1), 0.5)).clip(min=0.0)
    scores: NDArray[np.float64] = weights @ _spread(found).astype(np.float64)
    return scores, flops


def chosen_blocks(scores: NDArray[np.float64], threshold: float, least: int) -> NDArray[np.bool_]:
    """The blocks to be read: those with at least a share of the best one's score, and so many at least.

    Among equals the first come first. Shape: (blocks,) to (blocks,)
    """
    best = float(scores.max(initial=0.0))
    wanted = int((scores >= threshold * best).sum())
    order = np.argsort(-scores, kind="stable")
    chosen = np.zeros(len(scores), dtype=np.bool_)
    chosen[order[: max(wanted, least)]] = True
    return chosen


def _best_of_blocks(alike: Floats, places: NDArray[np.integer], size: int) -> Floats:
    """The likest token of each block for each token of the question.

    Args:
        alike: how alike tokens of the question and different tokens of the context are. Shape: (question, different)
        places: which of the different tokens each token of the context is. Shape: (tokens,)
        size: tokens of a block.

    Returns:
        Shape: (question, blocks)
    """
    piece = max(1, MOST_TOKENS // size) * size
    parts = [
        np.maximum.reduceat(alike[:, part], np.arange(0, len(part), size), axis=1)
        for part in (places[first : first + piece] for first in range(0, len(places), piece))
    ]
    return np.concatenate(parts, axis=1)


def _similarity(asked: Floats, there: Floats) -> Floats:
    """From 0, for likeness that any two words have, to 1. Shapes: (question, width), (context, width) to (both)."""
    cosines = _normalised(asked) @ _normalised(there).T
    floor = cosines.mean(1, keepdims=True) + DEVIATIONS * cosines.std(1, keepdims=True)
    similar: Floats = ((cosines - floor) / np.maximum(1.0 - floor, 1e-3)).clip(0.0, 1.0)
    return similar


def _normalised(rows: Floats) -> Floats:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: Floats = rows / np.maximum(lengths, 1e-12)
    return unit


def _spread(found: Floats) -> Floats:
    """The best likeness of each question token in a block or near it. Shape: (question, blocks) to the same."""
    best = found.copy()
    for distance in range(1, min(REACH, found.shape[1] - 1) + 1):
        faded = found * np.float32(DECAY**distance)
        best[:, distance:] = np.maximum(best[:, distance:], faded[:, :-distance])
        best[:, :-distance] = np.maximum(best[:, :-distance], faded[:, distance:])
    return best
