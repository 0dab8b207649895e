"""MPNet: BERT's layers with a bias by relative position, the same in every layer, on the attention scores."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel

from blockskim.encoders.adapter import EncoderAdapter, Projection, split_heads
from blockskim.encoders.post_norm import PostNormParts
from blockskim.predictor import LayerWidths


def embed(encoder: PreTrainedModel, input_ids: Tensor, token_type_ids: Tensor | None, positions: Tensor) -> Tensor:
    """Word and position embeddings; positions are numbered from behind the padding id, token types don't exist."""
    model: Any = encoder
    first = model.embeddings.padding_idx + 1
    hidden: Tensor = model.embeddings(input_ids=input_ids, position_ids=positions + first)
    return hidden


def layers(encoder: PreTrainedModel) -> Sequence[nn.Module]:
    """The encoder's layers."""
    model: Any = encoder
    return list(model.encoder.layer)


def project(layer: nn.Module, hidden: Tensor) -> Projection:
    """Query, key and value of every token."""
    part: Any = layer
    attention = part.attention.attn
    size = attention.attention_head_size
    return (
        split_heads(attention.q(hidden), size),
        split_heads(attention.k(hidden), size),
        split_heads(attention.v(hidden), size),
    )


def finish(layer: nn.Module, context: Tensor, hidden: Tensor) -> Tensor:
    """Output projection, residual and norm, then the feed-forward part with its own."""
    part: Any = layer
    attention = part.attention
    attended = attention.LayerNorm(attention.dropout(attention.attn.o(context)) + hidden)
    result: Tensor = part.output(part.intermediate(attended), attended)
    return result


def scale(layer: nn.Module) -> float:
    """One over the square root of a head's size."""
    part: Any = layer
    return float(part.attention.attn.attention_head_size**-0.5)


def widths(layer: nn.Module) -> LayerWidths:
    """Hidden size, heads and size of a head, read off the projections."""
    part: Any = layer
    attention = part.attention.attn
    size = attention.attention_head_size
    return LayerWidths(attention.q.in_features, attention.q.out_features // size, size)


def linears(layer: nn.Module) -> tuple[Sequence[nn.Linear], Sequence[nn.Linear]]:
    """Linear layers before and after attention."""
    part: Any = layer
    attention = part.attention.attn
    return [attention.q, attention.k, attention.v], [attention.o, part.intermediate.dense, part.output.dense]


def embedding_linears(_encoder: PreTrainedModel) -> Sequence[nn.Linear]:
    """The embedding has none."""
    return []


def attention_dropout(layer: nn.Module) -> float:
    """Dropout probability on attention probabilities."""
    part: Any = layer
    return float(part.attention.attn.dropout.p)


def position_bias(encoder: PreTrainedModel, rows: Tensor, columns: Tensor) -> Tensor:
    """The learned bias of each head for the bucket of each pair's distance."""
    model: Any = encoder
    table = model.encoder
    # transformers takes the default number of buckets whatever the config says; so do we, to give its logits.
    buckets = table.relative_position_bucket(columns[..., None, :] - rows[..., :, None])
    bias: Tensor = table.relative_attention_bias(buckets)
    return bias.movedim(-1, -3)


def set_attention_dropout(layer: nn.Module, probability: float) -> None:
    """Change the dropout probability on attention probabilities."""
    part: Any = layer
    part.attention.attn.dropout.p = probability


def parts(layer: nn.Module) -> PostNormParts:
    """The parts of a layer."""
    part: Any = layer
    attention = part.attention.attn
    return PostNormParts(
        attention.q,
        attention.k,
        attention.v,
        attention.o,
        part.attention.LayerNorm,
        part.intermediate.dense,
        part.intermediate.intermediate_act_fn,
        part.output.dense,
        part.output.LayerNorm,
    )


ADAPTER = EncoderAdapter(
    model_types=("mpnet",),
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
    position_bias=position_bias,
    parts=parts,
)
