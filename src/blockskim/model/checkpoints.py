"""Reading model directories and hub ids: what can't be read is told of on one line.

transformers raises all kinds of errors for a damaged checkpoint, and fills in random weights where some are missing.
Here each such case is a ModelError that names the directory and the cause.
"""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from torch import nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForQuestionAnswering,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from blockskim.encoders import adapter_for
from blockskim.errors import ConfigError, ModelError
from blockskim.model.config import BlockSkimConfig

HUB_ARGUMENTS = ("cache_dir", "force_download", "local_files_only", "revision", "subfolder", "token")
"""What transformers takes for reading from the hub."""

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
ONE_AT_A_TIME = threading.RLock()
"""Held while transformers makes or loads a model: meanwhile it changes settings of the whole process, such as PyTorch's
default number format, and two threads that put them back in the wrong order would leave them changed."""

LONGEST_MESSAGE = 300
"""Characters of what transformers has to say; some of its messages list every model that it knows."""

_SPEAK_FOR_THEMSELVES = (OSError, ValueError, RuntimeError)
"""Errors whose messages are sentences; those of others mean little without the name of the error."""


def check_loadable(name: str | Path) -> None:
    """Raise an error when a local directory lacks a config or safetensors weights.

    Raises:
        ModelError: it does, or there is no such directory.
        ConfigError: the name is none.
    """
    _check_name(name)
    directory = Path(name)
    if not directory.exists():
        if directory.is_absolute() or str(name).startswith((".", "~")) or str(name).count("/") != 1:
            raise ModelError(f"{name}: no such model directory")
        return
    if directory.is_file():
        raise ModelError(f"{name} is a file; a model is a directory with config.json and model.safetensors")
    if not (directory / "config.json").is_file():
        raise ModelError(f"{name} has no config.json; it is no model directory")
    if not any(directory.glob("*.safetensors")):
        pickles = sorted(path.name for path in directory.iterdir() if path.suffix in (".bin", ".pt", ".pth", ".ckpt"))
        why = f"only {pickles[0]}, a pickle file, which is not read as it can run code" if pickles else "no weights"
        raise ModelError(f"{name} has {why}; convert the weights to model.safetensors")
    # transformers reads the index of weights in several files only where there is no single one.
    if not (directory / WEIGHTS).is_file() and (directory / INDEX).is_file():
        _check_index(directory / INDEX)


def _check_name(name: object) -> None:
    if isinstance(name, str | Path) and str(name).strip():
        return
    found = type(name).__name__ if isinstance(name, nn.Module) else f"{name!r:.80}"
    raise ConfigError(
        f"model is {found}; it must be a directory, a hub id, a Block-Skim model where one is taken, or None for the "
        "model that comes with the library"
    )


def _check_index(path: Path) -> None:
    """Raise ModelError when an index names anything but safetensors files that lie beside it."""
    with loading(path):
        index = json.loads(path.read_text(encoding="utf-8"))
    files = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(files, dict) or not files:
        raise ModelError(f"{path} names no weights; it must have a weight_map of weights to files")
    for file in dict.fromkeys(files.values()) if all(isinstance(file, str) for file in files.values()) else [None]:
        if file is None or not file.endswith(".safetensors"):
            raise ModelError(f"{path} names {file!r:.100}; weights are read from files that end in .safetensors alone")
        if PurePosixPath(file).is_absolute() or PureWindowsPath(file).anchor or ".." in PureWindowsPath(file).parts:
            raise ModelError(f"{path} names {file!r:.100}, which leads out of the model's directory")
        if not (path.parent / file).is_file():
            raise ModelError(f"{path} names {file!r:.100}, which is not there; the model is not whole")


def read_config(name: str | Path, **hub: Any) -> PreTrainedConfig:
    """Read the config of a model directory or hub id; keyword arguments are for reading from the hub.

    Raises:
        ModelError: there is no such model, or its config can't be read.
    """
    check_loadable(name)
    with loading(name):
        config: PreTrainedConfig = AutoConfig.from_pretrained(name, **hub)
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


