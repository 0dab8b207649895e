"""Exported models on the Hugging Face hub."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from blockskim.errors import ModelError
from blockskim.exporting.manifest import FILE, GRAPH, INT8_GRAPH, TOKENIZER
from blockskim.model.hub import fetch_directory

FILES = (FILE, GRAPH, INT8_GRAPH, TOKENIZER, "config.json", "model.safetensors")
"""What is fetched of a repository."""


def fetch_exported(name: str, hub: Mapping[str, Any]) -> Path:
    """The directory of an exported model on the hub, downloaded if need be.

    Args:
        name: hub id.
        hub: arguments for reading from the hub, as transformers has them.

    Raises:
        ModelError: there is no such model, or the hub can't be reached.
    """
    given = dict(hub)
    folder = str(given.pop("subfolder", None) or "")
    patterns = [f"{folder}/{file}" if folder else file for file in FILES]
    directory = fetch_directory(name, patterns, given) / folder
    if not (directory / FILE).is_file():
        raise ModelError(f"{name} was not exported: it has no {FILE}; blockskim export makes a directory that has")
    return directory
