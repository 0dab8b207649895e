"""From a directory, a hub id or nothing at all to a model that is ready to answer, and its tokenizer."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import AutoConfig, AutoModelForQuestionAnswering, AutoTokenizer, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from blockskim.data.tokens import pair_template
from blockskim.data.windows import WindowSettings
from blockskim.encoders import adapter_for
from blockskim.errors import ConfigError, ModelError
from blockskim.inference.devices import choose_device, choose_dtype
from blockskim.inference.runner import Thresholds
from blockskim.method.config import layer_thresholds
from blockskim.model.config import BlockSkimConfig
from blockskim.model.modeling import BlockSkimForQuestionAnswering, check_loadable

# Any of these makes a tokenizer; which one depends on the family.
TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model")


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model in evaluation mode on its device, and what belongs to it.

    Attributes:
        model: the model.
        tokenizer: its tokenizer.
        name: directory or hub id that it came from.
        skims: whether it has trained predictors; False for a plain QA checkpoint, which reads everything.
    """

    model: BlockSkimForQuestionAnswering
    tokenizer: PreTrainedTokenizerBase
    name: str
    skims: bool = True


def load(
    model: str | Path | None = None, device: str = "auto", dtype: str = "auto", threads: int | None = None
) -> LoadedModel:
    """Load a Block-Skim model, or any QA checkpoint of a supported family.

    Args:
        model: a directory or a hub id; None for the model that comes with the library.
        device: "auto" (a GPU where there is one), "cpu" or "cuda".
        dtype: "auto" (bfloat16 where the machine has it in hardware), "float32", "bfloat16" or "float16".
        threads: number of processor threads for this process; None leaves it as it is.

    Raises:
        ModelError: there is no such model, it can't answer questions, or something of it is missing or damaged.
        ConfigError: there is no such device or number format.
    """
    if threads is not None:
        if threads < 1:
            raise ConfigError(f"threads is {threads}; it must be at least 1")
        torch.set_num_threads(threads)
    place = choose_device(device)
    number_format = choose_dtype(dtype, place)
    name = shipped_model() if model is None else model
    with _quiet_transformers():
        skims = _config(name).model_type == BlockSkimConfig.model_type
        loaded: Any = _load_block_skim(name, number_format) if skims else _load_plain(name, number_format)
        tokenizer = load_tokenizer(name)
    return LoadedModel(loaded.to(place).eval(), tokenizer, str(name), skims)


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
        raise ModelError(f"the tokenizer of {name} can't be loaded: {_first_line(error)}") from error
    try:
        pair_template(tokenizer)
    except ConfigError as error:
        raise ModelError(f"{name}: {error}") from error
    return tokenizer


def position_limit(model: BlockSkimForQuestionAnswering) -> int | None:
    """The most tokens that a model has positions for; None when its positions have no end."""
    embeddings: Any = getattr(model.encoder, "embeddings", None)
    table = getattr(embeddings, "position_embeddings", None)
    if not isinstance(table, nn.Embedding):
        return None
    # RoBERTa-like models number positions from behind the padding id.
    padding = getattr(embeddings, "padding_idx", None)
    return table.num_embeddings - (0 if padding is None else padding + 1)


def check_threshold_for(loaded: LoadedModel, threshold: float | Sequence[float] | None) -> None:
    """Refuse to drop blocks by predictors that were never trained.

    Raises:
        ConfigError: the threshold is impossible, or above 0 for a plain QA checkpoint.
    """
    if threshold is not None and any(layer_thresholds(threshold, loaded.model.skim_layers)) and not loaded.skims:
        raise ConfigError(f"a threshold needs a Block-Skim model; {loaded.name} is a plain one, without predictors")


