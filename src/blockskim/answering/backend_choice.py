"""Which of the engines answers: PyTorch, or ONNX Runtime with a model that was exported."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from blockskim.errors import ConfigError, ModelError
from blockskim.exporting.exported_model import ExportedModel
from blockskim.exporting.from_hub import fetch_exported
from blockskim.exporting.manifest import FILE, is_exported
from blockskim.extras import has
from blockskim.inference.shipped import shipped_model
from blockskim.model.hub import may_be_hub_id

BACKENDS = ("auto", "torch", "onnx")
ONNX_DTYPES = ("auto", "float32", "int8")
"""Number formats that an exported model may have."""


def choose_exported(
    model: object, device: str, dtype: str, backend: str, hub: Mapping[str, Any] | None = None
) -> Path | None:
    """The directory of an exported model that ONNX Runtime is to run; None where PyTorch is to run the model.

    Args:
        model: a directory, a hub id, or None for the model that comes with the library; anything else is for PyTorch.
        device: where to compute.
        dtype: in which number format.
        backend: "torch", "onnx", or "auto", which takes ONNX Runtime for a directory that was exported unless there is
            a GPU or a number format is asked for that only PyTorch has. For None it takes PyTorch if that is installed.
        hub: arguments for reading from the hub; with any of them a directory is left to PyTorch.

    Raises:
        ConfigError: the backend is unknown, can't run what is asked for, or is not installed.
        ModelError: the model was not exported.
    """
    check_backend(backend)
    # Only the graph has int8.
    wanted = backend == "onnx" or dtype == "int8"
    fits = device in ("auto", "cpu") and dtype in ONNX_DTYPES
    if backend == "torch":
        if dtype == "int8":
            raise ConfigError("dtype is 'int8', which an exported model has; it takes the backend onnx")
        return None
    # Where PyTorch is installed, whoever makes an answerer of the shipped model can also work on the model.
    if model is None and not wanted and has("torch"):
        return None
    directory = _directory(model)
    # Where PyTorch can't read it, a model of the hub has to be an exported one.
    if directory is None and isinstance(model, str) and may_be_hub_id(model) and fits and (wanted or not has("torch")):
        return fetch_exported(model, hub or {})
    if wanted:
        _check_wanted(model, directory, device, dtype, hub)
        return directory
    if directory is None or hub or not fits or not is_exported(directory) or not has("onnxruntime"):
        return None
    return None if device == "auto" and _has_gpu() else directory


def check_backend(backend: str, given: object = None) -> None:
    """Refuse an unknown backend, and one that a backend that is given is not.

    Raises:
        ConfigError: it is one of these.
    """
    if backend not in BACKENDS:
        raise ConfigError(f"backend is {backend!r:.80}; it must be one of {', '.join(BACKENDS)}")
    own = "onnx" if isinstance(given, ExportedModel) else "auto"
    if given is not None and backend not in ("auto", own):
        raise ConfigError(
            f"backend is {backend!r}, but the model that is given computes by itself; auto is right for it"
        )


def _directory(model: object) -> Path | None:
    """Where a model lies that is named; None for one that is given, or that is no directory here."""
    if model is None:
        return shipped_model()
    return Path(model) if isinstance(model, str | Path) and Path(model).is_dir() else None


def _check_wanted(
    model: object, directory: Path | None, device: str, dtype: str, hub: Mapping[str, Any] | None
) -> None:
    """Say why ONNX Runtime can't run what it is asked to run."""
    if model is not None and not isinstance(model, str | Path):
        raise ConfigError("the backend onnx runs directories that blockskim export made, and no model that is given")
    if directory is None or not is_exported(directory):
        lacks = "" if directory is None else f" (it has no {FILE})"
        raise ModelError(
            f"{'the shipped model' if model is None else model} was not exported{lacks}, which the backend onnx needs: "
            "blockskim export --model MODEL --output DIR"
        )
    if hub:
        raise ConfigError(f"{next(iter(hub))} is for reading from the hub; the backend onnx reads a directory")
    if device not in ("auto", "cpu"):
        raise ConfigError(f"device is {str(device)!r}, but the backend onnx computes on the CPU")
    if dtype not in ONNX_DTYPES:
        raise ConfigError(f"dtype is {dtype!r}, but the backend onnx has {', '.join(ONNX_DTYPES)}")


def _has_gpu() -> bool:
    """Whether PyTorch is installed and finds a GPU; it is imported only where there may be one."""
    if not has("torch") or not (Path("/dev/nvidiactl").exists() or shutil.which("nvidia-smi")):
        return False
    import torch

    return bool(torch.cuda.is_available())
