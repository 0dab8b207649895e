"""Model directories that call for more memory than there is."""

import functools
import json
import struct
from pathlib import Path

SLOWEST = 20.0
"""Seconds that a refusal may take; what is built before it takes longer, or all memory."""


def set_size(directory: Path, name: str, value: int) -> None:
    """Change a number of the encoder's config."""
    path = directory / "config.json"
    stored = json.loads(path.read_text())
    stored.get("encoder_config", stored)[name] = value
    path.write_text(json.dumps(stored))


IMPOSSIBLE_SIZES = {
    name: functools.partial(set_size, name=name, value=value)
    for name, value in {
        "num_hidden_layers": 10**9,
        "vocab_size": 10**12,
        "intermediate_size": 10**10,
        "max_position_embeddings": 10**10,
    }.items()
}
"""Each spoils a model directory."""


def claim_impossible_size(directory: Path) -> None:
    """Have the header of the file of weights claim numbers that are not there."""
    path = directory / "model.safetensors"
    content = path.read_bytes()
    [size] = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + size])
    entry = next(entry for name, entry in header.items() if name != "__metadata__")
    entry["shape"] = [10**9, 10**9]
    entry["data_offsets"] = [entry["data_offsets"][0], 4 * 10**18]
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + size :])
