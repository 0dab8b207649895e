"""Linear layers in int8: how weights are quantised, and which layers of a model are.

Weights have a scale per output channel and 7 bits: processors without VNNI add up pairs of products in 16 bits, which
8 bits overflow. Activations are quantised when they come, in 8 bits and with a scale per token: a few tokens have
values that are many times larger than all others, and one scale for all would leave nothing of the rest.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blockskim.encoders.adapter import PostNormParts
from blockskim.errors import ConfigError
from blockskim.model.modeling import BlockSkimForQuestionAnswering

LARGEST = 63
"""Largest magnitude of a weight in 7 bits."""

LARGEST_ACTIVATION = 127
"""Largest magnitude of an activation in 8 bits."""

ZERO_POINT = np.array(128, dtype=np.uint8)
"""What an activation of 0 becomes: ONNX Runtime multiplies unsigned activations with signed weights."""

PRODUCTS = {"attention": ("query", "key", "value"), "output": ("output",), "up": ("up",), "down": ("down",)}
"""Linear layers that are quantised together, by the name of the group."""

ALWAYS_SAFE = ("attention", "output", "up")
"""What is quantised where nothing else is said: all but the second feed-forward product, which costs most accuracy."""


@dataclass(frozen=True, slots=True, order=True)
class Product:
    """Linear layers of one encoder layer that are quantised together.

    Attributes:
        layer: number of the layer, from 1.
        name: of the group, one of ``PRODUCTS``.
    """

    layer: int
    name: str

    def __str__(self) -> str:
        """As it is written on the command line: ``3:up``."""
        return f"{self.layer}:{self.name}"


def all_products(model: BlockSkimForQuestionAnswering) -> list[Product]:
    """Every group of linear layers that can be quantised; of layers that share weights only the first counts."""
    found, seen = [], set()
    for number, layer in enumerate(model.backbone.layers, start=1):
        if id(layer) in seen:
            continue
        seen.add(id(layer))
        found += [Product(number, name) for name in PRODUCTS]
    return found


def product_flops(model: BlockSkimForQuestionAnswering) -> list[tuple[Product, int]]:
    """Every group that can be quantised, with its operations per token."""
    found = []
    for product in all_products(model):
        parts = _parts(model, product)
        linears = [getattr(parts, name) for name in PRODUCTS[product.name]]
        found.append((product, sum(2 * linear.in_features * linear.out_features for linear in linears)))
    return found


def default_products(model: BlockSkimForQuestionAnswering) -> list[Product]:
    """What is quantised where nobody has searched."""
    return [product for product in all_products(model) if product.name in ALWAYS_SAFE]


def weights_of(model: BlockSkimForQuestionAnswering, products: Sequence[Product]) -> set[int]:
    """``id`` of each weight of these products.

    Raises:
        ConfigError: the family's layers have no such parts.
    """
    return {id(getattr(_parts(model, product), name).weight) for product in products for name in PRODUCTS[product.name]}


def _parts(model: BlockSkimForQuestionAnswering, product: Product) -> PostNormParts:
    if model.adapter.parts is None:
        raise ConfigError(f"layers of {model.adapter.model_types[0]} can't be quantised")
    return model.adapter.parts(model.backbone.layers[product.layer - 1])


@dataclass(frozen=True, slots=True)
class QuantizedWeight:
    """A weight in int8.

    Attributes:
        values: Shape: (inputs, outputs)
        scales: what to multiply with, per output. Shape: (outputs,)
    """

    values: NDArray[np.int8]
    scales: NDArray[np.float32]


def quantize(weight: Any) -> QuantizedWeight:
    """Quantise the weight of a linear layer. Shape: (outputs, inputs)."""
    values = weight.detach().cpu().float().numpy()
    scales = np.abs(values).max(1).clip(np.finfo(np.float32).tiny) / LARGEST
    rounded = np.rint(values / scales[:, None]).clip(-LARGEST, LARGEST)
    return QuantizedWeight(np.ascontiguousarray(rounded.T).astype(np.int8), scales.astype(np.float32))
