"""What a run skims with: everything read, given thresholds, an operating point, or the model's own thresholds."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

from blockskim.checks import check_flag, is_single, unwrapped
from blockskim.errors import ConfigError
from blockskim.inference.backend import Backend
from blockskim.inference.runner import Thresholds
from blockskim.method.thresholds import layer_thresholds

if TYPE_CHECKING:
    from typing import Any

    import numpy as np
    from torch import Tensor

ThresholdsGiven: TypeAlias = "float | Sequence[float] | np.number[Any] | np.ndarray[Any, Any] | Tensor | None"
"""A threshold for all layers or one for each, as callers have them."""


def choose_thresholds(
    model: Backend,
    *,
    dense: bool = False,
    threshold: ThresholdsGiven = None,
    point: str | None = None,
    name: str = "the model",
) -> Thresholds:
    """Turn the one choice that a caller made into thresholds for ``run_windows`` and ``skim``.

    At most one of ``dense``, ``threshold`` and ``point`` may be given. Predictors that were never trained drop
    nothing: a model without trained ones reads everything unless a caller asks for more, and that is refused.

    Args:
        model: what will run.
        dense: read everything, as a model without Block-Skim does.
        threshold: keep probability under which a block is dropped: one for all layers, or one per layer that has a
            predictor; numbers and arrays of NumPy, pandas and torch as well as Python's.
        point: an operating point of the model, by its name.
        name: what the model is called in messages.

    Returns:
        A number for all layers, or one per layer that has a predictor. None stands for the model's own thresholds,
        whatever they are when it runs.

    Raises:
        ConfigError: two of them are given, a threshold is impossible, the model has no such point, or something is to
            be dropped by a model without trained predictors.
    """
    dense = check_flag("dense", dense)
    _check_one_choice(dense, threshold, point)
    trained = model.has_trained_predictors
    if threshold is not None:
        values = layer_thresholds(threshold, model.skim_layers)
        if any(values) and not trained:
            raise ConfigError(
                f"a threshold needs a Block-Skim model; {name} is a plain one, without trained predictors"
            )
        return values[0] if is_single(unwrapped(threshold)) else list(values)
    if point is not None:
        if not isinstance(point, str):
            raise ConfigError(f"point is {point!r:.80}; it must be the name of an operating point")
        if not trained:
            raise ConfigError(
                f"an operating point needs a Block-Skim model; {name} is a plain one, without trained predictors"
            )
        return model.skim_config.point(point)
    return None if trained and not dense else 0.0


def _check_one_choice(dense: bool, threshold: object, point: object) -> None:
    if dense and (threshold is not None or point is not None):
        other = "a threshold" if point is None else "an operating point"
        raise ConfigError(f"dense reads everything, so it can't go with {other}")
    if threshold is not None and point is not None:
        raise ConfigError("a threshold and an operating point can't go together; give one of them")
