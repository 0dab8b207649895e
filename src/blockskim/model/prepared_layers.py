"""Encoder layers made ready for inference: packed weights, one projection for query, key and value, work in chunks.

What follows attention works token by token, so it is done for about a thousand tokens at a time: the widest result on
the way then stays in the cache of the processor, and in memory that the C library keeps at hand instead of asking the
system for fresh pages.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blockskim.encoders import EncoderAdapter
from blockskim.encoders.adapter import PostNormParts
from blockskim.kernels.packed_linear import (
    activation_of,
    apply_linear,
    apply_linear_and_add,
    fused_where_fast,
    pack_linear,
)
from blockskim.model.plain_modules import has_hooks, is_plain

CHUNK = 1024
"""Tokens that go through the feed-forward part at a time on a CPU."""

Project = Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]
Finish = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class PreparedLayer:
    """A layer for inference on packed tokens.

    Attributes:
        project: hidden states to query, key and value. Shapes: (tokens, hidden) to (tokens, heads, head_dim) each
        finish: (attention output, hidden states that entered) to hidden states leaving the layer.
            Shapes: (tokens, heads * head_dim), (tokens, hidden) to (tokens, hidden)
        scale: factor that is still to be put on the products of query and key.
        num_bytes: size of the weights that were copied for it.
    """

    project: Project
    finish: Finish
    scale: float
    num_bytes: int = 0


def prepare_layers(adapter: EncoderAdapter, layers: Sequence[nn.Module]) -> tuple[PreparedLayer, ...]:
    """Make the layers of an encoder ready; a module that runs as several layers is made ready once.

    Args:
        adapter: of the encoder's family.
        layers: in the order in which they run.
    """
    made = {layer: _prepare_layer(adapter, layer) for layer in dict.fromkeys(layers)}
    return tuple(made[layer] for layer in layers)


def _prepare_layer(adapter: EncoderAdapter, layer: nn.Module) -> PreparedLayer:
    parts = _plain_parts(adapter, layer)
    return _unpacked_layer(adapter, layer) if parts is None else _packed_layer(parts, adapter, layer)


def _plain_parts(adapter: EncoderAdapter, layer: nn.Module) -> PostNormParts | None:
    """A layer's parts, if they are nothing but what their names say: adapters and quantised weights are modules too."""
    if adapter.parts is None:
        return None
    parts = adapter.parts(layer)
    norms = (parts.attention_norm, parts.output_norm)
    plain = all(is_plain(linear, (nn.Linear,)) for linear in parts.linears)
    plain &= all(is_plain(norm, (nn.LayerNorm,)) for norm in norms)
    # By hooks on whole layers transformers captures outputs: safe to ignore.
    plain &= not any(map(has_hooks, (*parts.linears, *norms)))
    biased = {linear.bias is not None for linear in (parts.query, parts.key, parts.value)}
    return parts if plain and len(biased) == 1 else None


def _unpacked_layer(adapter: EncoderAdapter, layer: nn.Module) -> PreparedLayer:
    """A layer of which no parts are known, run by its own modules."""
    return PreparedLayer(
        lambda hidden: adapter.project(layer, hidden),
        lambda attn_output, hidden: adapter.finish(layer, attn_output, hidden),
        adapter.scale(layer),
    )


def _packed_layer(parts: PostNormParts, adapter: EncoderAdapter, layer: nn.Module) -> PreparedLayer:
    dims = adapter.dims(layer)
    # The scale costs nothing inside of the query's weights.
    projection = pack_linear([parts.query, parts.key, parts.value], [adapter.scale(layer), 1.0, 1.0])
    output, up, down = (pack_linear([linear]) for linear in (parts.output, parts.up, parts.down))
    activation = fused_where_fast(activation_of(parts.activation))

    def project(hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        joined = apply_linear(projection, hidden).view(len(hidden), 3, dims.heads, dims.head_dim)
        query, key, value = joined.unbind(1)
        return query, key, value

    def finish_chunk(attn_output: Tensor, hidden: Tensor) -> Tensor:
        attended = _norm(parts.attention_norm, apply_linear_and_add(output, attn_output, hidden))
        widened = apply_linear(up, attended, activation)
        return _norm(parts.output_norm, apply_linear_and_add(down, widened, attended))

    def finish(attn_output: Tensor, hidden: Tensor) -> Tensor:
        if len(hidden) <= CHUNK or hidden.device.type != "cpu":
            return finish_chunk(attn_output, hidden)
        result = torch.empty_like(hidden)
        for first in range(0, len(hidden), CHUNK):
            chunk = slice(first, first + CHUNK)
            result[chunk] = finish_chunk(attn_output[chunk], hidden[chunk])
        return result

    copied = sum(linear.num_bytes for linear in (projection, output, up, down) if linear.copied)
    return PreparedLayer(project, finish, 1.0, copied)


def _norm(norm: nn.LayerNorm, states: Tensor) -> Tensor:
    return F.layer_norm(states, norm.normalized_shape, norm.weight, norm.bias, norm.eps)
