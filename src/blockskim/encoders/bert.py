"""BERT and the families that share its layers: RoBERTa, XLM-RoBERTa, CamemBERT and ELECTRA."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from blockskim.encoders.adapter import EncoderAdapter, Projection, split_heads
from blockskim.encoders.post_norm import PostNormParts
from blockskim.predictor import LayerWidths


def embed(encoder: PreTrainedModel, input_ids: Tensor, token_type_ids: Tensor | None, positions: Tensor) -> Tensor:
    """Word, position and token type embeddings; ELECTRA's projection where there is one."""
    model: Any = encoder
    if token_type_ids is None:
        token_type_ids = torch.zeros_like(input_ids)
    # RoBERTa-like models number positions from behind the padding id.
    offset = getattr(model.embeddings, "padding_idx", None)
    first = 0 if offset is None else offset + 1
    hidden: Tensor = model.embeddings(
        input_ids=input_ids, token_type_ids=token_type_ids, position_ids=positions + first
    )
    projection = getattr(model, "embeddings_project", None)
    return hidden if projection is None else projection(hidden)


def layers(encoder: PreTrainedModel) -> Sequence[nn.Module]:
    """The encoder's layers."""
    model: Any = encoder
    return list(model.encoder.layer)


def project(layer: nn.Module, hidden: Tensor) -> Projection:
    """Query, key and value of every token."""
    part: Any = layer
    attention = part.attention.self
    size = attention.attention_head_size
    return (
        split_heads(attention.query(hidden), size),
        split_heads(attention.key(hidden), size),
        split_heads(attention.value(hidden), size),
    )


def finish(layer: nn.Module, context: Tensor, hidden: Tensor) -> Tensor:
    """Output projection, residual and norm, then the feed-forward part with its own."""
    part: Any = layer
    attended = part.attention.output(context, hidden)
    result: Tensor = part.output(part.intermediate(attended), attended)
    return result


def scale(layer: nn.Module) -> float:
    """One over the square root of a head's size."""
    part: Any = layer
    return float(part.attention.self.attention_head_size**-0.5)


def widths(layer: nn.Module) -> LayerWidths:
    """Hidden size, heads and size of a head, read off the projections."""
    part: Any = layer
    attention = part.attention.self
    size = attention.attention_head_size
    return LayerWidths(attention.query.in_features, attention.query.out_features // size, size)


def linears(layer: nn.Module) -> tuple[Sequence[nn.Linear], Sequence[nn.Linear]]:
    """Linear layers before and after attention."""
    part: Any = layer
    attention = part.attention.self
    before = [attention.query, attention.key, attention.value]
    return before, [part.attention.output.dense, part.intermediate.dense, part.output.dense]


def embedding_linears(encoder: PreTrainedModel) -> Sequence[nn.Linear]:
    """ELECTRA's projection of embeddings, if the model has it."""
    projection = getattr(encoder, "embeddings_project", None)
    return [] if projection is None else [projection]


def attention_dropout(layer: nn.Module) -> float:
    """Dropout probability on attention probabilities."""
    part: Any = layer
    return float(part.attention.self.dropout.p)


def set_attention_dropout(layer: nn.Module, probability: float) -> None:
    """Change the dropout probability on attention probabilities."""
    part: Any = layer
    part.attention.self.dropout.p = probability


def parts(layer: nn.Module) -> PostNormParts:
    """The parts of a layer."""
    part: Any = layer
    attention, projected = part.attention.self, part.attention.output
    return PostNormParts(
        attention.query,
        attention.key,
        attention.value,
        projected.dense,
        projected.LayerNorm,
        part.intermediate.dense,
        part.intermediate.intermediate_act_fn,
        part.output.dense,
        part.output.LayerNorm,
    )


ADAPTER = EncoderAdapter(
    model_types=("bert", "roberta", "xlm-roberta", "camembert", "electra"),
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
