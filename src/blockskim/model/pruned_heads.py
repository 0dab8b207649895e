"""Which attention heads a model has lost, in the numbering that it had when all were there.

Layers and heads are counted from 1. Everything here is plain numbers, so that a config can be read without torch.
"""

from collections.abc import Mapping
from typing import Any

from blockskim.errors import ConfigError

PrunedHeads = dict[int, tuple[int, ...]]
"""Heads that are gone by layer; layers that have all of theirs are left out."""


def read_pruned_heads(values: object) -> PrunedHeads:
    """Bring what a config file or a caller says into order; JSON has layers as text, and None is for no heads.

    Raises:
        ConfigError: it is no mapping of layers to heads.
    """
    if values is None:
        return {}
    if not isinstance(values, Mapping):
        raise ConfigError(f"pruned_heads is {values!r}; it must be a mapping of layers to lists of heads")
    found: PrunedHeads = {}
    for layer, heads in values.items():
        number = int(layer) if isinstance(layer, str) and layer.isdecimal() else layer
        numbers: list[Any] = list(heads) if isinstance(heads, list | tuple) else [None]
        if not all(isinstance(value, int) and not isinstance(value, bool) for value in (number, *numbers)):
            raise ConfigError(f"pruned_heads has {layer!r}: {heads!r}; it must map layers to lists of heads, as 2: [1]")
        if numbers:
            found[number] = tuple(sorted(set(numbers)))
    return dict(sorted(found.items()))


def add_pruned_heads(gone: PrunedHeads, more: PrunedHeads, layers: int, heads: int) -> PrunedHeads:
    """The heads that are gone after some more were removed from a model of ``layers`` layers with ``heads`` heads each.

    Raises:
        ConfigError: there is no such layer or head, a head is gone already, or a layer would lose its last one.
    """
    merged = dict(gone)
    for layer, numbers in more.items():
        if not 1 <= layer <= layers:
            raise ConfigError(f"there is no layer {layer} to prune; the model has layers 1 to {layers}")
        for number in numbers:
            if not 1 <= number <= heads:
                raise ConfigError(f"layer {layer} has no head {number}; its heads were 1 to {heads}")
            if number in gone.get(layer, ()):
                raise ConfigError(f"head {number} of layer {layer} is pruned already")
        merged[layer] = tuple(sorted({*gone.get(layer, ()), *numbers}))
        if len(merged[layer]) == heads:
            raise ConfigError(f"layer {layer} would lose all of its {heads} heads; one has to stay")
    return dict(sorted(merged.items()))


def heads_left(pruned: PrunedHeads, layer: int, heads: int) -> tuple[int, ...]:
    """Numbers of the heads that a layer still has, of ``heads`` that it had."""
    return tuple(number for number in range(1, heads + 1) if number not in pruned.get(layer, ()))
