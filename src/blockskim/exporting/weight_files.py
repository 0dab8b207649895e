"""Weights of a graph that stay where they are: in a safetensors file, read by their place in it.

ONNX calls that external data. So one file of weights serves PyTorch and ONNX Runtime, whatever number format it has:
a cast to float32 follows each weight, which is folded when a session starts.
"""

import hashlib
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blockskim.errors import ModelError

_TYPES = {"F32": 1, "F16": 10, "BF16": 16, "F64": 11}
"""Number formats as ONNX numbers them, by their names in safetensors."""

_READABLE: dict[str, np.dtype[Any]] = {
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
    "F64": np.dtype("<f8"),
}
"""How NumPy reads them; it has no bfloat16."""

FLOAT32 = "F32"

SAMPLE = 256
"""Bytes of each tensor that a fingerprint is made of."""

LONGEST_HEADER = 100 * 2**20
"""Bytes that a header may have; safetensors itself takes no longer one."""


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor in a safetensors file.

    Attributes:
        number_format: as safetensors names it.
        shape: its sizes.
        offset: its first byte in the file.
        num_bytes: its length.
    """

    number_format: str
    shape: tuple[int, ...]
    offset: int
    num_bytes: int


def stored_tensors(path: Path) -> dict[str, StoredTensor]:
    """What a safetensors file holds, by name.

    Raises:
        ModelError: it is no such file, or is damaged.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
        if not 0 < length <= min(LONGEST_HEADER, size - 8):
            raise ModelError(f"{path} is no safetensors file: its header would be {length} bytes of {size}")
        try:
            header = json.loads(file.read(length))
            entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
            found = {name: _entry(entry, 8 + length) for name, entry in entries.items()}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ModelError(f"{path}: its header is damaged ({error})") from error
    beyond = [name for name, tensor in found.items() if tensor.offset + tensor.num_bytes > size]
    if beyond:
        raise ModelError(f"{path} is cut off: {beyond[0]!r} lies beyond its end, at {size} bytes")
    return found


def fingerprint(path: Path) -> str:
    """What tells a safetensors file from others, however large: sha256 of its header and of how each tensor begins.

    Raises:
        ModelError: it is no such file, or is damaged.
    """
    tensors = sorted(stored_tensors(path).values(), key=lambda tensor: tensor.offset)
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        found = hashlib.sha256(file.read(length))
        for tensor in tensors:
            file.seek(tensor.offset)
            found.update(file.read(min(SAMPLE, tensor.num_bytes)))
    return found.hexdigest()


def open_rows(path: Path, name: str) -> NDArray[Any]:
    """A matrix of a safetensors file, of which only those rows are read that are looked at. Shape: (rows, width).

    Numbers in bfloat16 come as the upper halves of those in float32, which ``float_rows`` knows.

    Raises:
        ModelError: there is no such matrix.
    """
    tensor = stored_tensors(path).get(name)
    if tensor is None or len(tensor.shape) != 2 or tensor.number_format not in _READABLE:
        raise ModelError(f"{path} has no matrix {name!r} of word embeddings; export the model again")
    kind: np.dtype[Any] = _READABLE[tensor.number_format]
    return np.memmap(path, dtype=kind, mode="r", offset=tensor.offset, shape=tensor.shape)


def float_rows(matrix: NDArray[Any], places: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
    """Some rows of a matrix that ``open_rows`` opened, in float32. Shape: (places, width)."""
    rows = np.asarray(matrix[places])
    if rows.dtype == np.uint16:
        wide: NDArray[np.float32] = (rows.astype(np.uint32) << 16).view(np.float32)
        return wide
    return rows.astype(np.float32)


def _entry(entry: Mapping[str, Any], data: int) -> StoredTensor:
    begin, end = (int(value) for value in entry["data_offsets"])
    if not 0 <= begin <= end:
        raise ValueError(f"data_offsets are {entry['data_offsets']}")
    return StoredTensor(str(entry["dtype"]), tuple(int(value) for value in entry["shape"]), data + begin, end - begin)


def external_weight(name: str, tensor: StoredTensor, file: str) -> tuple[Any, Any | None]:
    """A weight as an initialiser that points into a file, and the node that casts it to float32 if it needs that.

    Args:
        name: that the float32 values are to have in the graph.
        tensor: where they lie.
        file: its name, relative to the graph.

    Raises:
        ModelError: the number format is none that ONNX casts.
    """
    from onnx import TensorProto, helper

    if tensor.number_format not in _TYPES:
        known = ", ".join(_TYPES)
        raise ModelError(f"{file}: weight {name!r} is stored as {tensor.number_format}; it must be one of {known}")
    plain = tensor.number_format == FLOAT32
    stored = TensorProto(
        name=name if plain else f"{name}/stored",
        data_type=_TYPES[tensor.number_format],
        dims=tensor.shape,
        data_location=TensorProto.EXTERNAL,
    )
    for key, value in {"location": file, "offset": tensor.offset, "length": tensor.num_bytes}.items():
        stored.external_data.add(key=key, value=str(value))
    return stored, None if plain else helper.make_node("Cast", [stored.name], [name], to=TensorProto.FLOAT)
