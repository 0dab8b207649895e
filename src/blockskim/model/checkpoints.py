"""Reading model directories and hub ids: what can't be read is told of on one line.

transformers raises all kinds of errors for a damaged checkpoint, and fills in random weights where some are missing.
Here each such case is a ModelError that names the directory and the cause.
"""

import logging
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

# The Auto classes of models are looked up where they are used: importing them imports our own model right after (see
# ``auto_classes``), which needs this module whole.
import torch
import transformers
from torch import nn
from transformers import (
    CONFIG_MAPPING,
    AutoConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from blockskim.data.tokens import FrozenTokenizer
from blockskim.encoders import adapter_for
from blockskim.encoders.position_table import first_position
from blockskim.errors import ConfigError, ModelError
from blockskim.model.config import BlockSkimConfig
from blockskim.model.hub import find_file, hub_arguments, local_folder, may_be_hub_id, offline_aware
from blockskim.model.load_errors import loading
from blockskim.model.stored_config import guilty_field, read_stored_config
from blockskim.model.stored_weights import (
    INDEX,
    WEIGHTS,
    check_finite,
    check_fit,
    check_layers,
    stored_weights,
    weights_of_layers,
)

logger = logging.getLogger(__name__)

ADAPTER_FILE = "adapter_config.json"

LONGEST_PATH, LONGEST_NAME = 4000, 255
"""Characters of a path and bytes of a name in it; file systems refuse longer ones."""


def check_loadable(name: str | Path, **hub: Any) -> None:
    """Raise an error when a local directory lacks a config or safetensors weights, or a name can't be one.

    Keyword arguments are for reading from the hub; of these ``subfolder`` holds for a directory, too.

    Raises:
        ModelError: it does, or there is no such directory.
        ConfigError: the name is none.
    """
    _check_name(name)
    directory = local_folder(name, hub)
    if directory is None:
        if Path(name).is_file():
            raise ModelError(f"{name} is a file; a model is a directory with config.json and model.safetensors")
        if not may_be_hub_id(str(name)):
            raise ModelError(f"{str(name)[:200]}: no such model directory, and no hub id either")
        return
    if not directory.is_dir():
        raise ModelError(f"{directory}: no such model directory")
    if not (directory / "config.json").is_file():
        raise ModelError(f"{directory} has no config.json; it is no model directory")
    if not any(directory.glob("*.safetensors")):
        pickles = sorted(path.name for path in directory.iterdir() if path.suffix in (".bin", ".pt", ".pth", ".ckpt"))
        why = f"only {pickles[0]}, a pickle file, which is not read as it can run code" if pickles else "no weights"
        raise ModelError(f"{directory} has {why}; convert the weights to model.safetensors")


def _check_name(name: object) -> None:
    if isinstance(name, str | Path) and str(name).strip() and "\0" not in str(name):
        if len(str(name)) > LONGEST_PATH or any(len(os.fsencode(part)) > LONGEST_NAME for part in Path(name).parts):
            raise ModelError(f"{str(name)[:60]}…: no such model directory; the name has {len(str(name))} characters")
        return
    found = type(name).__name__ if isinstance(name, nn.Module) else f"{name!r:.80}"
    raise ConfigError(
        f"model is {found}; it must be a directory, a hub id, a Block-Skim model where one is taken, or None for the "
        "model that comes with the library"
    )


def read_config(name: str | Path, **hub: Any) -> PreTrainedConfig:
    """Read the config of a model directory or hub id; keyword arguments are for reading from the hub.

    Raises:
        ModelError: there is no such model, or its config can't be read.
    """
    check_loadable(name, **hub)
    hub = offline_aware(name, hub)
    with loading(name):
        path = find_file(name, "config.json", hub, required=True)
    if path is None:
        raise ModelError(f"{name} has no config.json; it is no model")
    values = read_stored_config(path, name)
    if "auto_map" in values and str(values.get("model_type")) not in CONFIG_MAPPING:
        raise ModelError(
            f"{name}: config.json calls for code of its own (auto_map), which is never run; use a model of a family "
            "that transformers knows"
        )
    with loading(name, "config.json"):
        try:
            config: PreTrainedConfig = AutoConfig.from_pretrained(name, **hub, trust_remote_code=False)
        except Exception as error:
            field = None if any(key in str(error) for key in values) else guilty_field(values)
            if field is None:
                raise
            with loading(name, f"config.json: {field}"):
                raise
    return config


def is_block_skim(name: str | Path, **hub: Any) -> bool:
    """Whether a model directory or hub id holds a Block-Skim model (and not another transformers checkpoint).

    Keyword arguments are for reading from the hub.

    Raises:
        ModelError: there is no such model.
    """
    return isinstance(read_config(name, **hub), BlockSkimConfig)


def has_qa_head(config: PreTrainedConfig) -> bool:
    """Whether the checkpoint of a config was saved with a question-answering head."""
    names = config.architectures
    return isinstance(names, list | tuple) and any("QuestionAnswering" in str(name) for name in names)


def check_encoder(name: str | Path, config: PreTrainedConfig) -> None:
    """Raise ModelError, naming the model, when its encoder is of a family or a kind that is not supported.

    Args:
        name: directory or hub id, for the message.
        config: of the model, or of the encoder alone.
    """
    encoder_config = _encoder_config(config)
    try:
        adapter = adapter_for(encoder_config.model_type)
        if adapter.check is not None:
            adapter.check(encoder_config)
    except ModelError as error:
        raise ModelError(f"{name}: {error}") from error


def _encoder_config(config: PreTrainedConfig) -> PreTrainedConfig:
    return config.encoder_config if isinstance(config, BlockSkimConfig) else config


def load_source(backbone: str | Path, kwargs: Mapping[str, Any]) -> PreTrainedModel:
    """Load a checkpoint of transformers with its QA head where it has one; ``kwargs`` are for ``from_pretrained``.

    Raises:
        ModelError: there is no such model, it has no safetensors weights, lacks some of them, or its family is not
            supported.
    """
    config = read_config(backbone, **hub_arguments(kwargs))
    loader: Any = transformers.AutoModelForQuestionAnswering if has_qa_head(config) else transformers.AutoModel
    source: PreTrainedModel
    source, info = load_weights(loader.from_pretrained, backbone, config, lambda: loader.from_config(config), **kwargs)
    head = adapter_for(config.model_type).qa_head.outputs
    unread = sorted(key for key in info["unexpected_keys"] if key.startswith(f"{head}."))
    if unread:
        logger.warning(
            "%s: the weights hold %r, but config.json names no question-answering model in its architectures; a new "
            "head takes its place",
            backbone,
            unread[0],
        )
    return source


def load_weights(
    from_pretrained: Callable[..., Any],
    name: str | Path,
    config: PreTrainedConfig,
    build: Callable[[], nn.Module],
    /,
    *args: Any,
    **kwargs: Any,
) -> tuple[Any, dict[str, Any]]:
    """Load a model from safetensors, all of whose weights are there, finite and of the right shape.

    Args:
        from_pretrained: of a class of transformers.
        name: directory or hub id.
        config: of the model.
        build: makes the model of that config with new weights.
        *args: for ``from_pretrained``.
        **kwargs: for ``from_pretrained``; with ``ignore_mismatched_sizes``, weights of another shape are made anew.

    Returns:
        The model, and what transformers tells of the loading.

    Raises:
        ModelError: the model can't be loaded, or a weight is missing, not finite, or of another shape than config.json
            calls for; there are weights of more layers or other parts, or an adapter.
    """
    check_encoder(name, config)
    lenient = kwargs.get("ignore_mismatched_sizes", False)
    hub = offline_aware(name, hub_arguments(kwargs))
    with loading(name):
        adapter = find_file(name, ADAPTER_FILE, hub)
    if adapter is not None:
        raise ModelError(
            f"{name} has an {ADAPTER_FILE}: adapters, such as those of LoRA, are not read, and without them the model "
            "would answer as if it had never learned; merge them into the weights (merge_and_unload of PEFT)"
        )
    stored = stored_weights(name, hub, kwargs.get("variant"))
    if not stored and local_folder(name, hub) is not None:
        raise ModelError(f"{name} has no {WEIGHTS} and no {INDEX} with weights in it")
    if stored:
        check_layers(name, _encoder_config(config), stored)
        if not lenient:
            check_fit(name, build, stored)
    # With these, transformers names the weights that don't fit instead of pointing to its log.
    asked = {"use_safetensors": True, "output_loading_info": True, "ignore_mismatched_sizes": True}
    # Without an answer transformers asks the person at the terminal whether to run code of the model's own.
    asked["trust_remote_code"] = False
    # Weights that are made in inference mode can't be trained, and PyTorch keeps no account of their changes.
    with loading(name), torch.inference_mode(False):
        model, info = from_pretrained(name, *args, **{**kwargs, **hub, **asked})
    for weight, found, wanted in [] if lenient else sorted(info["mismatched_keys"]):
        raise ModelError(
            f"{name}: the weight {weight!r} has the shape {tuple(found)}, but config.json calls for {tuple(wanted)}"
        )
    # Many encoders were saved without the pooling layer, which question answering never uses.
    missing = sorted(key for key in info["missing_keys"] if "pooler" not in key.split("."))
    if missing:
        raise ModelError(
            f"{name}: the weights lack {missing[0]!r} ({len(missing)} missing), which config.json calls for"
        )
    _check_unused(name, model, info["unexpected_keys"])
    check_finite(name, model.state_dict().items())
    return model, info


def _check_unused(name: str | Path, model: Any, unused: Iterable[str]) -> None:
    """Refuse weights that a Block-Skim model has no place for, and warn of those of a plain encoder's layers.

    A checkpoint of transformers may well have more than is used here: other heads, for other tasks.

    Args:
        name: directory or hub id, for messages.
        model: that was loaded.
        unused: names of the weights in the files that no part of it has.
    """
    keys = sorted(unused)
    if isinstance(model.config, BlockSkimConfig) and keys:
        raise ModelError(
            f"{name}: the weights hold {keys[0]!r} ({len(keys)} such), for which a model of config.json has no place"
        )
    inside = weights_of_layers(keys, model)
    if inside:
        logger.warning(
            "%s: the weights hold %r (%d such), which this kind of encoder does not use; its answers may be others "
            "than those that it was trained to give",
            name,
            inside[0],
            len(inside),
        )


def check_vocabulary(
    encoder: PreTrainedModel, tokenizer: PreTrainedTokenizerBase | FrozenTokenizer, name: str | Path
) -> None:
    """Refuse a tokenizer some of whose ids an encoder has no embedding for; warn of one with another padding token.

    Args:
        encoder: the encoder.
        tokenizer: the tokenizer that is to go with it.
        name: directory or hub id, for the message.

    Raises:
        ModelError: there are such ids.
    """
    table: Any = encoder.get_input_embeddings()
    if isinstance(tokenizer, FrozenTokenizer):
        vocabulary, padding = tokenizer.backend.get_vocab(), tokenizer.template.pad_id
    else:
        vocabulary, padding = tokenizer.get_vocab(), tokenizer.pad_token_id
    ids = set(vocabulary.values())
    last = max(ids, default=-1)
    if last >= table.num_embeddings:
        raise ModelError(
            f"{name}: the tokenizer has ids up to {last}, but the model has embeddings for {table.num_embeddings} "
            "tokens only; they don't belong together"
        )
    if len(ids) < table.num_embeddings // 2:
        logger.warning(
            "%s: the tokenizer has %d tokens, but the model has embeddings for %d; is its vocabulary whole?",
            name,
            len(ids),
            table.num_embeddings,
        )
    # RoBERTa-like models count positions from their padding token, so a wrong number moves all of them.
    origin = first_position(encoder) - 1
    if origin >= 0 and padding not in (None, origin):
        logger.warning(
            "%s: pad_token_id is %d in config.json, from which the model counts positions, but the tokenizer pads with "
            "%d; if the model was trained with that one, its answers are wrong",
            name,
            origin,
            padding,
        )


def base_name(source: str | Path) -> str:
    """Name of a model without the folders it lies in, for files that are published; a hub id stays whole."""
    path = Path(source)
    return path.resolve().name if path.exists() else str(source)
