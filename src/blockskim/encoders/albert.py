"""ALBERT: BERT's layers, but several of them, or all, are the same module run again and again."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from blockskim.encoders.adapter import EncoderAdapter, Projection, split_heads
from blockskim.encoders.post_norm import PostNormParts
from blockskim.predictor import LayerWidths


def embed(encoder: PreTrainedModel, input_ids: Tensor, token_type_ids: Tensor | None, positions: Tensor) -> Tensor:
    """Word, position and token type embeddings, projected to the width of the layers."""
    model: Any = encoder
    if token_type_ids is None:
        token_type_ids = torch.zeros_like(input_ids)
    embedded = model.embeddings(input_ids=input_ids, token_type_ids=token_type_ids, position_ids=positions)
    hidden: Tensor = model.encoder.embedding_hidden_mapping_in(embedded)
    return hidden


def layers(encoder: PreTrainedModel) -> Sequence[nn.Module]:
    """The layers in the order in which they run; shared ones stand there as often as they run.

    ``num_hidden_layers`` counts groups that run, which are spread evenly over the ``num_hidden_groups`` there are, and
    a group is ``inner_group_num`` layers.
    """
    model: Any = encoder
    groups, runs = model.encoder.albert_layer_groups, model.config.num_hidden_layers
    # In floating point as transformers has it, whose groups these are.
    share = runs / len(groups)
    return [layer for run in range(runs) for layer in groups[int(run / share)].albert_layers]


def project(layer: nn.Module, hidden: Tensor) -> Projection:
    """Query, key and value of every token."""
    part: Any = layer
    attention = part.attention
    size = attention.attention_head_size
    return (
        split_heads(attention.query(hidden), size),
        split_heads(attention.key(hidden), size),
        split_heads(attention.value(hidden), size),
    )


def finish(layer: nn.Module, context: Tensor, hidden: Tensor) -> Tensor:
    """Output projection, residual and norm, then the feed-forward part with its own."""
    part: Any = layer
    attention = part.attention
    attended = attention.LayerNorm(hidden + attention.output_dropout(attention.dense(context)))
    result: Tensor = part.full_layer_layer_norm(part.ff_chunk(attended) + attended)
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
    return LayerWidths(attention.query.in_features, attention.query.out_features // size, size)


def linears(layer: nn.Module) -> tuple[Sequence[nn.Linear], Sequence[nn.Linear]]:
    """Linear layers before and after attention."""
    part: Any = layer
    attention = part.attention
    return [attention.query, attention.key, attention.value], [attention.dense, part.ffn, part.ffn_output]


def embedding_linears(encoder: PreTrainedModel) -> Sequence[nn.Linear]:
    """The projection from the embedding's width to that of the layers."""
    model: Any = encoder
    return [model.encoder.embedding_hidden_mapping_in]


def attention_dropout(layer: nn.Module) -> float:
    """Dropout probability on attention probabilities."""
    part: Any = layer
    return float(part.attention.attention_dropout.p)


def set_attention_dropout(layer: nn.Module, probability: float) -> None:
    """Change the dropout probability on attention probabilities, of all layers that share this module."""
    part: Any = layer
    part.attention.attention_dropout.p = probability


def parts(layer: nn.Module) -> PostNormParts:
    """The parts of a layer."""
    part: Any = layer
    attention = part.attention
    return PostNormParts(
        attention.query,
        attention.key,
        attention.value,
        attention.dense,
        attention.LayerNorm,
        part.ffn,
        part.activation,
        part.ffn_output,
        part.full_layer_layer_norm,
    )


ADAPTER = EncoderAdapter(
    model_types=("albert",),
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
