"""A copy of a model with other settings; weights, tokenizer and graphs stay as they are."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from blockskim.atomic import new_directory
from blockskim.errors import ModelError
from blockskim.inference.backend import LoadedBackend
from blockskim.model.hub import fetch_directory, offline_aware

CONFIG = "config.json"

HUB_FILES = ("*.json", "*.safetensors", "*.onnx", "*.txt", "*.model", "README.md")
"""What is fetched of a model of the hub."""


def copy_with_settings(loaded: LoadedBackend, output: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Write a copy of a Block-Skim model whose config was changed.

    Args:
        loaded: the model, from a directory or the hub.
        output: directory to make; it appears whole or not at all.
        change: is given the values of ``config.json``, and changes them in place.

    Raises:
        ModelError: it is no Block-Skim model, whose config has no place for them.
        ConfigError: something is at ``output`` already.
    """
    source = check_has_settings(loaded)
    with new_directory(output) as part:
        for path in source.iterdir():
            if path.is_file():
                # Of a link, as the hub's cache has them, what it points to.
                shutil.copy(path, part / path.name)
        values = json.loads((part / CONFIG).read_text(encoding="utf-8"))
        change(values)
        (part / CONFIG).write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def check_has_settings(loaded: LoadedBackend) -> Path:
    """Refuse a model whose config has no place for settings of this library, before anything is measured for them.

    Returns:
        The directory with the model's files; those of a model of the hub are downloaded if need be.

    Raises:
        ModelError: it is no Block-Skim model.
    """
    source = Path(loaded.name)
    if not source.is_dir():
        # The network in memory may be in another number format than the files.
        source = fetch_directory(loaded.name, HUB_FILES, offline_aware(loaded.name, {}))
    if json.loads((source / CONFIG).read_text(encoding="utf-8")).get("model_type") != "blockskim":
        raise ModelError(f"{loaded.name} is no Block-Skim model; convert it first, and calibrate what that writes")
    return source
