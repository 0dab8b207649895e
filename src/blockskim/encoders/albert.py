"""ALBERT: BERT's layers, but several of them, or all, are the same module run again and again."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from blockskim.encoders.post_norm import PostNormParts
from blockskim.encoders.post_norm_adapter import post_norm_adapter


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


def finish(layer: nn.Module, context: Tensor, hidden: Tensor) -> Tensor:
    """Output projection, residual and norm, then the feed-forward part with its own."""
    part: Any = layer
    attention = part.attention
    attended = attention.LayerNorm(hidden + attention.output_dropout(attention.dense(context)))
    result: Tensor = part.full_layer_layer_norm(part.ff_chunk(attended) + attended)
    return result


def embedding_linears(encoder: PreTrainedModel) -> Sequence[nn.Linear]:
    """The projection from the embedding's width to that of the layers."""
    model: Any = encoder
    return [model.encoder.embedding_hidden_mapping_in]


def head_dim(layer: nn.Module) -> int:
    """Size of a head."""
    part: Any = layer
    return int(part.attention.attention_head_size)


def dropout(layer: nn.Module) -> nn.Dropout:
    """The dropout on attention probabilities, of all layers that share this module."""
    part: Any = layer
    found: nn.Dropout = part.attention.attention_dropout
    return found


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


ADAPTER = post_norm_adapter(
    model_types=("albert",),
    layers=layers,
    embed=embed,
    parts=parts,
    finish=finish,
    head_dim=head_dim,
    dropout=dropout,
    embedding_linears=embedding_linears,
)
