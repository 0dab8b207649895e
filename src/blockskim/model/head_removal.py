"""Taking attention heads out of a model: out of its layers, and out of what its predictors look at.

A layer without a head computes what it did with that head's output multiplied by zero: exactly, since the output
projection adds up heads. A predictor without a head's channels is what it was with zeros in their place where nothing
but a linear layer reads them (``question``). Where a layer norm goes over all channels (``hidden``, ``attended``,
``match``) its statistics change, and of the network over ``tiles`` whole channels between its layers go, too; these
predictors are near what they were and want some more training.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from blockskim.encoders import EncoderAdapter
from blockskim.errors import ModelError
from blockskim.kernels.dims import LayerDims, head_channels
from blockskim.method.config import SkimConfig
from blockskim.method.predictors.predictor import KINDS, SkimPredictor
from blockskim.model.pruned_heads import PrunedHeads, add_pruned_heads, heads_left


def shares_weights(layers: Sequence[nn.Module]) -> bool:
    """Whether any weight belongs to several layers, as in ALBERT."""
    owners = [{id(weight) for weight in layer.parameters()} for layer in layers]
    return sum(map(len, owners)) > len(set().union(*owners))


def check_prunable(adapter: EncoderAdapter, layers: Sequence[nn.Module]) -> None:
    """Raise ModelError when the heads of these layers can't be taken out one by one."""
    if shares_weights(layers):
        raise ModelError("the layers of this encoder share their weights, so no layer can lose a head of its own")
    if adapter.relative is not None:
        raise ModelError(
            f"heads of encoders of type {'/'.join(adapter.model_types)} can't be pruned: their scores also compare "
            "content with relative positions, whose projections have heads of their own"
        )
    for layer in layers:
        before, after = adapter.linears(layer)
        dims = adapter.dims(layer)
        size = dims.heads * dims.head_dim
        plain = all(type(linear) is nn.Linear for linear in (*before, *after[:1]))
        if len(before) != 3 or {linear.out_features for linear in before} != {size} or after[0].in_features != size:
            plain = False
        if not plain:
            raise ModelError(
                f"heads of encoders of type {'/'.join(adapter.model_types)} can't be pruned: query, key, value and "
                "output projection must be plain linear layers of their own"
            )


def remove_heads(
    adapter: EncoderAdapter,
    layers: Sequence[nn.Module],
    gone: PrunedHeads,
    more: PrunedHeads,
    heads: int,
    predictors: nn.ModuleDict | None = None,
    config: SkimConfig | None = None,
) -> PrunedHeads:
    """Take attention heads out of layers and of what their predictors look at, in place.

    Args:
        adapter: of the encoder's family.
        layers: of the encoder.
        gone: heads that are gone already; all numbers are those of the whole model, counted from 1.
        more: heads to remove.
        heads: how many heads each layer had when all were there.
        predictors: by layer number; None where there are none yet.
        config: what the predictors were built for; needed with predictors.

    Returns:
        All heads that are gone now.

    Raises:
        ConfigError: there is no such layer or head, it is gone already, or a layer would lose its last head.
        ModelError: the family's layers can't lose heads.
    """
    if not more:
        return gone
    merged = add_pruned_heads(gone, more, len(layers), heads)
    check_prunable(adapter, layers)
    dims = [adapter.dims(layer) for layer in layers]
    for number, numbers in more.items():
        left = heads_left(gone, number, heads)
        keep = [place for place, head in enumerate(left) if head not in numbers]
        prune_layer(adapter, layers[number - 1], keep)
        if predictors is not None and config is not None and str(number) in predictors:
            predictor: Any = predictors[str(number)]
            predictors[str(number)] = prune_predictor(predictor, config, dims[number - 1], keep)
    return merged


def prune_layer(adapter: EncoderAdapter, layer: nn.Module, keep: Sequence[int]) -> None:
    """Leave a layer only the heads ``keep``, counted from 0 among those that it has."""
    before, after = adapter.linears(layer)
    channels = head_channels(keep, adapter.dims(layer).head_dim)
    for linear in before:
        _narrow(linear, channels, 0)
    _narrow(after[0], channels, 1)


def prune_predictor(
    predictor: SkimPredictor, config: SkimConfig, dims: LayerDims, keep: Sequence[int]
) -> SkimPredictor:
    """A predictor for the layer of ``dims`` once it has only the heads ``keep``, with the weights it had."""
    weight = next(predictor.parameters())
    with torch.device(weight.device):
        smaller = SkimPredictor(config, LayerDims(dims.hidden, len(keep), dims.head_dim))
    smaller.to(weight.dtype)
    for name, branch in predictor.branches.items():
        sizes = KINDS[name].channels_of_heads(config, dims, keep)
        target = smaller.branches[name].state_dict()
        taken = {key: _taken(value, target[key].shape, sizes) for key, value in branch.state_dict().items()}
        smaller.branches[name].load_state_dict(taken)
    for parameter, old in zip(smaller.parameters(), predictor.parameters(), strict=True):
        parameter.requires_grad_(old.requires_grad)
    return smaller.train(predictor.training)


def _narrow(linear: nn.Linear, channels: Sequence[int], dim: int) -> None:
    """Leave a linear layer some of its outputs (dim 0) or inputs (dim 1), in place."""
    linear.weight = _part(linear.weight, channels, dim)
    if dim == 0 and linear.bias is not None:
        linear.bias = _part(linear.bias, channels, 0)
    linear.out_features, linear.in_features = linear.weight.shape


def _part(parameter: Tensor, channels: Sequence[int], dim: int) -> nn.Parameter:
    index = torch.tensor(channels, device=parameter.device)
    return nn.Parameter(parameter.detach().index_select(dim, index), requires_grad=parameter.requires_grad)


def _taken(value: Tensor, shape: torch.Size, sizes: Mapping[int, Sequence[int]]) -> Tensor:
    """What of a tensor stays, dimension by dimension where it is to be smaller."""
    for dim, (old, new) in enumerate(zip(value.shape, shape, strict=True)):
        if old != new:
            value = value.index_select(dim, torch.tensor(sizes[old], device=value.device))
    return value
