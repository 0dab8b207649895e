"""Numbers for layers with a predictor: thresholds, operating points, skim factors; one for all layers or one for each.

Which layers have a predictor is not known here: ``layers`` are their numbers, from 1.
"""

import re
from collections.abc import Mapping, Sequence

from blockskim.checks import check_items, check_number, is_list, is_single, listing, plain, unwrapped
from blockskim.errors import ConfigError

PerLayer = float | tuple[float, ...]
"""One number for all layers with a predictor, or one for each of them."""

_POINT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


def check_threshold(value: object) -> float:
    """Return the threshold as a float, or raise ConfigError when it is not a number from 0 to 1."""
    number = check_number("threshold", value)
    if not 0.0 <= number <= 1.0:
        raise ConfigError(f"threshold is {value}; it must be from 0 (keep every block) to 1")
    return float(number)


def check_thresholds(thresholds: PerLayer) -> None:
    """Raise ConfigError when a threshold is not from 0 to 1."""
    for threshold in [thresholds] if is_single(thresholds) else thresholds:
        check_threshold(threshold)


def check_point_name(name: object) -> str:
    """Return the name of an operating point, or raise ConfigError when it can't be one."""
    if not isinstance(name, str) or not _POINT_NAME.fullmatch(name):
        raise ConfigError(
            f"an operating point can't be called {name!r}; its name is a letter or digit, then letters, digits and -_."
        )
    return name


def check_points(value: object) -> dict[str, PerLayer]:
    """Return the thresholds of operating points by name; that they are from 0 to 1 is not checked.

    Raises:
        ConfigError: they are no mapping, a name is impossible, or a threshold is no number.
    """
    if not isinstance(value, Mapping):
        raise ConfigError(f"points is {value!r}; it must give thresholds by name")
    return {check_point_name(name): check_per_layer(f"point {name!r}", item) for name, item in value.items()}


def check_per_layer(name: str, value: object) -> PerLayer:
    """Return a number for all layers as it is, or a tuple of numbers with one for each.

    Raises:
        ConfigError: it is neither.
    """
    if is_single(value):
        return plain(value)
    return tuple(check_number(name, item) for item in check_items(name, value))


def check_layer_count(name: str, values: Sequence[float], layers: Sequence[int]) -> None:
    """Raise ConfigError when there are more or fewer numbers than layers with a predictor."""
    if len(values) != len(layers):
        raise ConfigError(
            f"{len(values)} {name} for {len(layers)} layers with a predictor "
            f"({listing(layers)}); give one number for all or one a layer"
        )


def layer_thresholds(thresholds: object, layers: Sequence[int]) -> tuple[float, ...]:
    """One threshold per layer with a predictor, from a number for all of them or a sequence with one for each.

    Numbers, arrays and tensors of NumPy, pandas and torch are as good as Python's.

    Raises:
        ConfigError: a threshold is not from 0 to 1, or there are more or fewer than layers.
    """
    return tuple(check_threshold(value) for value in _spread("thresholds", thresholds, layers))


def asked_thresholds(
    thresholds: object, own: object, layers: Sequence[int], all_layers: bool = False
) -> dict[int, float]:
    """The threshold of each layer whose predictor is asked, by the layer's number; one with a threshold of 0 is not.

    Args:
        thresholds: of a run, as ``layer_thresholds`` takes them; None for the model's own.
        own: the model's own.
        layers: numbers of the layers with a predictor.
        all_layers: whether the others are asked, too.

    Raises:
        ConfigError: a threshold is not from 0 to 1, or there are more or fewer than layers.
    """
    values = layer_thresholds(own if thresholds is None else thresholds, layers)
    return {layer: value for layer, value in zip(layers, values, strict=True) if value > 0 or all_layers}


def layer_factors(factors: float | Sequence[float], layers: Sequence[int]) -> tuple[float, ...]:
    """One skim factor per layer with a predictor, from a number for all of them or a sequence with one for each.

    Raises:
        ConfigError: there are more or fewer than layers.
    """
    return tuple(float(factor) for factor in _spread("skim_factor", factors, layers))


def _spread(name: str, values: object, layers: Sequence[int]) -> Sequence[float]:
    values = unwrapped(values)
    if is_single(values):
        return (values,) * len(layers)
    if not is_list(values):
        raise ConfigError(
            f"{name.removesuffix('s')} is {values!r:.80}; it must be a number, or a list with one per layer that has a "
            "predictor"
        )
    check_layer_count(name, values, layers)
    return [unwrapped(value) for value in values]
