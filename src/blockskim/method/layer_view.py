"""What skim predictors can see of a layer: one function an input, from a view of the layer to features of its blocks.

Everything here works on packed or padded tokens alike, since tokens are named by flat indices, and costs
O(tokens * block) or O(tokens * question).
"""

import math
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from blockskim.kernels.attention_probabilities import take_rows


class Attention(Protocol):
    """Whatever can tell attention probabilities between chosen tokens, as ``AttentionRows`` does."""

    def probabilities(self, rows: Tensor, columns: Tensor, exists: Tensor | None = None) -> Tensor:
        """Attention of ``rows`` to ``columns``, 0 where ``exists`` is False; shapes as in ``AttentionRows``."""


@dataclass(frozen=True, slots=True)
class TokenBags:
    """Sets of tokens of any sizes: first every block, then every sample's question.

    Attributes:
        tokens: flat indices of the tokens of all sets, one set after the other. Shape: (tokens in sets,)
        offsets: where each set begins in them. Shape: (blocks + samples,)
    """

    tokens: Tensor
    offsets: Tensor


@dataclass(frozen=True, slots=True)
class LayerView:
    """A layer just after its attention, and the blocks that are to be droppable in it.

    Attributes:
        attention: yields attention probabilities between chosen tokens; None when no predictor of the layer asks.
        hidden: what entered the layer. Shape: (tokens, hidden)
        context: what attention gave, heads joined, before the output projection. Shape: (tokens, heads * head_dim)
        tokens: flat indices of each block's tokens. Shape: (blocks, block_size)
        exists: False where a block is shorter. Shape: (blocks, block_size)
        samples: the sample of each block. Shape: (blocks,)
        question: flat indices of each sample's question tokens. Shape: (samples, question)
        question_exists: False where a question is shorter. Shape: (samples, question)
        places: the number of each block among the blocks of its sample before any was dropped; blocks come by sample,
            then by number. Shape: (blocks,)
        bags: the tokens of blocks and questions once more; made from the above when None.
    """

    attention: Attention | None
    hidden: Tensor
    context: Tensor
    tokens: Tensor
    exists: Tensor
    samples: Tensor
    question: Tensor
    question_exists: Tensor
    places: Tensor
    bags: TokenBags | None = None


def tile_features(view: LayerView) -> Tensor:
    """Diagonal attention tiles: the attention of each block to itself, 0 where a block is shorter.

    The input of the paper. Shape: (blocks, heads, block_size, block_size)
    """
    exists = view.exists[:, :, None] & view.exists[:, None, :]
    return _attention(view).probabilities(view.tokens, view.tokens, exists)


def question_features(view: LayerView) -> Tensor:
    """Attention between a block and the question: mean and maximum a head, both directions, as logarithms.

    From the block to the question it is the mass that each block token spends on the question, from the question to
    the block the mass that each question token spends on the block; besides the largest single entries. Logarithms are
    scaled to lie from -1 (nothing) to 1 (everything). Shape: (blocks, 6 * heads)
    """
    question = view.question[view.samples]
    exists = view.question_exists[view.samples]
    both = view.exists[:, :, None] & exists[:, None, :]
    attention = _attention(view)
    to_question = attention.probabilities(view.tokens, question, both)
    from_question = attention.probabilities(question, view.tokens, both.transpose(1, 2))
    features = []
    for entries, rows in ((to_question, view.exists), (from_question, exists)):
        mass = entries.sum(-1)
        count = rows.sum(-1, keepdim=True).clamp_min(1)
        features += [mass.sum(-1) / count, mass.amax(-1), entries.amax((-2, -1))]
    return 1.0 - 2.0 * (torch.cat(features, -1) + LOG_FLOOR).log() / math.log(LOG_FLOOR)


LOG_FLOOR = 1e-4
"""Added to attention masses before their logarithm, so that what is as good as nothing does not dominate."""


def hidden_features(view: LayerView) -> Tensor:
    """Pooled states: a block's mean and maximum, its question's mean, of the layer's input and attention output.

    Shape: (blocks, 3 * (hidden + heads * head_dim))
    """
    return torch.cat([_pooled(view, view.hidden), _pooled(view, view.context)], -1)


def attended_features(view: LayerView) -> Tensor:
    """Pooled attention output alone: a block's mean and maximum, its question's mean.

    It holds what tokens found out about each other in this layer, and costs the least of all inputs.
    Shape: (blocks, 3 * heads * head_dim)
    """
    return _pooled(view, view.context)


def _pooled(view: LayerView, states: Tensor) -> Tensor:
    """Mean and maximum over each block, and mean over its question. Shapes: (tokens, width) to (blocks, 3 * width)."""
    bags = token_bags(view)
    # One operation for sets of all sizes; a set without a token has a mean of 0.
    means = F.embedding_bag(bags.tokens, states, bags.offsets, mode="mean")
    blocks = len(view.tokens)
    # Places beyond a block's end repeat its first token, which leaves the maximum alone.
    largest = take_rows(states, view.tokens).amax(1)
    return torch.cat([means[:blocks], largest, means[blocks:].index_select(0, view.samples)], -1)


def token_bags(view: LayerView) -> TokenBags:
    """The tokens of a view's blocks and questions as sets."""
    if view.bags is not None:
        return view.bags
    sizes = torch.cat([view.exists.sum(1), view.question_exists.sum(1)])
    tokens = torch.cat([view.tokens[view.exists], view.question[view.question_exists]])
    return TokenBags(tokens, sizes.cumsum(0) - sizes)


def _attention(view: LayerView) -> Attention:
    if view.attention is None:
        raise ValueError("this input looks at attention probabilities, but the layer's view has none")
    return view.attention
