"""Adapters of families whose layers are BERT's under other names: all follows from where their parts lie."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import partial
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel

from blockskim.encoders.adapter import EncoderAdapter, PostNormParts, Projection, RelativeAttention, split_heads
from blockskim.encoders.position_table import first_position
from blockskim.errors import ModelError
from blockskim.kernels.dims import LayerDims

COUNT_FROM_PADDING = ("roberta", "xlm-roberta", "camembert")
"""Families whose positions begin behind the number of the padding token."""

_PARTS = tuple(part.name for part in fields(PostNormParts))


@dataclass(frozen=True, slots=True)
class PostNormPaths:
    """Where the parts of a layer lie: paths of attributes from the layer, as ``"attention.self.query"``.

    The first nine are those of ``PostNormParts``, of which training also needs the dropouts.

    Attributes:
        query: linear layer that makes queries.
        key: linear layer that makes keys.
        value: linear layer that makes values.
        output: projection of the attention output.
        attention_norm: norm after the first residual.
        up: first linear layer of the feed-forward part.
        activation: what follows it.
        down: second linear layer.
        output_norm: norm after the second residual.
        head_dim: size of a head.
        attention_dropout: dropout on attention probabilities.
        output_dropout: dropout on what ``output`` gives; None for none.
        down_dropout: dropout on what ``down`` gives; None for none.
    """

    query: str
    key: str
    value: str
    output: str
    attention_norm: str
    up: str
    activation: str
    down: str
    output_norm: str
    head_dim: str
    attention_dropout: str
    output_dropout: str | None = None
    down_dropout: str | None = None


def post_norm_adapter(
    model_types: tuple[str, ...],
    paths: PostNormPaths,
    layers: str | Callable[[PreTrainedModel], Sequence[nn.Module]] = "encoder.layer",
    token_types: bool = True,
    embedding_projection: str | None = None,
    embedding_linear: str | None = None,
    terms: Callable[[nn.Module], int] | None = None,
    position_bias: Callable[[PreTrainedModel, Tensor, Tensor], Tensor] | None = None,
    relative: RelativeAttention | None = None,
    check: Callable[[PreTrainedConfig], None] | None = None,
) -> EncoderAdapter:
    """The adapter of a family with such layers.

    Args:
        model_types: the ``model_type`` values of the configs it serves.
        paths: where the parts of a layer lie.
        layers: path of the list of layers in the encoder, or (encoder) -> the layers in the order in which they run.
        token_types: whether embeddings take token types.
        embedding_projection: path in the encoder of a linear layer that follows its embeddings; models may lack it.
        embedding_linear: path in the encoder of a linear layer within its embeddings; models may have None there.
        terms: (layer) -> how many terms its scores are the sum of; None for one, queries times keys.
        position_bias: (encoder, row positions, column positions) -> what is added to the scores of every layer.
            Shapes: (..., rows), (..., columns) to (..., heads, rows, columns).
        relative: terms of the scores between content and relative position.
        check: raises ModelError for a config that calls for what the adapter doesn't know.
    """
    # Not closures: a model carries its adapter, and models can be pickled.
    return EncoderAdapter(
        model_types=model_types,
        layers=partial(_layers, layers) if isinstance(layers, str) else layers,
        embed=partial(_embed, token_types, embedding_projection),
        project=partial(_project, paths),
        finish=partial(_finish, paths),
        scale=partial(_scale, paths, terms),
        dims=partial(_dims, paths),
        linears=partial(_linears, paths),
        embedding_linears=partial(_embedding_linears, (embedding_projection, embedding_linear)),
        attention_dropout=partial(_attention_dropout, paths),
        set_attention_dropout=partial(_set_attention_dropout, paths),
        position_bias=position_bias,
        relative=relative,
        parts=partial(_parts, paths),
        check=check,
    )


def check_positions(config: PreTrainedConfig) -> None:
    """Refuse what would give other answers in silence.

    That is attention to the left alone, embeddings of relative positions, which transformers itself passes over, and
    positions of a RoBERTa-like model without the padding token that they are counted from.

    Raises:
        ModelError: the config calls for one of them.
    """
    settings: Any = config
    for name in ("is_decoder", "add_cross_attention"):
        if getattr(settings, name, False):
            raise ModelError(f"{name} is true: decoders, which see their input to the left alone, are not supported")
    positions = getattr(settings, "position_embedding_type", None)
    if positions not in (None, "absolute"):
        raise ModelError(f"position_embedding_type is {positions!r:.80}: only 'absolute' is supported")
    if settings.model_type in COUNT_FROM_PADDING and settings.pad_token_id is None:
        raise ModelError("pad_token_id is null, but the model counts positions from its padding token")


def _at(module: nn.Module, path: str) -> Any:
    return attrgetter(path)(module)


def _layers(path: str, encoder: PreTrainedModel) -> Sequence[nn.Module]:
    return list(_at(encoder, path))


def _embed(
    token_types: bool,
    projection: str | None,
    encoder: PreTrainedModel,
    input_ids: Tensor | None,
    token_type_ids: Tensor | None,
    positions: Tensor,
    inputs_embeds: Tensor | None = None,
) -> Tensor:
    """Word and position embeddings, those of token types where the family has them, and what projects them."""
    embeddings = _at(encoder, "embeddings")
    types = {}
    if token_types:
        types["token_type_ids"] = torch.zeros_like(positions) if token_type_ids is None else token_type_ids
    if inputs_embeds is not None:
        types["inputs_embeds"] = inputs_embeds
    hidden = embeddings(input_ids=input_ids, position_ids=positions + first_position(encoder), **types)
    for linear in _embedding_linears((projection,), encoder):
        hidden = linear(hidden)
    return hidden


def _embedding_linears(paths: Sequence[str | None], encoder: PreTrainedModel) -> Sequence[nn.Linear]:
    """Of the linear layers at these paths, those that the model has."""
    found = []
    for path in paths:
        owner, _, name = (path or "").rpartition(".")
        linear = getattr(_at(encoder, owner) if owner else encoder, name, None)
        found += [] if linear is None else [linear]
    return found


def _parts(paths: PostNormPaths, layer: nn.Module) -> PostNormParts:
    return PostNormParts(*(_at(layer, getattr(paths, name)) for name in _PARTS))


def _project(paths: PostNormPaths, layer: nn.Module, hidden: Tensor) -> Projection:
    size = _at(layer, paths.head_dim)
    query, key, value = (split_heads(_at(layer, path)(hidden), size) for path in (paths.query, paths.key, paths.value))
    return query, key, value


def _finish(paths: PostNormPaths, layer: nn.Module, attn_output: Tensor, hidden: Tensor) -> Tensor:
    """Output projection, residual and norm, then the feed-forward part with its own; with the dropout of training."""
    parts = _parts(paths, layer)
    projected = _dropped(paths.output_dropout, layer, parts.output(attn_output))
    attended = parts.attention_norm(projected + hidden)
    widened = parts.activation(parts.up(attended))
    return parts.output_norm(_dropped(paths.down_dropout, layer, parts.down(widened)) + attended)


def _dropped(path: str | None, layer: nn.Module, states: Tensor) -> Tensor:
    return states if path is None else _at(layer, path)(states)


def _scale(paths: PostNormPaths, terms: Callable[[nn.Module], int] | None, layer: nn.Module) -> float:
    return float((_at(layer, paths.head_dim) * (1 if terms is None else terms(layer))) ** -0.5)


def _dims(paths: PostNormPaths, layer: nn.Module) -> LayerDims:
    projection, size = _at(layer, paths.query), _at(layer, paths.head_dim)
    return LayerDims(projection.in_features, projection.out_features // size, size)


def _linears(paths: PostNormPaths, layer: nn.Module) -> tuple[Sequence[nn.Linear], Sequence[nn.Linear]]:
    linears = _parts(paths, layer).linears
    return linears[:3], linears[3:]


def _attention_dropout(paths: PostNormPaths, layer: nn.Module) -> float:
    return float(_at(layer, paths.attention_dropout).p)


def _set_attention_dropout(paths: PostNormPaths, layer: nn.Module, probability: float) -> None:
    _at(layer, paths.attention_dropout).p = probability
