"""Checks of single settings: numbers, whole numbers, lists and names.

What is checked is returned as plain Python knows it, so that numbers of numpy can be given and JSON be written. Each
error names the setting and its value and says what would be right.
"""

import sys
from collections.abc import Iterable, Sequence
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

from blockskim.errors import ConfigError

if TYPE_CHECKING:
    from typing_extensions import TypeIs


def is_single(value: object) -> "TypeIs[float]":
    """Whether a value is one of Python's or numpy's numbers and no sequence of them; true and false count, too."""
    return isinstance(value, Real)


def is_number(value: object) -> "TypeIs[float]":
    """Whether a value is one of Python's or numpy's numbers, but neither true nor false."""
    return isinstance(value, Real) and not isinstance(value, bool)


def is_whole(value: object) -> "TypeIs[int]":
    """Whether a value is one of Python's or numpy's whole numbers, but neither true nor false."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def check_number(name: str, value: object) -> float:
    """Return a number.

    Raises:
        ConfigError: it is none.
    """
    if not is_number(value) or value != value:
        raise ConfigError(f"{name} is {value!r}; it must be a number")
    if is_whole(value) and abs(value) > sys.float_info.max:
        raise ConfigError(f"{name} is a whole number of {value.bit_length()} bits; it must be at most 1e308")
    return plain(value)


def check_range(name: str, value: object, low: float, high: float | None = None, open_low: bool = False) -> float:
    """Return a number from ``low`` (left out with ``open_low``) to ``high``.

    Raises:
        ConfigError: it is none.
    """
    if not is_number(value):
        raise ConfigError(f"{name} is {value!r}; it must be a number")
    if not value >= low or (open_low and value == low) or (high is not None and value > high):
        upper = "" if high is None else f" and at most {high:g}"
        raise ConfigError(f"{name} is {value}; it must be {'above' if open_low else 'at least'} {low:g}{upper}")
    return plain(value)


def check_whole(name: str, value: object, verb: str = "is") -> int:
    """Return a whole number; the error says "NAME has VALUE" where ``verb`` is "has".

    Raises:
        ConfigError: it is none.
    """
    if not is_whole(value):
        raise ConfigError(f"{name} {verb} {value!r}; it must be a whole number")
    return int(value)


def check_count(name: str, value: object, least: int = 1) -> int:
    """Return a whole number of at least ``least``.

    Raises:
        ConfigError: it is none.
    """
    if not is_whole(value) or value < least:
        raise ConfigError(f"{name} is {value!r}; it must be a whole number of at least {least}")
    return int(value)


def check_items(name: str, value: object) -> Sequence[Any]:
    """Return a list or another sequence, but no text.

    Raises:
        ConfigError: it is none.
    """
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise ConfigError(f"{name} is {value!r}; it must be a list")
    return value


def check_names(name: str, value: object) -> tuple[str, ...]:
    """Return names, given one by one in a sequence, or a single one.

    Raises:
        ConfigError: they are neither.
    """
    return (value,) if isinstance(value, str) else tuple(str(item) for item in check_items(name, value))


def check_known(what: str, values: Iterable[str], names: Iterable[str]) -> None:
    """Raise ConfigError when there is a name that is none of ``names``."""
    known = list(names)
    for name in values:
        if name not in known:
            raise ConfigError(f"unknown {what} {name!r}; known are {listing(known)}")


def listing(values: Iterable[object]) -> str:
    """Values with commas between, for people."""
    return ", ".join(str(value) for value in values)


def plain(value: float) -> float:
    """A number as Python knows it; true and false stay what they are."""
    if isinstance(value, bool):
        return value
    return int(value) if is_whole(value) else float(value)
