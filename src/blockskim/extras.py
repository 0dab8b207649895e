"""Packages that come with an extra only: whether one is installed, loading it, and the error where it is missing."""

import importlib.util
from typing import Any, NoReturn

from blockskim.errors import BlockSkimError, ConfigError


def has(package: str) -> bool:
    """Whether a package is installed; it is not imported."""
    return importlib.util.find_spec(package) is not None


def raise_missing(need: str, extra: str, error: type[BlockSkimError] = ConfigError) -> NoReturn:
    """Raise the error that says how to install what is missing.

    Args:
        need: what needs what, such as "a plot needs matplotlib, which is not installed".
        extra: the extra of this library that brings it.
        error: class of the error.

    Raises:
        BlockSkimError: always, of the class given.
    """
    raise error(f"{need}: pip install 'blockskim[{extra}]'")


def load_optuna() -> Any:
    """The module ``optuna``.

    Raises:
        ConfigError: it is not installed.
    """
    return _load("optuna", "refining thresholds needs optuna", "calibrate")


def load_matplotlib() -> Any:
    """The module ``matplotlib.pyplot``, drawing to files alone.

    Raises:
        ConfigError: it is not installed.
    """
    _load("matplotlib", "a plot needs matplotlib", "plot").use("agg")
    return importlib.import_module("matplotlib.pyplot")


def _load(name: str, need: str, extra: str) -> Any:
    """An optional package; what needs it is said when it is missing.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        raise_missing(f"{need}, which is not installed", extra)
