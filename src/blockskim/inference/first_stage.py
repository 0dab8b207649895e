"""Choosing what of long documents is read at all, for a whole set of windows."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from blockskim.checks import is_single, unwrapped
from blockskim.data.windows import WindowSet
from blockskim.inference.backend import Backend
from blockskim.inference.runner import Thresholds
from blockskim.method.cost import dense_flops
from blockskim.method.first_stage import block_scores, chosen_blocks, scoring_flops

LEAST_TOKENS = 1536
"""Context tokens of a document that are always read: the best ones. Shorter documents are read as they are."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What of the documents is read.

    Attributes:
        windows: what to run: of documents that are long enough, passages.
        whole: all windows of all documents.
        unread: the tokens of its context that are not read, by example. Shape: (tokens,) each
        flops: spent on choosing, by example.
        dense_flops: of the plain model on all windows of these examples, by example.
    """

    windows: WindowSet
    whole: WindowSet
    unread: Mapping[int, NDArray[np.bool_]] = field(default_factory=dict)
    flops: Mapping[int, int] = field(default_factory=dict)
    dense_flops: Mapping[int, int] = field(default_factory=dict)


def choose_passages(backend: Backend, windows: WindowSet, thresholds: Thresholds = None) -> Choice:
    """Choose what is read of every document, by the model's own setting.

    Args:
        backend: with trained predictors and a ``document_threshold``, or all is read.
        windows: of the whole documents.
        thresholds: of the run, as ``run_windows`` takes them; where they are all 0, all is read.
    """
    config = backend.skim_config
    # Blocks that are cut from the start of the input, as in the paper, would lie across passages.
    possible = config.document_threshold and config.alignment == "context" and backend.has_trained_predictors
    if not possible or not _skims(backend, thresholds):
        return Choice(windows, windows)
    size = config.block_size
    sizes = np.diff(windows.contexts.bounds)[windows.context_of]
    chosen, flops = {}, {}
    for example in np.flatnonzero(sizes > LEAST_TOKENS).tolist():
        context = windows.contexts.ids_of(int(windows.context_of[example]))
        question = windows.question_ids(example)
        scores = block_scores(context, question, size, _embeddings(backend, question, context))
        blocks = chosen_blocks(scores, config.document_threshold, LEAST_TOKENS // size)
        if not blocks.all():
            chosen[example] = np.repeat(blocks, size)[: len(context)]
            flops[example] = scoring_flops(context, question, backend.embedding_width)
    if not chosen:
        return Choice(windows, windows)
    each = dense_flops(backend.cost, windows.lengths)
    of_examples = np.bincount(windows.windows[:, 0], each, len(windows.examples))
    return Choice(
        windows.selected(chosen, size),
        windows,
        {example: ~tokens for example, tokens in chosen.items()},
        flops,
        {example: int(of_examples[example]) for example in chosen},
    )


def _skims(backend: Backend, thresholds: Thresholds) -> bool:
    given = backend.skim_config.thresholds if thresholds is None else thresholds
    return bool(given) if is_single(unwrapped(given)) else any(given)  # type: ignore[arg-type] # is_single tells


def _embeddings(
    backend: Backend, question: NDArray[np.integer], context: NDArray[np.integer]
) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
    """Word embeddings of the distinct tokens of question and context; None where a backend has none."""
    if not backend.embedding_width:
        return None
    return backend.word_embeddings(np.unique(question)), backend.word_embeddings(np.unique(context))
