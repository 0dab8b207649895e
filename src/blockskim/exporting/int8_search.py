"""Which linear layers are worth quantising: those that change logits least for the arithmetic that they save.

Each product is quantised alone first, and what that does to the logits of a dense run is measured. Then all are
quantised but the worst, by error per arithmetic, and as few are left out as the F1 that may be lost allows.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from blockskim.data.windows import WindowSet
from blockskim.errors import ConfigError
from blockskim.evaluation.evaluate import evaluate_windows
from blockskim.exporting.exported_model import ExportedModel
from blockskim.exporting.int8 import Product

MOST_ERROR_WINDOWS = 64
"""Windows on which the error of a single product is measured."""

Build = Callable[[Sequence[Product]], ExportedModel]
"""Makes the model in which these products are quantised, none of them for float32."""

Report = Callable[[str], None]
"""Told of each step in a line."""


@dataclass(frozen=True, slots=True)
class ProductError:
    """What quantising one product alone does.

    Attributes:
        product: which.
        error: mean squared change of the logits of context tokens.
        flops: operations per token that it takes.
    """

    product: Product
    error: float
    flops: int


@dataclass(frozen=True, slots=True)
class Trial:
    """A choice that was measured.

    Attributes:
        left_out: how many products stay in float32.
        f1: of the dense run.
    """

    left_out: int
    f1: float


@dataclass(frozen=True, slots=True)
class Int8Search:
    """The outcome of a search.

    Attributes:
        products: what is to be quantised.
        errors: of each product alone, worst first.
        float32_f1: F1 of the dense run in float32.
        trials: the choices that were measured, in their order.
    """

    products: tuple[Product, ...]
    errors: tuple[ProductError, ...]
    float32_f1: float
    trials: tuple[Trial, ...]


def search_products(
    build: Build,
    products: Sequence[tuple[Product, int]],
    windows: WindowSet,
    most_lost: float = 0.3,
    batch_size: int = 32,
    report: Report | None = None,
) -> Int8Search:
    """Choose what to quantise.

    Args:
        build: makes the model in which some products are quantised.
        products: all that can be, each with its operations per token.
        windows: of examples that were neither trained on nor will be reported on.
        most_lost: F1, in points, that the dense run may lose.
        batch_size: windows per batch.
        report: told of each step.

    Raises:
        ConfigError: even a single product costs more than may be lost.
    """
    tell = report or (lambda line: None)
    plain = build(())
    reference = _logits(plain, windows)
    errors = []
    for product, flops in products:
        difference = _logits(build([product]), windows) - reference
        errors.append(ProductError(product, float(np.mean(difference**2)), flops))
        tell(f"{product}: error {errors[-1].error:.2e}")
    errors.sort(key=lambda each: -each.error / each.flops)
    best = _dense_f1(plain, windows, batch_size)
    tell(f"float32: F1 {best:.2f}")
    trials: list[Trial] = []

    def fits(left_out: int) -> bool:
        f1 = _dense_f1(build([each.product for each in errors[left_out:]]), windows, batch_size)
        trials.append(Trial(left_out, f1))
        tell(f"{left_out} of {len(errors)} left in float32: F1 {f1:.2f}")
        return f1 >= best - most_lost

    # Doubling, then halving the interval: the fewest that fit, as far as more left out is never worse.
    low, high = 0, 0
    most = len(errors) - 1
    while not fits(high):
        low, high = high + 1, min(max(1, 2 * high), most)
        if low > most:
            raise ConfigError(f"no choice of int8 products loses at most {most_lost} F1 on these examples")
    fewest = low + bisect_left(range(low, high), True, key=fits)
    chosen = tuple(sorted(each.product for each in errors[fewest:]))
    return Int8Search(chosen, tuple(errors), best, tuple(trials))


def _logits(model: ExportedModel, windows: WindowSet) -> np.ndarray:
    """Start and end logits of the context tokens of the first windows, read whole. Shape: (tokens, 2)."""
    inputs = windows.pack(range(min(len(windows), MOST_ERROR_WINDOWS)))
    scores = model.score_windows(inputs, 0.0)
    return np.stack([scores.start_logits, scores.end_logits], -1)[inputs.context_mask]


def _dense_f1(model: ExportedModel, windows: WindowSet, batch_size: int) -> float:
    return float(evaluate_windows(model, windows, batch_size, 0.0).scores["f1"])
