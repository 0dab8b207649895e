"""The sizes of a layer, and where the channels of its attention heads lie."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LayerDims:
    """Sizes of a layer.

    Attributes:
        hidden: entries of a hidden state.
        heads: attention heads.
        head_dim: size of a head.
    """

    hidden: int
    heads: int
    head_dim: int


def head_channels(heads: Sequence[int], head_dim: int, first: int = 0) -> list[int]:
    """Channels of some heads where ``head_dim`` channels of each lie side by side, from channel ``first`` on."""
    return [first + head * head_dim + channel for head in heads for channel in range(head_dim)]
