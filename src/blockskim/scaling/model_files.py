"""The model of a run as a directory, which every process loads, and a digest of what its answers depend on."""

import hashlib
from pathlib import Path

from blockskim.errors import ModelError
from blockskim.inference.shipped import shipped_model
from blockskim.model.hub import fetch_directory, may_be_hub_id

SUFFIXES = (".json", ".txt", ".model", ".onnx", ".safetensors", ".data")
"""Files of a model directory that answers may depend on."""

CHUNK = 1 << 22


def model_directory(name: str | Path | None) -> Path:
    """The directory of a model, fetched from the hub if need be.

    Args:
        name: directory, hub id, or None for the model that comes along.

    Raises:
        ModelError: there is no such model.
    """
    if name is None:
        return shipped_model()
    path = Path(name)
    if path.is_dir():
        return path
    if path.exists() or not (isinstance(name, str) and may_be_hub_id(name)):
        raise ModelError(f"{name} is no directory and no hub id of a model")
    return fetch_directory(name, [f"*{suffix}" for suffix in SUFFIXES], {})


def model_content(directory: Path) -> dict[str, bytes]:
    """The files of a model that its answers may depend on, by their names.

    Raises:
        ModelError: there are none, or they can't be read.
    """
    files = _files(directory)
    try:
        return {path.name: path.read_bytes() for path in files}
    except OSError as error:
        raise ModelError(f"{error.filename or directory}: can't be read: {error.strerror or error}") from error


def model_digest(directory: Path) -> str:
    """A digest of weights, settings and tokenizer.

    Raises:
        ModelError: there are none, or they can't be read.
    """
    digest = hashlib.sha256()
    files = _files(directory)
    try:
        for path in files:
            digest.update(f"{path.name}\0{path.stat().st_size}\0".encode())
            with path.open("rb") as file:
                while chunk := file.read(CHUNK):
                    digest.update(chunk)
    except OSError as error:
        raise ModelError(f"{error.filename or directory}: can't be read: {error.strerror or error}") from error
    return digest.hexdigest()[:32]


def _files(directory: Path) -> list[Path]:
    """Files that answers may depend on, in the order of their names.

    Raises:
        ModelError: there are none, or the directory can't be read.
    """
    try:
        files = sorted(path for path in directory.iterdir() if path.suffix in SUFFIXES and path.is_file())
    except OSError as error:
        raise ModelError(f"{error.filename or directory}: can't be read: {error.strerror or error}") from error
    if not files:
        raise ModelError(f"{directory} holds no model")
    return files
