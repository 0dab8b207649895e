"""MPNet: BERT's layers with a bias by relative position, the same in every layer, on the attention scores."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel

from blockskim.encoders.post_norm import PostNormParts
from blockskim.encoders.post_norm_adapter import post_norm_adapter


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


def finish(layer: nn.Module, context: Tensor, hidden: Tensor) -> Tensor:
    """Output projection, residual and norm, then the feed-forward part with its own."""
    part: Any = layer
    attention = part.attention
    attended = attention.LayerNorm(attention.dropout(attention.attn.o(context)) + hidden)
    result: Tensor = part.output(part.intermediate(attended), attended)
    return result


def position_bias(encoder: PreTrainedModel, rows: Tensor, columns: Tensor) -> Tensor:
    """The learned bias of each head for the bucket of each pair's distance."""
    model: Any = encoder
    table = model.encoder
    # transformers takes the default number of buckets whatever the config says; so do we, to give its logits.
    buckets = table.relative_position_bucket(columns[..., None, :] - rows[..., :, None])
    bias: Tensor = table.relative_attention_bias(buckets)
    return bias.movedim(-1, -3)


def head_dim(layer: nn.Module) -> int:
    """Size of a head."""
    part: Any = layer
    return int(part.attention.attn.attention_head_size)


def dropout(layer: nn.Module) -> nn.Dropout:
    """The dropout on attention probabilities."""
    part: Any = layer
    found: nn.Dropout = part.attention.attn.dropout
    return found


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


ADAPTER = post_norm_adapter(
    model_types=("mpnet",),
    layers=layers,
    embed=embed,
    parts=parts,
    finish=finish,
    head_dim=head_dim,
    dropout=dropout,
    position_bias=position_bias,
)
