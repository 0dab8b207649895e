"""Checks of single settings: numbers, whole numbers, switches, lists and names.

What is checked is returned as plain Python knows it, so that numbers of numpy can be given and JSON be written. Each
error names the setting and its value and says what would be right.
"""

from collections.abc import Iterable, Sequence
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

from blockskim.errors import ConfigError

if TYPE_CHECKING:
    from typing_extensions import TypeIs

MOST_THREADS = 1024
"""Of more, no machine has use, and they may not even start."""

MOST_ROW_BYTES = 2**31 - 1
"""What a row of an input file may have at most; readers can't count further on every system."""


def unwrapped(value: Any) -> Any:
    """What an array, a tensor or one of its numbers holds, as Python's number or list; anything else as it is."""
    to_list = getattr(value, "tolist", None)
    if not callable(to_list) or not isinstance(getattr(value, "ndim", None), int) or isinstance(value, memoryview):
        return value
    return to_list()


def is_single(value: object) -> "TypeIs[float]":
    """Whether a value is one of Python's or numpy's numbers and no sequence of them; true and false count, too."""
    return isinstance(value, Real)


def is_number(value: object) -> "TypeIs[float]":
    """Whether a value is one of Python's or numpy's numbers, but neither true nor false."""
    return isinstance(value, Real) and not isinstance(value, bool)


def is_whole(value: object) -> "TypeIs[int]":
    """Whether a value is one of Python's or numpy's whole numbers, but neither true nor false."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def is_list(value: object) -> "TypeIs[Sequence[Any]]":
    """Whether a value is a list or another sequence, but neither text nor bytes."""
    return isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray | memoryview)


def is_text(text: str) -> bool:
    """Whether a text can be written in UTF-8, which halves of surrogate pairs can't."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def check_number(name: str, value: object) -> float:
    """Return a number.

    Raises:
        ConfigError: it is none, or too large for a floating-point number.
    """
    # NaN alone differs from itself.
    if not is_number(value) or value != value:
        raise ConfigError(f"{name} is {value!r}; it must be a number")
    try:
        float(value)
    except OverflowError:
        raise ConfigError(f"{name} is larger than any floating-point number") from None
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


def check_threads(threads: object) -> int:
    """A number of threads as Python's own.

    Raises:
        ConfigError: it is no whole number from 1 to ``MOST_THREADS``.
    """
    count = check_count("threads", threads)
    if count > MOST_THREADS:
        raise ConfigError(f"threads is {count}; it must be at most {MOST_THREADS}")
    return count


def check_items(name: str, value: object) -> Sequence[Any]:
    """Return a list or another sequence, but no text.

    Raises:
        ConfigError: it is none.
    """
    if not is_list(value):
        raise ConfigError(f"{name} is {value!r}; it must be a list")
    return value


def check_flag(name: str, value: object) -> bool:
    """Return true or false.

    Raises:
        ConfigError: it is neither; 0, 1 and None are not, either.
    """
    value = unwrapped(value)
    if not isinstance(value, bool):
        raise ConfigError(f"{name} is {value!r}; it must be True or False")
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
