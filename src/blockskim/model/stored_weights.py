"""Files of weights, looked into before a model is built: names, shapes, and afterwards whether they are numbers.

Only the headers are read, which say what is in a file. So a config that calls for a larger model is refused before
any memory is taken for one.
"""

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import torch
from safetensors import safe_open
from torch import nn
from transformers import PreTrainedConfig

from blockskim.encoders.config_names import LAYER_LISTS
from blockskim.errors import ModelError
from blockskim.model.config import BlockSkimConfig
from blockskim.model.hub import find_beside, find_file, offline_aware
from blockskim.model.load_errors import loading

logger = logging.getLogger(__name__)

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
CARD = "README.md"
PROVENANCE = (CARD, "recipe.json", "data.json", "average.json")
"""Files beside the weights that tell where a model came from; copies of the model keep them."""

FLOATING = ("F64", "F32", "F16", "BF16")
"""What safetensors calls the number formats in which weights mean what they are; others need a scale beside them."""


@dataclass(frozen=True, slots=True)
class StoredWeight:
    """What the header of a file says of a weight.

    Attributes:
        shape: its shape.
        dtype: its number format, as safetensors calls it.
    """

    shape: tuple[int, ...]
    dtype: str


StoredWeights = Mapping[str, StoredWeight]
"""By name."""

MOST_SHARED_LAYERS = 1000
"""Layers of an encoder in which all may have the same weights, so that these don't tell how many there are."""

PREDICTORS = "predictors"

ROOM = 4
"""A model is not built that has more than so many times the numbers of its files."""


def stored_weights(name: str | Path, hub: Mapping[str, Any], variant: str | None = None) -> StoredWeights:
    """Shapes and formats of the weights of a model directory or hub id; empty where there are no safetensors files.

    Args:
        name: directory or hub id.
        hub: arguments for reading from the hub.
        variant: which of several sets of weights, as transformers calls it.

    Raises:
        ModelError: a file or the index of files is damaged.
    """
    weights, index = WEIGHTS, INDEX
    if variant is not None:
        weights, index = f"model.{variant}.safetensors", f"model.safetensors.index.{variant}.json"
    # transformers reads the index of weights in several files only where there is no single one.
    with loading(name):
        single = find_file(name, weights, hub)
        several = None if single is not None else find_file(name, index, hub)
    if single is not None:
        return _weights_in(single, f"{name}: {weights}")
    if several is None:
        return {}
    stored: dict[str, StoredWeight] = {}
    for file in files_of_index(several, str(several) if Path(name).exists() else f"{name}: {index}"):
        with loading(name, file):
            part = find_file(name, file, hub)
        if part is None:
            raise ModelError(f"{several} names {file!r:.100}, which is not there; the model is not whole")
        stored |= _weights_in(part, f"{name}: {file}")
    return stored


def stored_formats(name: str | Path, hub: Mapping[str, Any]) -> set[str]:
    """The number formats of the weights of a directory or hub id, of ``FLOATING``.

    Raises:
        ModelError: the weights can't be read.
    """
    return {weight.dtype for weight in stored_weights(name, offline_aware(name, hub)).values()} & set(FLOATING)


def provenance(name: str | Path, hub: Mapping[str, Any]) -> dict[str, Path]:
    """The files of ``PROVENANCE`` that a model directory or hub id has, by name.

    Raises:
        ModelError: the hub can't be reached.
    """
    with loading(name):
        found = {file: find_beside(name, file, hub) for file in PROVENANCE}
    return {file: path for file, path in found.items() if path is not None}


def files_of_index(path: Path, where: str) -> list[str]:
    """The files that an index names.

    Args:
        path: of the index.
        where: what it is called in messages.

    Raises:
        ModelError: it names anything but safetensors files beside it.
    """
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
    except Exception as error:
        raise ModelError(f"{where} is no JSON: {error!s:.200}") from error
    files = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(files, dict) or not files:
        raise ModelError(f"{where} names no weights; it must have a weight_map of weights to files")
    for file in files.values():
        if not isinstance(file, str) or not file.endswith(".safetensors"):
            raise ModelError(f"{where} names {file!r:.100}; weights are read from files that end in .safetensors alone")
        if PurePosixPath(file).is_absolute() or PureWindowsPath(file).anchor or ".." in PureWindowsPath(file).parts:
            raise ModelError(f"{where} names {file!r:.100}, which leads out of the model's directory")
    if not isinstance(index.get("metadata"), dict):
        raise ModelError(f"{where} has no metadata; it must be an object, which may be empty")
    return list(dict.fromkeys(files.values()))


def check_layers(name: str | Path, config: PreTrainedConfig, stored: StoredWeights) -> None:
    """Raise ModelError when a config calls for more layers than there are stored weights."""
    settings: Any = config
    layers = getattr(settings, "num_hidden_layers", 0)
    most = max(MOST_SHARED_LAYERS, len(stored)) if hasattr(settings, "num_hidden_groups") else len(stored)
    if isinstance(layers, int) and layers > most:
        raise ModelError(
            f"{name}: config.json: num_hidden_layers is {layers}, but the files have {len(stored)} weights in all"
        )


