"""DistilBERT: BERT's layers under other names, without token types."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel

from blockskim.encoders.post_norm import PostNormParts
from blockskim.encoders.post_norm_adapter import post_norm_adapter


def embed(encoder: PreTrainedModel, input_ids: Tensor, token_type_ids: Tensor | None, positions: Tensor) -> Tensor:
    """Word and position embeddings; token types don't exist."""
    model: Any = encoder
    hidden: Tensor = model.embeddings(input_ids=input_ids, position_ids=positions)
    return hidden


def layers(encoder: PreTrainedModel) -> Sequence[nn.Module]:
    """The encoder's layers."""
    model: Any = encoder
    return list(model.transformer.layer)


def finish(layer: nn.Module, context: Tensor, hidden: Tensor) -> Tensor:
    """Output projection, residual and norm, then the feed-forward part with its own."""
    part: Any = layer
    attended = part.sa_layer_norm(part.attention.out_lin(context) + hidden)
    result: Tensor = part.output_layer_norm(part.ffn.ff_chunk(attended) + attended)
    return result


def head_dim(layer: nn.Module) -> int:
    """Size of a head."""
    part: Any = layer
    return int(part.attention.attention_head_size)


def dropout(layer: nn.Module) -> nn.Dropout:
    """The dropout on attention probabilities."""
    part: Any = layer
    found: nn.Dropout = part.attention.dropout
    return found


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


ADAPTER = post_norm_adapter(
    model_types=("distilbert",),
    layers=layers,
    embed=embed,
    parts=parts,
    finish=finish,
    head_dim=head_dim,
    dropout=dropout,
)
