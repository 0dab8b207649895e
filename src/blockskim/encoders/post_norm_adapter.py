"""Adapters of families whose layers are BERT's under other names: what follows from a layer's parts."""

from collections.abc import Callable, Sequence
from functools import partial

from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel

from blockskim.encoders.adapter import EncoderAdapter, Projection, RelativeAttention, split_heads
from blockskim.encoders.post_norm import PostNormParts
from blockskim.kernels.dims import LayerDims


def no_embedding_linears(_encoder: PreTrainedModel) -> Sequence[nn.Linear]:
    """For a family whose embedding has no linear layers."""
    return []


def post_norm_adapter(
    model_types: tuple[str, ...],
    layers: Callable[[PreTrainedModel], Sequence[nn.Module]],
    embed: Callable[[PreTrainedModel, Tensor, Tensor | None, Tensor], Tensor],
    parts: Callable[[nn.Module], PostNormParts],
    finish: Callable[[nn.Module, Tensor, Tensor], Tensor],
    head_dim: Callable[[nn.Module], int],
    dropout: Callable[[nn.Module], nn.Dropout],
    embedding_linears: Callable[[PreTrainedModel], Sequence[nn.Linear]] = no_embedding_linears,
    terms: Callable[[nn.Module], int] | None = None,
    position_bias: Callable[[PreTrainedModel, Tensor, Tensor], Tensor] | None = None,
    relative: RelativeAttention | None = None,
    check: Callable[[PreTrainedConfig], None] | None = None,
) -> EncoderAdapter:
    """The adapter of a family with such layers: what follows from their parts is the same in all of them.

    Args:
        model_types: as in ``EncoderAdapter``, like all that are not named here.
        layers: see there.
        embed: see there.
        parts: (layer) -> its parts.
        finish: see there; with the dropout of training, which parts don't have.
        head_dim: (layer) -> size of a head.
        dropout: (layer) -> the dropout on its attention probabilities.
        embedding_linears: see there.
        terms: (layer) -> how many terms its scores are the sum of; None for one, queries times keys.
        position_bias: see there.
        relative: see there.
        check: see there.
    """
    # Not closures: a model carries its adapter, and models can be pickled.
    return EncoderAdapter(
        model_types=model_types,
        layers=layers,
        embed=embed,
        project=partial(_project, parts, head_dim),
        finish=finish,
        scale=partial(_scale, head_dim, terms),
        dims=partial(_dims, parts, head_dim),
        linears=partial(_linears, parts),
        embedding_linears=embedding_linears,
        attention_dropout=partial(_attention_dropout, dropout),
        set_attention_dropout=partial(_set_attention_dropout, dropout),
        position_bias=position_bias,
        relative=relative,
        parts=parts,
        check=check,
    )


def _project(
    parts: Callable[[nn.Module], PostNormParts], head_dim: Callable[[nn.Module], int], layer: nn.Module, hidden: Tensor
) -> Projection:
    known, size = parts(layer), head_dim(layer)
    query, key, value = (split_heads(linear(hidden), size) for linear in (known.query, known.key, known.value))
    return query, key, value


def _scale(head_dim: Callable[[nn.Module], int], terms: Callable[[nn.Module], int] | None, layer: nn.Module) -> float:
    return float((head_dim(layer) * (1 if terms is None else terms(layer))) ** -0.5)


def _dims(
    parts: Callable[[nn.Module], PostNormParts], head_dim: Callable[[nn.Module], int], layer: nn.Module
) -> LayerDims:
    projection, size = parts(layer).query, head_dim(layer)
    return LayerDims(projection.in_features, projection.out_features // size, size)


def _linears(
    parts: Callable[[nn.Module], PostNormParts], layer: nn.Module
) -> tuple[Sequence[nn.Linear], Sequence[nn.Linear]]:
    known = parts(layer).linears
    return known[:3], known[3:]


def _attention_dropout(dropout: Callable[[nn.Module], nn.Dropout], layer: nn.Module) -> float:
    return float(dropout(layer).p)


def _set_attention_dropout(dropout: Callable[[nn.Module], nn.Dropout], layer: nn.Module, probability: float) -> None:
    dropout(layer).p = probability
