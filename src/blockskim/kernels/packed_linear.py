"""Linear layers made ready for inference: weights in the layout of the fastest kernel, what follows fused into it.

On x86 CPUs oneDNN multiplies with weights that were laid out for it once. For float32 it takes AVX-512 on any maker's
processor, which the default library doesn't, and for bfloat16 it is spared laying them out anew in every call. It also
adds a residual while the results are in registers, or applies an activation, where it does that fast. The operators are
those that ``torch.compile`` emits; they are not documented, so everything works without them, too.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ROWS = 512
"""Rows that the packed layout is made for; it serves any number."""

SLOW_FUSED = {"AVX2": ("gelu",)}
"""Activations that take the kernel longer than PyTorch takes afterwards, by the instructions that a processor has. With
AVX2 a fused GELU costs up to five times as much, a third of the whole product (``benchmarks/batch_one.py``)."""


@dataclass(frozen=True, slots=True)
class Activation:
    """What follows a linear layer.

    Attributes:
        apply: the function.
        fused: name and algorithm under which the fused kernel knows it; None when it doesn't, or is not to apply it.
    """

    apply: Callable[[Tensor], Tensor]
    fused: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class PackedLinear:
    """A linear layer for inference.

    Attributes:
        weight: in the kernel's own layout when packed. Shape: (out, in)
        bias: Shape: (out,)
        packed: whether oneDNN runs it.
        copied: whether the weight is a copy, and not the model's own.
    """

    weight: Tensor
    bias: Tensor | None
    packed: bool
    copied: bool

    @property
    def num_bytes(self) -> int:
        """Size of the weight."""
        return self.weight.numel() * self.weight.element_size()


def pack_linear(linears: Sequence[nn.Linear], scales: Sequence[float] | None = None) -> PackedLinear:
    """Join linear layers with the same input into one, their outputs side by side.

    Args:
        linears: all with a bias, or all without.
        scales: factors on their outputs, put into the weights.
    """
    factors = scales or [1.0] * len(linears)
    weight = _joined([linear.weight for linear in linears], factors)
    biases = [linear._parameters["bias"] for linear in linears]
    bias = _joined([part for part in biases if part is not None], factors) if biases[0] is not None else None
    packed = can_pack(weight)
    if packed:
        weight = torch.ops.mkldnn._reorder_linear_weight.default(weight.contiguous(), ROWS)
    return PackedLinear(weight, bias, packed, packed or len(linears) > 1 or factors[0] != 1.0)


def can_pack(weight: Tensor) -> bool:
    """Whether this build of PyTorch and this processor have the packed kernel for a weight."""
    if weight.device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    operators: Any = torch.ops.mkldnn
    if not all(hasattr(operators, name) for name in ("_reorder_linear_weight", "_linear_pointwise")):
        return False
    if weight.dtype == torch.bfloat16:
        return bool(operators._is_mkldnn_bf16_supported())
    return weight.dtype == torch.float32 and torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")


def activation_of(module: Callable[[Tensor], Tensor]) -> Activation:
    """The activation that a model's module is, if it is one of PyTorch's or transformers' own."""
    kind = type(module)
    name = kind.__name__ if kind.__module__ == "transformers.activations" else ""
    exact = name == "GELUActivation" and getattr(module, "act", None) is F.gelu
    if exact or (kind is nn.GELU and getattr(module, "approximate", None) == "none"):
        return Activation(module, ("gelu", "none"))
    if name == "GELUTanh" or (kind is nn.GELU and getattr(module, "approximate", None) == "tanh"):
        return Activation(module, ("gelu", "tanh"))
    if kind is nn.ReLU:
        return Activation(module, ("relu", ""))
    return Activation(module)


def fused_where_fast(activation: Activation) -> Activation:
    """The same activation, which a kernel does not fuse if it is faster apart on this processor."""
    slow = SLOW_FUSED.get(torch.backends.cpu.get_cpu_capability(), ())
    return (
        replace(activation, fused=None) if activation.fused is not None and activation.fused[0] in slow else activation
    )


def apply_linear(linear: PackedLinear, rows: Tensor, activation: Activation | None = None) -> Tensor:
    """Apply a linear layer and an activation. Shapes: (rows, in) to (rows, out)."""
    if not linear.packed:
        result = F.linear(rows, linear.weight, linear.bias)
        return result if activation is None else activation.apply(result)
    name, algorithm = ("none", "") if activation is None or activation.fused is None else activation.fused
    result = torch.ops.mkldnn._linear_pointwise.default(rows, linear.weight, linear.bias, name, [], algorithm)
    return activation.apply(result) if activation is not None and activation.fused is None else result


def apply_linear_and_add(linear: PackedLinear, rows: Tensor, residual: Tensor) -> Tensor:
    """Apply a linear layer and add a residual. Shapes: (rows, in), (rows, out) to (rows, out)."""
    if not linear.packed:
        return F.linear(rows, linear.weight, linear.bias).add_(residual)
    result: Tensor = torch.ops.mkldnn._linear_pointwise.binary(rows, residual, linear.weight, linear.bias, "add")
    return result


def _joined(parts: Sequence[Tensor], factors: Sequence[float]) -> Tensor:
    scaled = [
        part.detach() if factor == 1.0 else (part.detach().float() * factor).to(part.dtype)
        for part, factor in zip(parts, factors, strict=True)
    ]
    return scaled[0] if len(scaled) == 1 else torch.cat(scaled)
