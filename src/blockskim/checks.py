"""Checks of single settings."""

from collections.abc import Iterable, Mapping

from blockskim.errors import ConfigError


def check_number(name: str, value: object, low: float, high: float | None, open_low: bool = False) -> None:
    """Raise ConfigError when a value is no number from ``low`` (left out with ``open_low``) to ``high``."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigError(f"{name} is {value!r}; it must be a number")
    if not value >= low or (open_low and value == low) or (high is not None and value > high):
        upper = "" if high is None else f" and at most {high:g}"
        raise ConfigError(f"{name} is {value}; it must be {'above' if open_low else 'at least'} {low:g}{upper}")


def check_count(name: str, value: object, least: int = 1) -> int:
    """Return a whole number, or raise ConfigError when it is none or under ``least``."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigError(f"{name} is {value!r}; it must be a whole number of at least {least}")
    return value


def check_known(what: str, values: Mapping[str, object], names: Iterable[str]) -> None:
    """Raise ConfigError when there is a name that is none of ``names``."""
    known = list(names)
    for name in values:
        if name not in known:
            raise ConfigError(f"unknown {what} {name!r}; known are {', '.join(known)}")
