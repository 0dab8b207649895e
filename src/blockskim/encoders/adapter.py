"""What a family of encoders has to tell: how it embeds, attends and feeds forward, one layer at a time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor, nn
from transformers import PreTrainedModel

from blockskim.encoders.post_norm import PostNormParts
from blockskim.predictor import LayerWidths

Projection = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True, slots=True)
class EncoderAdapter:
    """Functions that run a transformers encoder piece by piece; nothing of skimming is in them.

    Every function takes tokens in any leading shape (a padded batch or packed tokens), for all but attention works
    token by token.

    Attributes:
        model_types: the ``model_type`` values of the configs it serves.
        layers: the layers of an encoder in the order in which they run. A module that runs several times stands there
            several times.
        embed: (encoder, input_ids, token_type_ids or None, positions) -> hidden states entering the first layer.
            ``positions`` count the real tokens of a sequence from 0. Shapes: (batch, tokens), result
            (batch, tokens, hidden).
        project: (layer, hidden) -> query, key, value. Shapes: (..., hidden) to (..., heads, head_dim) each.
        finish: (layer, context, hidden) -> hidden states leaving the layer: output projection, residual, norms and
            feed-forward part. Shapes: (..., heads * head_dim), (..., hidden) to (..., hidden).
        scale: (layer) -> factor on the products of queries and keys.
        widths: (layer) -> its widths.
        linears: (layer) -> the linear layers before attention, and those after it, for counting arithmetic.
        embedding_linears: (encoder) -> linear layers in the embedding.
        attention_dropout: (layer) -> dropout probability of attention probabilities.
        set_attention_dropout: (layer, probability) changes it.
        position_bias: (encoder, row positions, column positions) -> what is added to the scores of every layer, or
            None for a family without. Shapes: (..., rows), (..., columns) to (..., heads, rows, columns).
        parts: (layer) -> its parts, so that inference can run them faster than ``project`` and ``finish`` do; None for
            a family with another kind of layer.
    """

    model_types: tuple[str, ...]
    layers: Callable[[PreTrainedModel], Sequence[nn.Module]]
    embed: Callable[[PreTrainedModel, Tensor, Tensor | None, Tensor], Tensor]
    project: Callable[[nn.Module, Tensor], Projection]
    finish: Callable[[nn.Module, Tensor, Tensor], Tensor]
    scale: Callable[[nn.Module], float]
    widths: Callable[[nn.Module], LayerWidths]
    linears: Callable[[nn.Module], tuple[Sequence[nn.Linear], Sequence[nn.Linear]]]
    embedding_linears: Callable[[PreTrainedModel], Sequence[nn.Linear]]
    attention_dropout: Callable[[nn.Module], float]
    set_attention_dropout: Callable[[nn.Module, float], None]
    position_bias: Callable[[PreTrainedModel, Tensor, Tensor], Tensor] | None = None
    parts: Callable[[nn.Module], PostNormParts] | None = None


def split_heads(states: Tensor, head_dim: int) -> Tensor:
    """View (..., heads * head_dim) as (..., heads, head_dim)."""
    return states.view(*states.shape[:-1], -1, head_dim)
