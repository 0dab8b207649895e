"""Which of the engines answers: PyTorch, or ONNX Runtime with a model that was exported."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from blockskim.answering.model_choice import ModelChoice
from blockskim.errors import ConfigError, ModelError
from blockskim.exporting.exported_model import ExportedModel
from blockskim.exporting.from_hub import fetch_exported
from blockskim.exporting.manifest import FILE, is_exported
from blockskim.extras import has
from blockskim.inference.shipped import shipped_model
from blockskim.model.hub import check_hub_arguments, local_folder, may_be_hub_id

BACKENDS = ("auto", "torch", "onnx")
ONNX_DTYPES = ("auto", "float32", "int8")
"""Number formats that an exported model may have."""


def choose_exported(choice: ModelChoice, hub: Mapping[str, Any] | None = None) -> Path | None:
    """The directory of an exported model that ONNX Runtime is to run; None where PyTorch is to run the model.

    Args:
        choice: which model runs, and on what. Where neither a name nor a backend is chosen, PyTorch runs the model that
            comes with the library, if it is installed.
        hub: arguments for reading from the hub; of a directory ``subfolder`` alone counts.

    Raises:
        ConfigError: the backend is unknown, can't run what is asked for, or is not installed, or there is an unknown
            argument.
        ModelError: the model was not exported.
    """
    given = hub or {}
    check_hub_arguments(given)
    wanted = wants_onnx(choice)
    name = choice.name
    # Where PyTorch is installed, whoever makes an answerer of the shipped model can also work on the model.
    if choice.backend == "torch" or (name is None and not wanted and has("torch")):
        return None
    fits = choice.device in ("auto", "cpu") and choice.dtype in ONNX_DTYPES
    directory = _directory(name, given)
    # Where PyTorch can't read it, a model of the hub has to be an exported one.
    if directory is None and isinstance(name, str) and may_be_hub_id(name) and fits and (wanted or not has("torch")):
        return fetch_exported(name, given)
    if wanted:
        _check_wanted(choice, directory)
        return directory
    if directory is None or not fits or not is_exported(directory) or not has("onnxruntime"):
        return None
    return None if choice.device == "auto" and _has_gpu() else directory


def wants_onnx(choice: ModelChoice) -> bool:
    """Whether nothing but ONNX Runtime has what is chosen.

    Raises:
        ConfigError: the backend is unknown, or is torch with a number format that only ONNX Runtime has.
    """
    check_backend(choice.backend)
    if choice.backend == "torch" and choice.dtype == "int8":
        raise ConfigError("dtype is 'int8', which an exported model has; it takes the backend onnx")
    # Only the graph has int8.
    return choice.backend == "onnx" or choice.dtype == "int8"


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


def _directory(name: object, hub: Mapping[str, Any]) -> Path | None:
    """Where a model lies; None for what is no directory here."""
    folder = shipped_model() if name is None else name
    return local_folder(folder, hub) if isinstance(folder, str | Path) else None


def _check_wanted(choice: ModelChoice, directory: Path | None) -> None:
    """Say why ONNX Runtime can't run what it is asked to run."""
    if directory is None or not is_exported(directory):
        lacks = "" if directory is None else f" (it has no {FILE})"
        name = "the shipped model" if choice.name is None else directory or choice.name
        raise ModelError(
            f"{name} was not exported{lacks}, which the backend onnx needs: blockskim export --model MODEL --output DIR"
        )
    if choice.device not in ("auto", "cpu"):
        raise ConfigError(f"device is {str(choice.device)!r}, but the backend onnx computes on the CPU")
    if choice.dtype not in ONNX_DTYPES:
        raise ConfigError(f"dtype is {choice.dtype!r}, but the backend onnx has {', '.join(ONNX_DTYPES)}")


def _has_gpu() -> bool:
    """Whether PyTorch is installed and finds a GPU; it is imported only where there may be one."""
    if not has("torch") or not (Path("/dev/nvidiactl").exists() or shutil.which("nvidia-smi")):
        return False
    import torch

    return bool(torch.cuda.is_available())
