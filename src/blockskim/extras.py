"""Packages that may be missing: whether one is installed, loading it, and the error where it is not there."""

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from blockskim.errors import BlockSkimError, ConfigError

_TORCH = ("torch", "transformers")


def has(package: str) -> bool:
    """Whether a package is installed; it is not imported."""
    try:
        return importlib.util.find_spec(package) is not None
    # A finder that refuses packages says no in this way.
    except ModuleNotFoundError:
        return False


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


@contextmanager
def torch_needed() -> Iterator[None]:
    """Say how to install PyTorch and transformers where something in here imports one of them in vain.

    Raises:
        ConfigError: one of them is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in _TORCH:
            raise
        raise_missing(f"this needs PyTorch and transformers, and {package} is not installed", "torch")


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


def load_pyarrow() -> tuple[Any, Any]:
    """The modules ``pyarrow`` and ``pyarrow.parquet``.

    Raises:
        ConfigError: it is not installed.
    """
    need = "reading and writing Parquet needs pyarrow"
    return _load("pyarrow", need, "bulk"), _load("pyarrow.parquet", need, "bulk")


def load_ray() -> Any:
    """The module ``ray``, with ``ray.data`` in it.

    Raises:
        ConfigError: it is not installed.
    """
    need = "running on a cluster needs Ray"
    _load("ray.data", need, "ray")
    return _load("ray", need, "ray")


def check_server() -> None:
    """See to it that what the HTTP service is made of is installed; nothing is imported.

    Raises:
        ConfigError: a part of it is not.
    """
    for package in ("fastapi", "httptools", "uvicorn", "prometheus_client"):
        if not has(package):
            raise_missing(f"serving needs {package.replace('_', '-')}, which is not installed", "serve")


def _load(name: str, need: str, extra: str) -> Any:
    """An optional package; what needs it is said when it is missing.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        raise_missing(f"{need}, which is not installed", extra)
