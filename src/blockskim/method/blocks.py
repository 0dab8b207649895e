"""Blocks of tokens as pure functions: layout, labels, tokens of a block, what survives.

Nothing here knows a model. A *block* is a run of ``block_size`` tokens (the last may be shorter). Only blocks that hold
context and nothing else are *droppable*: they have a relevance label, enter the skim loss and can be dropped. Question,
special and padding tokens belong to no droppable block.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

IGNORED = -100
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class BlockLayout:
    """Where the blocks of a batch lie, in input coordinates.

    Attributes:
        starts: first token of each block. Shape: (batch, blocks)
        lengths: tokens in each block, 0 where a sample has no such block. Shape: (batch, blocks)
        droppable: whether the block holds context tokens alone. Shape: (batch, blocks)
        block_size: tokens in a full block.
    """

    starts: Tensor
    lengths: Tensor
    droppable: Tensor
    block_size: int

    def shifted(self, places: Tensor) -> "BlockLayout":
        """The same blocks, each sample's so many places further on. Shape: (batch,)."""
        return BlockLayout(self.starts + places[:, None], self.lengths, self.droppable, self.block_size)

    def to(self, device: torch.device) -> "BlockLayout":
        """The same layout on another device."""
        return BlockLayout(self.starts.to(device), self.lengths.to(device), self.droppable.to(device), self.block_size)


def block_layout(attention_mask: Tensor, context_mask: Tensor, block_size: int, alignment: str) -> BlockLayout:
    """Cut every sample of a batch into blocks.

    ``alignment="sequence"`` cuts from the first real token on, question included, as the paper does: a block with any
    question or special token in it is not droppable. ``alignment="context"`` cuts from the first context token to the
    last: every block is droppable.

    Args:
        attention_mask: 1 on real tokens, 0 on padding; the real tokens are one run. Shape: (batch, tokens)
        context_mask: 1 on context tokens; they are one run. Shape: (batch, tokens)
        block_size: tokens per block.
        alignment: "sequence" or "context".

    Returns:
        The layout; ``blocks`` is what the longest sample needs, at least 1.

    Raises:
        ValueError: the shapes differ, or real or context tokens are not one run.
    """
    if attention_mask.shape != context_mask.shape or attention_mask.dim() != 2:
        raise ValueError(
            f"attention_mask {tuple(attention_mask.shape)} and context_mask {tuple(context_mask.shape)} "
            "must both have the shape (batch, tokens)"
        )
    # On the host: these are a few dozen steps on small arrays, which cost several times as much as tensors.
    real = attention_mask.cpu().numpy().astype(bool)
    context = context_mask.cpu().numpy().astype(bool) & real
    spans = (*first_and_length(real, "attention_mask"), *first_and_length(context, "context_mask"))
    layout = blocks_of_spans(*spans, block_size, alignment)
    return layout if attention_mask.device.type == "cpu" else layout.to(attention_mask.device)


def blocks_of_spans(
    first_real: Ints, num_real: Ints, first_context: Ints, num_context: Ints, block_size: int, alignment: str
) -> BlockLayout:
    """Cut samples into blocks, given where their real tokens and their context lie.

    Args:
        first_real: place of the first real token. Shape: (batch,)
        num_real: real tokens. Shape: (batch,)
        first_context: place of the first context token. Shape: (batch,)
        num_context: context tokens. Shape: (batch,)
        block_size: tokens per block.
        alignment: "sequence" or "context", as for ``block_layout``.

    Returns:
        The layout, on the host; ``blocks`` is what the longest sample needs, at least 1.
    """
    first, count = (first_real, num_real) if alignment == "sequence" else (first_context, num_context)
    blocks = max(1, -(-int(count.max()) // block_size)) if count.size else 1
    offsets = np.arange(blocks) * block_size
    starts = first[:, None] + offsets
    lengths = (count[:, None] - offsets).clip(0, block_size)
    # A block is context alone when it lies inside the run of context tokens.
    inside = (starts >= first_context[:, None]) & (starts + lengths <= (first_context + num_context)[:, None])
    droppable = inside & (lengths > 0)
    return BlockLayout(torch.from_numpy(starts), torch.from_numpy(lengths), torch.from_numpy(droppable), block_size)


def relevance_labels(layout: BlockLayout, start_positions: Tensor, end_positions: Tensor) -> Tensor:
    """Label the droppable blocks that hold at least one token of any annotated answer.

    Positions outside of every droppable block, such as the [CLS] token that unanswerable examples point at, make no
    block relevant; negative ones are no answer at all.

    Args:
        layout: the blocks.
        start_positions: first token of each answer, -1 for none. Shape: (batch,) or (batch, answers)
        end_positions: last token of each answer, inclusive. Same shape.

    Returns:
        1 for relevant, 0 for irrelevant, -100 for blocks that are not droppable. Shape: (batch, blocks)
    """
    starts = start_positions.reshape(len(start_positions), 1, -1)
    ends = end_positions.reshape(len(end_positions), 1, -1)
    first = layout.starts[:, :, None]
    last = first + layout.lengths[:, :, None] - 1
    overlaps = (starts >= 0) & (starts <= ends) & (starts <= last) & (ends >= first)
    return overlaps.any(-1).long().masked_fill(~layout.droppable, IGNORED)


def soften_labels(labels: Tensor, neighbor_relevance: float) -> Tensor:
    """Give irrelevant blocks beside a relevant one a share of relevance.

    Args:
        labels: 1 relevant, 0 irrelevant, negative not droppable, in the order of the input. Shape: (batch, blocks)
        neighbor_relevance: that share, from 0 to 1.

    Returns:
        Float labels. Shape: (batch, blocks)
    """
    relevant = F.pad(labels == 1, (1, 1))
    beside = (relevant[:, :-2] | relevant[:, 2:]) & (labels == 0)
    return torch.where(beside, neighbor_relevance, labels.float())


def token_indices(starts: Tensor, lengths: Tensor, block_size: int) -> tuple[Tensor, Tensor]:
    """Indices of the tokens of each block, and which of them exist.

    Args:
        starts: first token of each block. Shape: (blocks,)
        lengths: tokens in each block. Shape: (blocks,)
        block_size: width of the result.

    Returns:
        Indices, those beyond a block's end repeating its first token, Shape: (blocks, block_size), and a mask that is
        True on existing tokens, Shape: (blocks, block_size).
    """
    offsets = torch.arange(block_size, device=starts.device)
    exists = offsets < lengths[:, None]
    return torch.where(exists, starts[:, None] + offsets, starts[:, None]), exists


def surviving_blocks(
    probabilities: NDArray[np.float32], threshold: float, groups: NDArray[np.int64], num_groups: int
) -> NDArray[np.bool_]:
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


def first_and_length(mask: NDArray[np.bool_], name: str) -> tuple[Ints, Ints]:
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
