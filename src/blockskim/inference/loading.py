"""From a directory, a hub id or nothing at all to a model that is ready to answer, and its tokenizer."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, PreTrainedConfig, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from blockskim.data.tokens import pair_template
from blockskim.encoders import adapter_for
from blockskim.errors import ConfigError, ModelError
from blockskim.inference.devices import choose_device, choose_dtype, set_threads
from blockskim.model.checkpoints import ONE_AT_A_TIME, check_vocabulary, has_qa_head, one_line, read_config
from blockskim.model.config import BlockSkimConfig
from blockskim.model.modeling import BlockSkimForQuestionAnswering

# Any of these makes a tokenizer; which one depends on the family.
TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model")


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model in evaluation mode on its device, and what belongs to it.

    Attributes:
        model: the model.
        tokenizer: its tokenizer.
        name: directory or hub id that it came from.
    """

    model: BlockSkimForQuestionAnswering
    tokenizer: PreTrainedTokenizerBase
    name: str

    @property
    def skims(self) -> bool:
        """Whether it has trained predictors; False for a plain QA checkpoint, which reads everything."""
        return self.model.has_trained_predictors


def load(
    model: str | Path | None = None, device: str = "auto", dtype: str = "auto", threads: int | None = None
) -> LoadedModel:
    """Load a Block-Skim model, or any QA checkpoint of a supported family. Threads that load do so one at a time.

    Args:
        model: a directory or a hub id; None for the model that comes with the library.
        device: "auto" (a GPU where there is one), "cpu" or "cuda".
        dtype: "auto" (bfloat16 where the machine has it in hardware), "float32", "bfloat16" or "float16".
        threads: number of processor threads for this process; None leaves it as it is.

    Raises:
        ModelError: there is no such model, it can't answer questions, something of it is missing or damaged, or its
            tokenizer is another model's.
        ConfigError: there is no such device or number format, or an argument is of a wrong kind.
    """
    set_threads(threads)
    place = choose_device(device)
    number_format = choose_dtype(dtype, place)
    name = shipped_model() if model is None else model
    with ONE_AT_A_TIME, _quiet_transformers():
        loaded: Any = _load_model(name, number_format)
        tokenizer = load_tokenizer(name)
    check_vocabulary(loaded.encoder, tokenizer, name)
    return LoadedModel(loaded.to(place).eval(), tokenizer, str(name))


def shipped_model() -> Path:
    """Directory of the model that comes with the library.

    Raises:
        ModelError: this installation has none.
    """
    directory = Path(str(resources.files("blockskim") / "default_model"))
    if not (directory / "config.json").is_file():
        raise ModelError("this installation of blockskim comes without a model; name one: a directory or a hub id")
    return directory


def load_tokenizer(name: str | Path) -> PreTrainedTokenizerBase:
    """Load the fast tokenizer of a model directory or hub id.

    Raises:
        ModelError: there is none, or it can't tell which characters a token covers.
    """
    directory = Path(name)
    if directory.is_dir() and not any(any(directory.glob(pattern)) for pattern in TOKENIZER_FILES):
        raise ModelError(f"{name} has no tokenizer.json; save the tokenizer beside the model")
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(name)
    # A damaged tokenizer file raises what its parser raises: a bare Exception, too.
    except Exception as error:
        raise ModelError(f"the tokenizer of {name} can't be loaded: {one_line(error)}") from error
    try:
        pair_template(tokenizer)
    except ConfigError as error:
        raise ModelError(f"{name}: {error}") from error
    return tokenizer


def _load_model(name: str | Path, dtype: torch.dtype) -> BlockSkimForQuestionAnswering:
    config: PreTrainedConfig = read_config(name)
    model: BlockSkimForQuestionAnswering
    if isinstance(config, BlockSkimConfig):
        model = BlockSkimForQuestionAnswering.from_pretrained(name, dtype=dtype)
        return model
    adapter_for(config.model_type)
    if not has_qa_head(config):
        raise ModelError(
            f"{name} is an encoder without a question-answering head; train one on it: blockskim train --base {name}"
        )
    # The predictors are new and know nothing; the model knows that, and never asks them.
    return BlockSkimForQuestionAnswering.from_backbone(name, dtype=dtype)


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
