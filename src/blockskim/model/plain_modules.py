"""Modules that do what their class says and no more, so that something faster may do it in their place."""

from collections.abc import Collection
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn


def is_plain(module: nn.Module, kinds: Collection[type]) -> bool:
    """Whether a module is of one of these classes, and not of one made from it, with a ``forward`` of that class.

    Adapters and quantised weights are modules of other classes; accelerate replaces ``forward`` on the module itself.
    """
    return type(module) in kinds and "forward" not in vars(module)


def has_hooks(module: nn.Module) -> bool:
    """Whether anything is called before or after a module. Pruned weights are made anew by such a hook."""
    return bool(module._forward_hooks or module._forward_pre_hooks)


def apply_in_float32(linear: nn.Module, rows: Tensor) -> Tensor:
    """What a linear layer with a bias gives, computed in float32 if that is all it is.

    Shapes: (rows, in) to (rows, out)
    """
    if not is_plain(linear, (nn.Linear,)) or has_hooks(linear):
        result: Tensor = linear(rows)
        return result.float()
    plain: Any = linear
    return F.linear(rows.float(), plain.weight.float(), plain.bias.float())
