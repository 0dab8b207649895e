"""Blocks of tokens as tensors: layout, labels, tokens of a block.

Nothing here knows a model. ``block_spans.py`` says what a block is. Droppable blocks have a relevance label and enter
the skim loss.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from blockskim.method.block_spans import BlockSpans, blocks_of_spans, blocks_with_answers, first_and_length

IGNORED = -100


@dataclass(frozen=True, slots=True)
class BlockLayout:
    """``BlockSpans`` as tensors, in input coordinates. Shape: (batch, blocks) each."""

    starts: Tensor
    lengths: Tensor
    droppable: Tensor
    block_size: int

    @classmethod
    def of(cls, spans: BlockSpans, device: torch.device) -> "BlockLayout":
        """The same blocks as tensors on a device."""
        starts, lengths, droppable = (
            torch.from_numpy(part).to(device) for part in (spans.starts, spans.lengths, spans.droppable)
        )
        return cls(starts, lengths, droppable, spans.block_size)


def block_layout(attention_mask: Tensor, context_mask: Tensor, block_size: int, alignment: str) -> BlockLayout:
    """Cut every sample of a batch into blocks, as ``blocks_of_spans`` does.

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
    runs = (*first_and_length(real, "attention_mask"), *first_and_length(context, "context_mask"))
    return BlockLayout.of(blocks_of_spans(*runs, block_size, alignment), attention_mask.device)


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
    starts, ends = (part.reshape(len(part), -1) for part in (start_positions, end_positions))
    relevant: Tensor = blocks_with_answers(layout.starts, layout.lengths, starts, ends)
    return relevant.long().masked_fill(~layout.droppable, IGNORED)


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
