"""Smaller models made of some layers of a larger one, to be taught by it.

So begins DistilBERT (Sanh et al., 2019), with every second layer of its teacher.
"""

import copy
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from blockskim.atomic import check_new, new_directory
from blockskim.checks import check_count, check_items, check_whole
from blockskim.encoders import adapter_for
from blockskim.errors import ConfigError, ModelError
from blockskim.inference.loading import load_tokenizer
from blockskim.model.checkpoints import base_name, check_loadable, is_block_skim, load_source
from blockskim.model.data_record import DATA_FILE, DataRecord, data_records, records_text
from blockskim.model.head_removal import shares_weights
from blockskim.model.modeling import BlockSkimForQuestionAnswering
from blockskim.model.transformers_model import transformers_model
from blockskim.surgery.shapes import different_parameter

STUDENT_FILE = "student.json"
LEAST = 2
"""Layers that a model needs so that there is one to skim in: the last has no predictor."""


def make_student(
    base: str | Path, output: str | Path, layers: Sequence[int] | None = None, every: int | None = None
) -> tuple[int, ...]:
    """Write a checkpoint with some of a model's layers, and its embeddings and QA head.

    It is one of transformers, without predictors: what those of the larger model know of a layer does not hold for a
    layer that stands somewhere else.

    Args:
        base: directory or hub id of an encoder, a QA model or a Block-Skim model of a supported family.
        output: directory to make; it appears whole or not at all.
        layers: numbers of the layers, from 1.
        every: take every so many layers instead, the last one included.

    Returns:
        Numbers of the layers that were taken.

    Raises:
        ConfigError: there are no such layers, fewer than two, or something at ``output`` already.
        ModelError: there is no such model, or its layers can't be taken one by one.
    """
    check_new(Path(output))
    check_loadable(base)
    tokenizer = load_tokenizer(base)
    model = _plain(base)
    chosen = _take_layers(model, layers, every, str(base))
    origin = {"base": base_name(base), "layers": list(chosen)}
    _write(model, tokenizer, origin, data_records(base), Path(output))
    return chosen


def choose_layers(count: int, layers: Sequence[int] | None = None, every: int | None = None) -> tuple[int, ...]:
    """The layers of a student of a model with ``count`` layers.

    Raises:
        ConfigError: not exactly one of ``layers`` and ``every`` is given, or they don't fit the model.
    """
    if (layers is None) == (every is None):
        raise ConfigError("say which layers the student gets: layers or every, one of them")
    if every is not None:
        check_count("every", every)
        # Counted from the end: the QA head was trained on what the last layer gives.
        chosen = tuple(range(count, 0, -every))[::-1]
    else:
        assert layers is not None
        chosen = tuple(check_whole("layers", layer, "has") for layer in check_items("layers", layers))
        for layer in chosen:
            if not 1 <= layer <= count:
                raise ConfigError(f"there is no layer {layer}; the model has layers 1 to {count}")
        if list(chosen) != sorted(set(chosen)):
            raise ConfigError(f"layers is {list(chosen)}; it must rise and name each layer once")
    if len(chosen) < LEAST:
        raise ConfigError(f"a student of {len(chosen)} of {count} layers is too small; it needs at least {LEAST}")
    return chosen


def _plain(base: str | Path) -> PreTrainedModel:
    """A checkpoint as a model of transformers, with its QA head if it has one."""
    if not is_block_skim(base):
        return load_source(base, {})
    model = BlockSkimForQuestionAnswering.from_pretrained(base)
    if model.pruned_heads:
        raise ModelError(
            f"{base} has lost attention heads, which a checkpoint of transformers can't express; make the student "
            "first and prune it then"
        )
    return transformers_model(model)


def _take_layers(model: PreTrainedModel, layers: Sequence[int] | None, every: int | None, name: str) -> tuple[int, ...]:
    """Leave a model only some of its layers; returns their numbers."""
    encoder: Any = model.base_model
    parts = list(adapter_for(model.config.model_type).layers(encoder))
    if shares_weights(parts):
        raise ModelError(
            f"the layers of {name} share their weights ({model.config.model_type}): a student of some of them would "
            "be as large, and each would do the work of several"
        )
    chosen = choose_layers(len(parts), layers, every)
    lists = [module for module in encoder.modules() if isinstance(module, nn.ModuleList) and list(module) == parts]
    if not lists:
        raise ModelError(f"the layers of {name} don't stand in one list, so some can't be taken out")
    for index in reversed(range(len(parts))):
        if index + 1 not in chosen:
            del lists[0][index]
    for config in (model.config, encoder.config):
        config.num_hidden_layers = len(chosen)
        # Families whose layers differ in kind.
        kinds = getattr(config, "layer_types", None)
        if isinstance(kinds, list | tuple) and len(kinds) == len(parts):
            config.layer_types = [kinds[layer - 1] for layer in chosen]
    _check_rebuilt(model, chosen, name)
    return chosen


def _check_rebuilt(model: PreTrainedModel, chosen: Sequence[int], name: str) -> None:
    """Refuse layers that transformers builds differently at their new depth: it would load them without a part."""
    with torch.device("meta"):
        rebuilt = type(model)(copy.deepcopy(model.config))
    different = different_parameter(model, rebuilt)
    if different is not None:
        raise ModelError(
            f"layers {', '.join(map(str, chosen))} of {name} can't stand in new places: {different} differs there; "
            "take layer 1 along"
        )


def _write(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    origin: dict[str, Any],
    records: Sequence[DataRecord],
    output: Path,
) -> None:
    with new_directory(output) as folder:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        (folder / STUDENT_FILE).write_text(json.dumps(origin) + "\n", encoding="utf-8")
        if records:
            (folder / DATA_FILE).write_text(records_text(records), encoding="utf-8")
