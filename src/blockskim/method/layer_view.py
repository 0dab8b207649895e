"""What skim predictors can see of a layer, whether its tokens are packed or padded: they are named by flat indices."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Attention(Protocol):
    """Whatever can tell attention probabilities between chosen tokens, as ``AttentionRows`` does."""

    def probabilities(self, rows: Tensor, columns: Tensor, exists: Tensor | None = None) -> Tensor:
        """Attention of the tokens ``rows`` to the tokens ``columns``, 0 where ``exists`` is False.

        Shapes: (groups, rows), (groups, columns), (groups, rows, columns) to (groups, heads, rows, columns)
        """


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
    """A layer just after its attention, and the blocks that are to be scored in it.

    Attributes:
        attention: yields attention probabilities between chosen tokens; None when no predictor of the layer asks.
        hidden: what entered the layer. Shape: (tokens, hidden)
        attn_output: what attention gave, heads joined, before the output projection.
            Shape: (tokens, heads * head_dim)
        tokens: flat indices of each block's tokens. Shape: (blocks, block_size)
        exists: False where a block is shorter. Shape: (blocks, block_size)
        samples: the sample of each block. Shape: (blocks,)
        question: flat indices of each sample's question tokens. Shape: (samples, question)
        question_exists: False where a question is shorter. Shape: (samples, question)
        block_numbers: of each block among the blocks of its sample before any was dropped; blocks come by sample, then
            by number. Shape: (blocks,)
        bags: the tokens of blocks and questions once more; made from the above when None.
        places: which samples of the batch these are, on the host, where only some of them run together; the samples are
            all of the batch when None. Shape: (samples,)
    """

    attention: Attention | None
    hidden: Tensor
    attn_output: Tensor
    tokens: Tensor
    exists: Tensor
    samples: Tensor
    question: Tensor
    question_exists: Tensor
    block_numbers: Tensor
    bags: TokenBags | None = None
    places: NDArray[np.int64] | None = None


def token_bags(view: LayerView) -> TokenBags:
    """The tokens of a view's blocks and questions as sets."""
    if view.bags is not None:
        return view.bags
    sizes = torch.cat([view.exists.sum(1), view.question_exists.sum(1)])
    tokens = torch.cat([view.tokens[view.exists], view.question[view.question_exists]])
    return TokenBags(tokens, sizes.cumsum(0) - sizes)


def attention_of(view: LayerView) -> Attention:
    """What yields the attention probabilities of a view.

    Raises:
        ValueError: the view has none.
    """
    if view.attention is None:
        raise ValueError("this input looks at attention probabilities, but the layer's view has none")
    return view.attention
