"""The values of a config.json, checked before transformers uses any of them.

transformers makes lists as long as such a file says (``num_labels``, ``num_hidden_layers``) and raises nearly anything
for a wrong value. Here the file, the field and its value are named.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig
from transformers.activations import ACT2FN

from blockskim.checks import is_number, is_whole
from blockskim.encoders import config_names
from blockskim.errors import ModelError
from blockskim.model.load_errors import one_line

LARGEST_FILE = 16 * 2**20
"""Bytes of a config.json. Those of models have some thousands."""

MOST_PARTS = 10_000
"""Layers, or groups of layers. It keeps transformers from filling the memory; the weights tell the true number."""

MOST_LABELS = 100_000

_RATES = (*config_names.HIDDEN_DROPOUTS, *config_names.ATTENTION_DROPOUTS, *config_names.HEAD_DROPOUTS)


def read_stored_config(path: Path, name: str | Path) -> dict[str, Any]:
    """Read a config.json and check what can be told without knowing the model.

    Args:
        path: the file.
        name: directory or hub id that it belongs to, for messages.

    Raises:
        ModelError: it is no JSON object, or one of its values is impossible.
    """
    where = f"{name}: config.json"
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise ModelError(f"{where} has {path.stat().st_size} bytes; a config has some thousands")
        values = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant, parse_float=_finite)
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(f"{where} can't be read: {one_line(error)}") from error
    if not isinstance(values, dict):
        raise ModelError(f"{where} holds {_short(values)}; it must hold an object with the settings of a model")
    _check_values(where, values)
    if isinstance(values.get("encoder_config"), dict):
        _check_values(f"{where}: encoder_config", values["encoder_config"])
    return values


def guilty_field(values: Mapping[str, Any]) -> str | None:
    """The field without which a config that can't be made could be; None where there is no such one."""
    for name, value in values.items():
        rest = {key: other for key, other in values.items() if key != name}
        if name == "model_type" or not _can_be_made(rest):
            continue
        inner = guilty_field(value) if name == "encoder_config" and isinstance(value, dict) else None
        return name if inner is None else f"{name}.{inner}"
    return None


def _can_be_made(values: Mapping[str, Any]) -> bool:
    try:
        AutoConfig.for_model(**values)
    except Exception:
        return False
    return True


def _check_values(where: str, values: Mapping[str, Any]) -> None:
    """Raise ModelError for a value that no model has. What is null is left to transformers' defaults."""
    given = {name: value for name, value in values.items() if value is not None}

    def wrong(name: str, must: str) -> ModelError:
        return ModelError(f"{where}: {name} is {_short(given[name])}; it must be {must}")

    for name in (name for name in (*config_names.LAYER_COUNTS, *config_names.SIZES) if name in given):
        if not is_whole(given[name]) or given[name] < 1:
            raise wrong(name, "a whole number of at least 1")
    for name in (name for name in (*config_names.LAYER_COUNTS, "num_labels") if name in given):
        most = MOST_LABELS if name == "num_labels" else MOST_PARTS
        if not is_whole(given[name]) or not 0 <= given[name] <= most:
            raise wrong(name, f"a whole number of at most {most}")
    for name in (name for name in config_names.EPSILONS if name in given):
        if not is_number(given[name]) or not 0 < given[name] <= 1:
            raise wrong(name, "a small number above 0")
    for name in (name for name in _RATES if name in given):
        if not is_number(given[name]) or not 0 <= given[name] <= 1:
            raise wrong(name, "a number from 0 to 1")
    for name in (name for name in config_names.ACTIVATIONS if name in given):
        if not isinstance(given[name], str) or given[name] not in ACT2FN:
            raise wrong(name, "the name of an activation that transformers knows, as 'gelu'")
    if not isinstance(given.get("model_type", ""), str):
        raise wrong("model_type", "a name, as 'bert'")
    for name in (name for name in ("id2label", "label2id") if name in given):
        if not isinstance(given[name], dict):
            raise wrong(name, "an object")
    for name in (name for name in ("dtype", "torch_dtype") if name in given):
        if given[name] != "auto" and not _is_dtype(given[name]):
            raise wrong(name, "a number format, as 'float32'")
    padding, words = given.get("pad_token_id"), given.get("vocab_size")
    if is_whole(padding) and is_whole(words) and padding >= words:
        raise wrong("pad_token_id", f"below vocab_size, which is {words}")
    if "quantization_config" in given:
        raise ModelError(
            f"{where}: quantization_config: quantised checkpoints can't be read; name one with plain weights"
        )
    if "transformers_weights" in given:
        raise ModelError(f"{where}: transformers_weights: weights are read from model.safetensors alone")


def _is_dtype(value: object) -> bool:
    found = getattr(torch, value, None) if isinstance(value, str) else None
    return isinstance(found, torch.dtype) and found.is_floating_point


def _refuse_constant(text: str) -> float:
    raise ValueError(f"{text} is no number of JSON")


def _finite(text: str) -> float:
    if not math.isfinite(float(text)):
        raise ValueError(f"{text[:40]} is too large a number")
    return float(text)


def _short(value: object) -> str:
    """A value for a message, however long it is or however deep."""
    try:
        text = repr(value)
    except (RecursionError, ValueError):
        return f"a {type(value).__name__}"
    return text if len(text) <= 60 else f"{text[:59]}…"
