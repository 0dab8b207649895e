"""Blocks of tokens in NumPy: where they lie, which of them hold answers, and which survive a threshold.

Nothing here knows a model or needs PyTorch. A *block* is a run of ``block_size`` tokens (the last may be shorter). Only
blocks that hold context and nothing else are *droppable*. Question, special and padding tokens belong to no droppable
block.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blockskim.data.packed_inputs import PackedInputs

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class BlockSpans:
    """Where the blocks of a batch lie.

    Attributes:
        starts: first token of each block. Shape: (batch, blocks)
        lengths: tokens in each block, 0 where a sample has no such block. Shape: (batch, blocks)
        droppable: whether the block holds context tokens alone. Shape: (batch, blocks)
        block_size: tokens in a full block.
    """

    starts: Ints
    lengths: Ints
    droppable: Bools
    block_size: int

    def shifted(self, places: Ints) -> "BlockSpans":
        """The same blocks, each sample's so many places further on. Shape: (batch,)."""
        return BlockSpans(self.starts + places[:, None], self.lengths, self.droppable, self.block_size)

    def rows(self, part: slice) -> "BlockSpans":
        """The blocks of some samples of the batch."""
        return BlockSpans(self.starts[part], self.lengths[part], self.droppable[part], self.block_size)


def blocks_of_spans(
    first_real: Ints, num_real: Ints, first_context: Ints, num_context: Ints, block_size: int, alignment: str
) -> BlockSpans:
    """Cut samples into blocks, given where their real tokens and their context lie.

    ``alignment="sequence"`` cuts from the first real token on, question included, as the paper does: a block with any
    question or special token in it is not droppable. ``alignment="context"`` cuts from the first context token to the
    last: every block is droppable.

    Args:
        first_real: place of the first real token. Shape: (batch,)
        num_real: real tokens. Shape: (batch,)
        first_context: place of the first context token. Shape: (batch,)
        num_context: context tokens. Shape: (batch,)
        block_size: tokens per block.
        alignment: "sequence" or "context".

    Returns:
        The blocks; there are as many columns as the longest sample needs, at least 1.
    """
    first, count = (first_real, num_real) if alignment == "sequence" else (first_context, num_context)
    blocks = max(1, -(-int(count.max()) // block_size)) if count.size else 1
    offsets = np.arange(blocks) * block_size
    starts = first[:, None] + offsets
    lengths = (count[:, None] - offsets).clip(0, block_size)
    # A block is context alone when it lies inside the run of context tokens.
    inside = (starts >= first_context[:, None]) & (starts + lengths <= (first_context + num_context)[:, None])
    return BlockSpans(starts, lengths, inside & (lengths > 0), block_size)


def blocks_of_packed(inputs: PackedInputs, block_size: int, alignment: str) -> BlockSpans:
    """The blocks of packed samples, in places within each sample, cut as ``blocks_of_spans`` does."""
    spans = (np.zeros_like(inputs.lengths), inputs.lengths, inputs.context_starts, inputs.context_lengths)
    return blocks_of_spans(*spans, block_size, alignment)


def first_and_length(mask: Bools, name: str) -> tuple[Ints, Ints]:
    """First index and length of the only run of True in each row; (0, 0) for a row without any.

    Args:
        mask: Shape: (batch, tokens)
        name: of the mask, for the error.

    Returns:
        Shapes: (batch,), (batch,).

    Raises:
        ValueError: a row has several runs.
    """
    count = mask.sum(-1)
    if not mask.shape[1]:
        return count, count
    first = mask.argmax(-1)
    last = mask.shape[1] - 1 - mask[:, ::-1].argmax(-1)
    broken = (count > 0) & (last - first + 1 != count)
    if broken.any():
        row = int(broken.argmax())
        raise ValueError(f"{name} of sample {row} is not one run of ones: {int(count[row])} ones in several runs")
    return first, count


def blocks_with_answers(starts: Any, lengths: Any, answer_starts: Any, answer_ends: Any) -> Any:
    """Which blocks hold at least one token of any answer; arrays or tensors, and the result is of their kind.

    Args:
        starts: first token of each block. Shape: (batch, blocks)
        lengths: tokens in each block. Shape: (batch, blocks)
        answer_starts: first token of each answer, negative for none. Shape: (batch, answers)
        answer_ends: last token of each answer, inclusive. Same shape.

    Returns:
        Shape: (batch, blocks)
    """
    answer_starts, answer_ends = answer_starts[:, None, :], answer_ends[:, None, :]
    first = starts[:, :, None]
    last = first + lengths[:, :, None] - 1
    overlaps = (answer_starts >= 0) & (answer_starts <= answer_ends) & (answer_starts <= last) & (answer_ends >= first)
    return overlaps.any(-1)


def surviving_blocks(probabilities: NDArray[np.float32], threshold: float, groups: Ints, num_groups: int) -> Bools:
    """Which blocks pass the threshold; in every group the likeliest survives even when none passes.

    Args:
        probabilities: keep probability of each block. Shape: (blocks,)
        threshold: blocks below it are dropped.
        groups: the sample or document of each block, where at least one block must survive. Shape: (blocks,)
        num_groups: number of samples or documents.

    Returns:
        True for the blocks that stay. Shape: (blocks,)
    """
    # In the precision of the probabilities, and so that a block without a number (NaN) stays.
    keep = ~(probabilities < probabilities.dtype.type(threshold))
    saved = np.zeros(num_groups, dtype=bool)
    saved[groups[keep]] = True
    orphans = np.flatnonzero(~saved[groups])
    if orphans.size:
        # By group, then from the likeliest down; among equals the first.
        order = orphans[np.lexsort((orphans, -probabilities[orphans], groups[orphans]))]
        keep[order[np.unique(groups[order], return_index=True)[1]]] = True
    return keep
