"""A copy of a model with other settings; weights, tokenizer and graphs stay as they are."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from blockskim.atomic import new_directory
from blockskim.errors import ModelError
from blockskim.inference.backend import LoadedBackend

CONFIG = "config.json"


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
    check_has_settings(loaded)
    source = Path(loaded.name)
    with new_directory(output) as part:
        if source.is_dir():
            for path in source.iterdir():
                if path.is_file():
                    shutil.copy(path, part / path.name)
        else:
            # It is one of PyTorch: a graph comes from a directory.
            network: Any = loaded.model
            tokenizer: Any = loaded.tokenizer
            network.save_pretrained(part)
            tokenizer.save_pretrained(part)
        values = json.loads((part / CONFIG).read_text(encoding="utf-8"))
        change(values)
        (part / CONFIG).write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def check_has_settings(loaded: LoadedBackend) -> None:
    """Refuse a model whose config has no place for settings of this library, before anything is measured for them.

    Raises:
        ModelError: it is no Block-Skim model.
    """
    source = Path(loaded.name)
    if source.is_dir():
        kind = json.loads((source / CONFIG).read_text(encoding="utf-8")).get("model_type")
    else:
        network: Any = loaded.model
        kind = network.config.model_type
    if kind != "blockskim":
        raise ModelError(f"{loaded.name} is no Block-Skim model; convert it first, and calibrate what that writes")
