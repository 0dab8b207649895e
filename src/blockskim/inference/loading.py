"""From a directory, a hub id or nothing at all to a model that is ready to answer, and its tokenizer."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoTokenizer, PreTrainedConfig, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from blockskim.data.tokens import pair_template
from blockskim.errors import ConfigError, ModelError
from blockskim.inference.backend import LoadedBackend
from blockskim.inference.devices import choose_device, choose_dtype, set_threads
from blockskim.inference.shipped import shipped_model
from blockskim.model.checkpoints import check_encoder, check_vocabulary, has_qa_head, read_config
from blockskim.model.config import BlockSkimConfig
from blockskim.model.hub import check_hub_arguments, local_folder, offline_aware
from blockskim.model.load_errors import ONE_AT_A_TIME, one_line
from blockskim.model.modeling import BlockSkimForQuestionAnswering

# Any of these makes a tokenizer; which one depends on the family.
TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model")


@dataclass(frozen=True, slots=True)
class LoadedModel(LoadedBackend):
    """A model in evaluation mode on its device, and what belongs to it.

    Attributes:
        model: the model.
        tokenizer: its tokenizer.
        name: directory or hub id that it came from.
    """

    model: BlockSkimForQuestionAnswering
    tokenizer: PreTrainedTokenizerBase


def load(
    model: str | Path | None = None,
    device: str = "auto",
    dtype: str = "auto",
    threads: int | None = None,
    **hub: Any,
) -> LoadedModel:
    """Load a Block-Skim model, or any QA checkpoint of a supported family. Threads that load do so one at a time.

    Args:
        model: a directory or a hub id; None for the model that comes with the library.
        device: "auto" (a GPU where there is one), "cpu" or "cuda".
        dtype: "auto" (bfloat16 where the machine has it in hardware), "float32", "bfloat16" or "float16".
        threads: number of processor threads for this process, as ``set_threads`` takes it.
        **hub: for reading from the hub, as transformers has them: ``revision``, ``subfolder``, ``token``,
            ``cache_dir``, ``local_files_only`` and ``force_download``; ``subfolder`` holds for a directory, too.

    Raises:
        ModelError: there is no such model, it can't answer questions, something of it is missing or damaged, or its
            tokenizer is another model's.
        ConfigError: there is no such device or number format, or an argument is unknown or of a wrong kind.

    Examples:
        >>> from blockskim import load
        >>> loaded = load("my-model", device="cpu")
        >>> loaded.model.skim_config.block_size
        16
    """
    check_hub_arguments(hub)
    set_threads(threads)
    place = choose_device(device)
    number_format = choose_dtype(dtype, place)
    name = shipped_model() if model is None else model
    with ONE_AT_A_TIME, _quiet_transformers(), torch.inference_mode(False):
        loaded: Any = _load_model(name, number_format, hub)
        loaded = loaded.to(place)
        tokenizer = load_tokenizer(name, **hub)
    check_vocabulary(loaded.encoder, tokenizer, name)
    return LoadedModel(loaded.eval(), tokenizer, str(name), hub)


def network_inside(model: Any) -> Any:
    """The Block-Skim model inside of what torch.compile, DataParallel and the like made of it; anything else as it is.

    Raises:
        ConfigError: it is a model, but no Block-Skim model.
    """
    while isinstance(model, nn.Module) and not isinstance(model, BlockSkimForQuestionAnswering):
        # Compiled models and those that are spread over devices hold the model under one of these names.
        inner = model._modules.get("_orig_mod", model._modules.get("module"))
        if inner is None:
            raise ConfigError(
                f"the model is a {type(model).__name__}; it must be a BlockSkimForQuestionAnswering, which "
                "BlockSkimForQuestionAnswering.from_backbone makes of a model of transformers"
            )
        model = inner
    return model


def load_tokenizer(name: str | Path, **hub: Any) -> PreTrainedTokenizerBase:
    """Load the fast tokenizer of a model directory or hub id; keyword arguments are for reading from the hub.

    Raises:
        ModelError: there is none, or it can't tell which characters a token covers.
    """
    directory = local_folder(name, hub)
    if directory is not None and not any(any(directory.glob(pattern)) for pattern in TOKENIZER_FILES):
        raise ModelError(f"{directory} has no tokenizer.json; save the tokenizer beside the model")
    try:
        given = {**offline_aware(name, hub), "trust_remote_code": False}
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(name, **given)
        pair_template(tokenizer)
    except ConfigError as error:
        raise ModelError(f"{name}: {error}") from error
    # A damaged tokenizer file raises what its parser raises: a bare Exception, too, and where it panics not even that.
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        spoiled = _spoiled_file(directory)
        raise ModelError(f"the tokenizer of {name} can't be loaded: {spoiled}{one_line(error)}") from error
    return tokenizer


def _spoiled_file(directory: Path | None) -> str:
    """Name of a tokenizer's file that is no JSON, with a colon; empty where there is none such."""
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"):
        path = None if directory is None else directory / name
        if path is not None and path.is_file():
            try:
                if isinstance(json.loads(path.read_text(encoding="utf-8")), dict):
                    continue
            except (ValueError, RecursionError, OSError):
                pass
            return f"{name}: "
    return ""


def _load_model(name: str | Path, dtype: torch.dtype, hub: dict[str, Any]) -> BlockSkimForQuestionAnswering:
    config: PreTrainedConfig = read_config(name, **hub)
    model: BlockSkimForQuestionAnswering
    if isinstance(config, BlockSkimConfig):
        model = BlockSkimForQuestionAnswering.from_pretrained(name, dtype=dtype, **hub)
        return model
    check_encoder(name, config)
    if not has_qa_head(config):
        raise ModelError(
            f"{name} is an encoder without a question-answering head; train one on it: blockskim train --base {name}"
        )
    # The predictors are new and know nothing; the model knows that, and never asks them.
    return BlockSkimForQuestionAnswering.from_backbone(name, dtype=dtype, **hub)


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Keep transformers and the hub from telling of each weight and retry; what is wrong in the end is raised."""
    hub = logging.getLogger("huggingface_hub")
    hub_level = hub.level
    level = transformers_logging.get_verbosity()
    bar = transformers_logging.is_progress_bar_enabled()
    hub.setLevel(logging.ERROR)
    transformers_logging.set_verbosity(max(level, logging.ERROR))
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        hub.setLevel(hub_level)
        transformers_logging.set_verbosity(level)
        if bar:
            transformers_logging.enable_progress_bar()
