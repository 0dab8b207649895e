"""A copy of a model with other settings; weights, tokenizer and graphs stay as they are."""

import json
import shutil
from collections.abc import Callable, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from blockskim.atomic import new_directory
from blockskim.errors import ModelError
from blockskim.inference.backend import LoadedBackend
from blockskim.model.hub import fetch_directory, find_file, has_files, local_folder, offline_aware
from blockskim.model.load_errors import loading

CONFIG = "config.json"

HUB_FILES = ("*.json", "*.safetensors", "*.onnx", "*.txt", "*.model", "README.md")
"""What is fetched of a model of the hub."""

LEFT_OUT = (
    *("*.pt", "*.pth", "training_args.bin", "trainer_state.json", "training_log.json", "inputs.json"),
    *("pytorch_model*.bin*", "tf_model*.h5*", "flax_model*.msgpack*"),
)
"""Files of a training run that may go on, and weights in formats that are not read."""


def copy_with_settings(
    loaded: LoadedBackend,
    output: Path,
    change: Callable[[dict[str, Any]], None],
    texts: Mapping[str, str] | None = None,
) -> None:
    """Write a copy of a Block-Skim model whose config was changed.

    It has the files right in the model's directory, but for state of training and weights in formats that are not read.

    Args:
        loaded: the model, from a directory or the hub, or one that was made in this process.
        output: directory to make; it appears whole or not at all.
        change: is given the values of ``config.json``, and changes them in place.
        texts: of files that the copy has beside or in place of the model's, by name.

    Raises:
        ModelError: it is no Block-Skim model, whose config has no place for them.
        ConfigError: something is at ``output`` already.
    """
    check_has_settings(loaded)
    source = (local_folder(loaded.name, loaded.hub) or _fetched(loaded)) if has_files(loaded.name, loaded.hub) else None
    with new_directory(output) as part:
        if source is not None:
            for path in source.iterdir():
                if path.is_file() and not any(fnmatch(path.name, pattern) for pattern in LEFT_OUT):
                    # Of a link, as the hub's cache has them, what it points to; whoever may read it may write the copy.
                    shutil.copyfile(path, part / path.name)
        else:
            network: Any = loaded.model
            tokenizer: Any = loaded.tokenizer
            network.save_pretrained(part)
            tokenizer.save_pretrained(part)
        values = json.loads((part / CONFIG).read_text(encoding="utf-8"))
        change(values)
        for name, text in {CONFIG: json.dumps(values, indent=2) + "\n", **(texts or {})}.items():
            (part / name).write_text(text, encoding="utf-8")


def check_has_settings(loaded: LoadedBackend) -> None:
    """Refuse a model whose config has no place for settings of this library, before anything is measured for them.

    Raises:
        ModelError: it is no Block-Skim model, or the hub can't be reached.
    """
    if has_files(loaded.name, loaded.hub):
        with loading(loaded.name):
            config = find_file(loaded.name, CONFIG, offline_aware(loaded.name, loaded.hub))
        kind = None if config is None else json.loads(config.read_text(encoding="utf-8")).get("model_type")
    else:
        network: Any = loaded.model
        kind = network.config.model_type
    if kind != "blockskim":
        raise ModelError(f"{loaded.name} is no Block-Skim model; convert it first, and calibrate what that writes")


def _fetched(loaded: LoadedBackend) -> Path:
    """The files of a model of the hub: the network in memory may be in another number format than they are."""
    hub = offline_aware(loaded.name, loaded.hub)
    folder = str(hub.pop("subfolder", None) or "")
    patterns = [f"{folder}/{pattern}" if folder else pattern for pattern in HUB_FILES]
    deeper = f"{folder}/*/*" if folder else "*/*"
    return fetch_directory(loaded.name, patterns, hub, [deeper]) / folder
