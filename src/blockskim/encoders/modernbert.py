"""ModernBERT: norms before the parts, gated feed-forward, rotary positions, and layers that see a window.

Every few layers attention is global; in between a token sees its neighbours only.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel

from blockskim.encoders.adapter import EncoderAdapter, Projection, QaHead
from blockskim.errors import ModelError
from blockskim.kernels.dims import LayerDims


def check(config: PreTrainedConfig) -> None:
    """Refuse rotary embeddings that are scaled for longer input."""
    settings: Any = config
    for kind, parameters in settings.rope_parameters.items():
        # transformers 5.3 has settings of no kind in particular beside those of each kind.
        each = parameters if isinstance(parameters, Mapping) else {kind: parameters}
        name = each.get("rope_type", "default")
        if name != "default":
            raise ModelError(
                f"rope_type of {kind} layers is {name!r}; of ModernBERT models only 'default' is supported"
            )


def embed(
    encoder: PreTrainedModel,
    input_ids: Tensor | None,
    token_type_ids: Tensor | None,
    positions: Tensor,
    inputs_embeds: Tensor | None = None,
) -> Tensor:
    """Word embeddings, normed; positions come into attention, and token types don't exist."""
    model: Any = encoder
    hidden: Tensor = model.embeddings(input_ids=input_ids, inputs_embeds=inputs_embeds)
    return hidden


def layers(encoder: PreTrainedModel) -> Sequence[nn.Module]:
    """The encoder's layers."""
    model: Any = encoder
    return list(model.layers)


def project(layer: nn.Module, hidden: Tensor) -> Projection:
    """Query, key and value of every token, from one projection of the normed states; not rotated yet."""
    part: Any = layer
    shape = dims(layer)
    joined: Tensor = part.attn.Wqkv(part.attn_norm(hidden))
    query, key, value = joined.unflatten(-1, (3, shape.heads, shape.head_dim)).unbind(-3)
    return query, key, value


def finish(layer: nn.Module, attn_output: Tensor, hidden: Tensor) -> Tensor:
    """Output projection and residual, then the normed feed-forward part with its own."""
    part: Any = layer
    attended = hidden + part.attn.out_drop(part.attn.Wo(attn_output))
    result: Tensor = attended + part.mlp(part.mlp_norm(attended))
    return result


def final_norm(encoder: PreTrainedModel, hidden: Tensor) -> Tensor:
    """The norm after the last layer."""
    model: Any = encoder
    result: Tensor = model.final_norm(hidden)
    return result


def build_transform(config: PreTrainedConfig) -> nn.Module:
    """The module between encoder and linear layer of the QA head: linear, activation and norm."""
    # Here and not above: transformers' models can't be imported while its Auto classes import this package.
    from transformers.models.modernbert.modeling_modernbert import ModernBertPredictionHead

    settings: Any = config
    transform: nn.Module = ModernBertPredictionHead(settings)
    return transform


def scale(layer: nn.Module) -> float:
    """One over the square root of a head's size."""
    part: Any = layer
    return float(part.attn.head_dim**-0.5)


def dims(layer: nn.Module) -> LayerDims:
    """Hidden size, heads and size of a head, read off the projections."""
    part: Any = layer
    projection, size = part.attn.Wqkv, part.attn.head_dim
    return LayerDims(projection.in_features, projection.out_features // (3 * size), size)


def linears(layer: nn.Module) -> tuple[Sequence[nn.Linear], Sequence[nn.Linear]]:
    """Linear layers before and after attention."""
    part: Any = layer
    return [part.attn.Wqkv], [part.attn.Wo, part.mlp.Wi, part.mlp.Wo]


def embedding_linears(_encoder: PreTrainedModel) -> Sequence[nn.Linear]:
    """The embedding has none."""
    return []


def attention_dropout(layer: nn.Module) -> float:
    """Dropout probability on attention probabilities."""
    part: Any = layer
    return float(part.attn.attention_dropout)


def set_attention_dropout(layer: nn.Module, probability: float) -> None:
    """Change the dropout probability on attention probabilities."""
    part: Any = layer
    part.attn.attention_dropout = probability


def rotary_base(layer: nn.Module) -> float:
    """The base of rotary embeddings, which differs between global and local layers."""
    part: Any = layer
    return float(part.config.rope_parameters[part.attention_type]["rope_theta"])


def sliding_window(layer: nn.Module) -> int | None:
    """How many positions a token of a local layer sees to either side; None for a global layer."""
    part: Any = layer
    return None if part.attention_type == "full_attention" else int(part.config.sliding_window)


ADAPTER = EncoderAdapter(
    model_types=("modernbert",),
    layers=layers,
    embed=embed,
    project=project,
    finish=finish,
    scale=scale,
    dims=dims,
    linears=linears,
    embedding_linears=embedding_linears,
    attention_dropout=attention_dropout,
    set_attention_dropout=set_attention_dropout,
    rotary_base=rotary_base,
    sliding_window=sliding_window,
    final_norm=final_norm,
    qa_head=QaHead(outputs="classifier", transform="head", build=build_transform),
    check=check,
)