def thresholds_for(
    loaded: LoadedModel, threshold: float | Sequence[float] | None = None, point: str | None = None
) -> Thresholds:
    """What to skim with: given thresholds, or those of an operating point; None for the model's own.

    Raises:
        ConfigError: both are given, the threshold is impossible or the point unknown, or the model can't skim.
    """
    check_threshold_for(loaded, threshold)
    if point is None:
        return threshold
    if threshold is not None:
        raise ConfigError("a threshold and an operating point can't go together; give one of them")
    if not loaded.skims:
        raise ConfigError(f"an operating point needs a Block-Skim model; {loaded.name} is a plain one")
    return loaded.model.skim_config.point(point)


def window_settings(
    model: BlockSkimForQuestionAnswering,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int = 384,
    doc_stride: int = 128,
    max_question_length: int = 64,
) -> WindowSettings:
    """Settings of windows that fit a model.

    A question takes ``max_question_length`` tokens at most, but no more than half of a window; windows overlap by
    ``doc_stride`` tokens, but by no more than half of the context that surely fits beside a question. So short windows
    need no other settings.

    Raises:
        ConfigError: the model has no positions for such long windows, or they leave no room for a context.
    """
    least: dict[str, tuple[Any, int]] = {
        "max_length": (max_length, 1),
        "doc_stride": (doc_stride, 0),
        "max_question_length": (max_question_length, 1),
    }
    for name, (value, lowest) in least.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < lowest:
            raise ConfigError(f"{name} is {value!r}; it must be a whole number of at least {lowest}")
    limit = position_limit(model)
    if limit is not None and max_length > limit:
        raise ConfigError(f"windows of {max_length} tokens are too long: the model reads at most {limit}")
    special = pair_template(tokenizer).special_tokens
    question = max(1, min(max_question_length, (max_length - special) // 2))
    stride = max(0, min(doc_stride, (max_length - special - question) // 2))
    settings = WindowSettings(max_length, stride, question)
    settings.check(special)
    return settings


def _config(name: str | Path) -> Any:
    check_loadable(name)
    try:
        return AutoConfig.from_pretrained(name)
    except ConfigError as error:
        raise ModelError(f"{name}: config.json: {error}") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(_why(name, error)) from error


def _load_block_skim(name: str | Path, dtype: torch.dtype) -> BlockSkimForQuestionAnswering:
    try:
        model: BlockSkimForQuestionAnswering = BlockSkimForQuestionAnswering.from_pretrained(name, dtype=dtype)
    except ModelError as error:
        raise ModelError(_why(name, error)) from error
    return model


def _load_plain(name: str | Path, dtype: torch.dtype) -> BlockSkimForQuestionAnswering:
    config = _config(name)
    adapter_for(config.model_type)
    if not any("QuestionAnswering" in architecture for architecture in config.architectures or []):
        raise ModelError(
            f"{name} is an encoder without a question-answering head; train one on it: blockskim train --base {name}"
        )
    source = _load_weights(AutoModelForQuestionAnswering, name, dtype)
    # The predictors are new and know nothing, so they are never asked: all thresholds stay 0.
    return BlockSkimForQuestionAnswering.from_backbone(source)


def _load_weights(loader: Any, name: str | Path, dtype: torch.dtype) -> Any:
    """Load a model whose weights are all there; transformers would fill in random ones."""
    try:
        model, info = loader.from_pretrained(name, dtype=dtype, use_safetensors=True, output_loading_info=True)
    except ConfigError as error:
        raise ModelError(f"{name}: config.json: {error}") from error
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        raise ModelError(_why(name, error)) from error
    missing = sorted(info["missing_keys"])
    if missing:
        raise ModelError(
            f"{name}: the weights lack {missing[0]!r} ({len(missing)} missing), which config.json calls for"
        )
    return model


def _why(name: str | Path, error: BaseException) -> str:
    if isinstance(error, ModelError):
        return str(error)
    text = _first_line(error)
    if Path(name).exists():
        return f"{name}: {text}"
    return f"{name}: there is no such directory, and as a hub id it can't be loaded: {text}"


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


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