def check_fit(name: str | Path, build: Callable[[], nn.Module], stored: StoredWeights) -> None:
    """Raise ModelError when a config calls for weights of other shapes, layers or formats than those that are stored.

    Args:
        name: directory or hub id, for messages.
        build: makes the model that the config calls for; called where no memory is taken for weights.
        stored: the stored weights.
    """
    with loading(name, "config.json"), torch.device("meta"):
        model = build()
        wanted = model.state_dict()
    _check_numbers(name, model, wanted, stored)
    for key, value in sorted(wanted.items()):
        shape, found = tuple(value.shape), stored.get(key)
        if found is None:
            continue
        if found.shape != shape:
            raise ModelError(
                f"{name}: the weight {key!r} has the shape {found.shape}, but config.json calls for {shape}"
            )
        if value.is_floating_point() and found.dtype not in FLOATING:
            raise ModelError(
                f"{name}: the weight {key!r} is stored as {found.dtype}, which is no plain number; quantised "
                "checkpoints can't be read"
            )
    # Also of buffers that are not stored, such as the numbers of all positions.
    size = sum(value.numel() for value in (*model.parameters(), *model.buffers()))
    held = sum(_numbers(weight.shape) for weight in stored.values())
    if size > ROOM * held:
        raise ModelError(
            f"{name}: config.json calls for a model of {size:,} numbers, but the weights have {held:,} only"
        )


def _check_numbers(name: str | Path, model: Any, wanted: Iterable[str], stored: Iterable[str]) -> None:
    """Raise ModelError when other layers, or predictors of other layers, are stored than a config calls for.

    transformers would leave out those that are too many, and the model would answer with what is left.

    Args:
        name: directory or hub id, for messages.
        model: that the config calls for.
        wanted: names of its weights.
        stored: names of the weights in the files.
    """
    prefix = getattr(model, "base_model_prefix", "")
    called, found = _numbers_in_lists(wanted, prefix), _numbers_in_lists(stored, prefix)
    for place, numbers in sorted(called.items(), key=lambda item: (item[0] == PREDICTORS, item[0])):
        # Where there are none at all, the weight that is missing is named later on.
        if numbers == found.get(place, numbers):
            continue
        if place == PREDICTORS:
            had, asked = (", ".join(map(str, sorted(one))) for one in (found[place], numbers))
            raise ModelError(
                f"{name}: config.json: skim.layers calls for predictors in layers {asked}, but the weights hold those "
                f"of layers {had}"
            )
        raise ModelError(
            f"{name}: config.json: {_field(model.config, place)} is {len(numbers)}, but the weights hold "
            f"{len(found[place])} layers"
        )


def weights_of_layers(names: Iterable[str], model: nn.Module) -> list[str]:
    """Those of some names of weights that lie in the layers of a model."""
    prefix = getattr(model, "base_model_prefix", "")
    places = tuple(f"{place}." for place in _numbers_in_lists(model.state_dict(), prefix))
    return [name for name in names if name.removeprefix(f"{prefix}.").startswith(places)]


def _numbers_in_lists(names: Iterable[str], prefix: str) -> dict[str, set[int]]:
    """The numbers of the layers and of the predictors among weights, by the place of their list in the model."""
    numbers: dict[str, set[int]] = {}
    for name in names:
        parts = name.removeprefix(f"{prefix}.").split(".")
        for index, part in enumerate(parts[1:], start=1):
            inside = parts[0] != PREDICTORS and parts[index - 1] in LAYER_LISTS
            if part.isdecimal() and (inside or parts[:index] == [PREDICTORS]):
                numbers.setdefault(".".join(parts[:index]), set()).add(int(part))
    return numbers


def _field(config: Any, place: str) -> str:
    """The setting in a config.json that says how long a list of layers is."""
    encoder = config.encoder_config if isinstance(config, BlockSkimConfig) else config
    field = LAYER_LISTS[place.rsplit(".", 1)[-1]]
    # DistilBERT's files have a name of their own for it.
    field = (getattr(encoder, "attribute_map", None) or {}).get(field, field)
    return field if encoder is config else f"encoder_config.{field}"


def check_finite(name: str | Path, weights: Iterable[tuple[str, torch.Tensor]]) -> None:
    """Raise ModelError when there is a weight that is NaN or infinite, and warn of matrices of zeros.

    A file that was being written when the power failed may have its full size and hold nothing.
    """
    empty = []
    for key, value in weights:
        if value.is_floating_point() and value.numel() and value.element_size() > 1 and not value.is_meta:
            # NaN comes through both of them, and this is far cheaper than to look at each number.
            low, high = torch.aminmax(value.detach())
            if not (low.isfinite() and high.isfinite()):
                raise ModelError(
                    f"{name}: the weight {key!r} holds NaN or infinity in {str(value.dtype).removeprefix('torch.')}; "
                    "the file is damaged, or training diverged"
                )
            # Embeddings of token types may be so: RoBERTa-like models don't use them.
            if value.ndim > 1 and not (low or high or "embed" in key):
                empty.append(key)
    if empty:
        logger.warning(
            "%s: the weight %r holds nothing but 0 (%d such); is the file whole?", name, empty[0], len(empty)
        )


def _weights_in(path: Path, where: str) -> dict[str, StoredWeight]:
    try:
        with safe_open(path, framework="pt") as file:
            slices = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118
            return {key: StoredWeight(tuple(part.get_shape()), part.get_dtype()) for key, part in slices.items()}
    except Exception as error:
        raise ModelError(f"{where} is damaged: {error!s:.200}") from error


def _numbers(shape: tuple[int, ...]) -> int:
    count = 1
    for part in shape:
        count *= part
    return count
