"""BERT and the families that share its layers: RoBERTa, XLM-RoBERTa, CamemBERT and ELECTRA."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from blockskim.encoders.post_norm import PostNormParts
from blockskim.encoders.post_norm_adapter import post_norm_adapter


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


def finish(layer: nn.Module, context: Tensor, hidden: Tensor) -> Tensor:
    """Output projection, residual and norm, then the feed-forward part with its own."""
    part: Any = layer
    attended = part.attention.output(context, hidden)
    result: Tensor = part.output(part.intermediate(attended), attended)
    return result


def embedding_linears(encoder: PreTrainedModel) -> Sequence[nn.Linear]:
    """ELECTRA's projection of embeddings, if the model has it."""
    projection = getattr(encoder, "embeddings_project", None)
    return [] if projection is None else [projection]


def head_dim(layer: nn.Module) -> int:
    """Size of a head."""
    part: Any = layer
    return int(part.attention.self.attention_head_size)


def dropout(layer: nn.Module) -> nn.Dropout:
    """The dropout on attention probabilities."""
    part: Any = layer
    found: nn.Dropout = part.attention.self.dropout
    return found


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


ADAPTER = post_norm_adapter(
    model_types=("bert", "roberta", "xlm-roberta", "camembert", "electra"),
    layers=layers,
    embed=embed,
    parts=parts,
    finish=finish,
    head_dim=head_dim,
    dropout=dropout,
    embedding_linears=embedding_linears,
)