def load_source(backbone: str | Path, kwargs: Mapping[str, Any]) -> PreTrainedModel:
    """Load a checkpoint of transformers with its QA head where it has one; ``kwargs`` are for ``from_pretrained``.

    Raises:
        ModelError: there is no such model, it has no safetensors weights, lacks some of them, or its family is not
            supported.
    """
    config = read_config(backbone, **hub_arguments(kwargs))
    adapter_for(config.model_type)
    loader: Any = AutoModelForQuestionAnswering if has_qa_head(config) else AutoModel
    source: PreTrainedModel
    source, _ = load_weights(loader.from_pretrained, backbone, **kwargs)
    return source


def hub_arguments(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the arguments of ``from_pretrained`` that are for reading from the hub."""
    return {name: kwargs[name] for name in HUB_ARGUMENTS if name in kwargs}


def load_weights(
    from_pretrained: Callable[..., Any], name: str | Path, *args: Any, **kwargs: Any
) -> tuple[Any, dict[str, Any]]:
    """Load a model from safetensors, all of whose weights are there and of the right shape.

    Args:
        from_pretrained: of a class of transformers.
        name: directory or hub id.
        *args: for ``from_pretrained``.
        **kwargs: for ``from_pretrained``; with ``ignore_mismatched_sizes``, weights of another shape are made anew.

    Returns:
        The model, and what transformers tells of the loading.

    Raises:
        ModelError: the model can't be loaded, or a weight is missing or of another shape than config.json calls for.
    """
    lenient = kwargs.get("ignore_mismatched_sizes", False)
    # With these, transformers names the weights that don't fit instead of pointing to its log.
    asked = {"use_safetensors": True, "output_loading_info": True, "ignore_mismatched_sizes": True}
    with loading(name):
        model, info = from_pretrained(name, *args, **{**kwargs, **asked})
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
    return model, info


def check_vocabulary(encoder: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, name: str | Path) -> None:
    """Refuse a tokenizer some of whose ids an encoder has no embedding for.

    Args:
        encoder: the encoder.
        tokenizer: the tokenizer that is to go with it.
        name: directory or hub id, for the message.

    Raises:
        ModelError: there are such ids.
    """
    table: Any = encoder.get_input_embeddings()
    last = max(tokenizer.get_vocab().values(), default=-1)
    if last >= table.num_embeddings:
        raise ModelError(
            f"{name}: the tokenizer has ids up to {last}, but the model has embeddings for {table.num_embeddings} "
            "tokens only; they don't belong together"
        )


@contextmanager
def loading(name: str | Path) -> Iterator[None]:
    """Turn whatever goes wrong with a model's files into a ModelError on one line.

    transformers is called inside. Damaged files make it raise nearly anything: AttributeError, ZeroDivisionError,
    IndexError, AssertionError, ImportError, RecursionError and errors of its own.

    Raises:
        ModelError: anything was raised; the message names the model.
    """
    try:
        with ONE_AT_A_TIME:
            yield
    except ConfigError as error:
        raise ModelError(f"{name}: config.json: {one_line(error)}") from error
    except Exception as error:
        if Path(name).exists():
            raise ModelError(f"{name}: {one_line(error)}") from error
        raise ModelError(
            f"{name}: there is no such directory, and as a hub id it can't be loaded: {one_line(error)}"
        ) from error


def one_line(error: BaseException) -> str:
    """The first line of what an error says, cut to a readable length; a line that ends with a colon and the next."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = ""
    for line in lines:
        text = f"{text} {line}".strip()
        if not line.endswith(":"):
            break
    if not isinstance(error, _SPEAK_FOR_THEMSELVES) or not text:
        text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return text if len(text) <= LONGEST_MESSAGE else f"{text[: LONGEST_MESSAGE - 1]}…"


def base_name(source: str | Path) -> str:
    """Name of a model without the folders it lies in, for files that are published; a hub id stays whole."""
    path = Path(source)
    return path.resolve().name if path.exists() else str(source)
