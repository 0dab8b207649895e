"""DistilBERT: BERT's layers under other names, without token types."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel

from blockskim.encoders.adapter import EncoderAdapter, Projection, split_heads
from blockskim.encoders.post_norm import PostNormParts
from blockskim.predictor import LayerWidths


def embed(encoder: PreTrainedModel, input_ids: Tensor, token_type_ids: Tensor | None, positions: Tensor) -> Tensor:
    """Word and position embeddings; token types don't exist."""
    model: Any = encoder
    hidden: Tensor = model.embeddings(input_ids=input_ids, position_ids=positions)
    return hidden


def layers(encoder: PreTrainedModel) -> Sequence[nn.Module]:
    """The encoder's layers."""
    model: Any = encoder
    return list(model.transformer.layer)


def project(layer: nn.Module, hidden: Tensor) -> Projection:
    """Query, key and value of every token."""
    part: Any = layer
    attention = part.attention
    size = attention.attention_head_size
    return (
        split_heads(attention.q_lin(hidden), size),
        split_heads(attention.k_lin(hidden), size),
        split_heads(attention.v_lin(hidden), size),
    )


def finish(layer: nn.Module, context: Tensor, hidden: Tensor) -> Tensor:
    """Output projection, residual and norm, then the feed-forward part with its own."""
    part: Any = layer
    attended = part.sa_layer_norm(part.attention.out_lin(context) + hidden)
    result: Tensor = part.output_layer_norm(part.ffn.ff_chunk(attended) + attended)
    return result


def scale(layer: nn.Module) -> float:
    """One over the square root of a head's size."""
    part: Any = layer
    return float(part.attention.attention_head_size**-0.5)


def widths(layer: nn.Module) -> LayerWidths:
    """Hidden size, heads and size of a head, read off the projections."""
    part: Any = layer
    attention = part.attention
    size = attention.attention_head_size
    return LayerWidths(attention.q_lin.in_features, attention.q_lin.out_features // size, size)


def linears(layer: nn.Module) -> tuple[Sequence[nn.Linear], Sequence[nn.Linear]]:
    """Linear layers before and after attention."""
    part: Any = layer
    attention = part.attention
    return [attention.q_lin, attention.k_lin, attention.v_lin], [attention.out_lin, part.ffn.lin1, part.ffn.lin2]


def embedding_linears(_encoder: PreTrainedModel) -> Sequence[nn.Linear]:
    """The embedding has none."""
    return []


def attention_dropout(layer: nn.Module) -> float:
    """Dropout probability on attention probabilities."""
    part: Any = layer
    return float(part.attention.dropout.p)


def set_attention_dropout(layer: nn.Module, probability: float) -> None:
    """Change the dropout probability on attention probabilities."""
    part: Any = layer
    part.attention.dropout.p = probability


def parts(layer: nn.Module) -> PostNormParts:
    """The parts of a layer."""
    part: Any = layer
    attention = part.attention
    return PostNormParts(
        attention.q_lin,
        attention.k_lin,
        attention.v_lin,
        attention.out_lin,
        part.sa_layer_norm,
        part.ffn.lin1,
        part.ffn.activation,
        part.ffn.lin2,
        part.output_layer_norm,
    )


ADAPTER = EncoderAdapter(
    model_types=("distilbert",),
    layers=layers,
    embed=embed,
    project=project,
    finish=finish,
    scale=scale,
    widths=widths,
    linears=linears,
    embedding_linears=embedding_linears,
    attention_dropout=attention_dropout,
    set_attention_dropout=set_attention_dropout,
    parts=parts,
)
