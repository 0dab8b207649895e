"""What an answerer answers with: a model that is loaded or given, and the copy of a tokenizer that it reads with.

PyTorch and transformers are imported only where a model of theirs is loaded or given.
"""

import logging
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from blockskim.answering.backend_choice import check_backend, choose_exported, wants_onnx
from blockskim.answering.model_choice import ModelChoice
from blockskim.data.tokens import FrozenTokenizer, freeze_tokenizer
from blockskim.errors import ConfigError
from blockskim.exporting.exported_model import ExportedModel, load_exported
from blockskim.extras import torch_needed
from blockskim.inference.backend import Backend, LoadedBackend
from blockskim.model.hub import check_hub_arguments

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from blockskim.model.modeling import BlockSkimForQuestionAnswering

logger = logging.getLogger(__name__)

Tokenizer: TypeAlias = "PreTrainedTokenizerBase | FrozenTokenizer"


def load_backend(choice: ModelChoice, hub: Mapping[str, Any] | None = None) -> LoadedBackend:
    """Load a model by its name.

    Args:
        choice: which model, and on what it runs.
        hub: arguments for reading from the hub.

    Raises:
        ModelError: the model can't be loaded.
        ConfigError: an argument is impossible or does not fit the model, or PyTorch is needed and not installed.
    """
    exported = choose_exported(choice, hub)
    if exported is not None:
        return load_exported(exported, "int8" if choice.dtype == "int8" else "float32", choice.threads)
    with torch_needed():
        from blockskim.inference.loading import load
    return load(choice.name, choice.device, choice.dtype, choice.threads, **(hub or {}))


def take_backend(
    model: object, tokenizer: "Tokenizer | None", choice: ModelChoice, hub: Mapping[str, Any]
) -> LoadedBackend:
    """Take a model of PyTorch, or another backend, that a caller gives with its tokenizer.

    Args:
        model: what is given.
        tokenizer: its tokenizer, without which it is refused.
        choice: on what it is asked to run. It stays where it is and keeps its number format, so "auto" is right.
        hub: arguments for reading from the hub; unknown ones are refused, and nothing is read.

    Raises:
        ConfigError: it is no Block-Skim model, something else is asked of it, or it has no tokenizer.
    """
    if isinstance(model, Backend) and not is_module(model):
        return _given_backend(model, tokenizer, choice, hub)
    return _given_model(model, tokenizer, choice, hub)


def frozen(tokenizer: object) -> FrozenTokenizer:
    """A copy of a tokenizer to read with; one that is a copy already is taken as it is.

    Raises:
        ConfigError: it is no tokenizer, or none to read with.
    """
    # Where transformers was not imported, nobody can have a tokenizer of its.
    transformers: Any = sys.modules.get("transformers")
    known = (FrozenTokenizer,) if transformers is None else (FrozenTokenizer, transformers.PreTrainedTokenizerBase)
    if not isinstance(tokenizer, known):
        raise ConfigError(
            f"tokenizer is {tokenizer!r:.80}; it must be a tokenizer of transformers, as load(…).tokenizer"
        )
    return freeze_tokenizer(tokenizer)


def check_tokenizer(loaded: LoadedBackend, tokenizer: Tokenizer) -> None:
    """Refuse a caller's tokenizer that has ids for which a model has no embeddings.

    Raises:
        ModelError: it has such ids.
    """
    if isinstance(loaded.model, ExportedModel):
        loaded.model.check_vocabulary(frozen(tokenizer))
    if is_module(loaded.model):
        from blockskim.model.checkpoints import check_vocabulary

        network: Any = loaded.model
        check_vocabulary(network.encoder, tokenizer, loaded.name)


def is_module(model: object) -> bool:
    """Whether something is a module of PyTorch, which was imported then."""
    torch: Any = sys.modules.get("torch")
    return torch is not None and isinstance(model, torch.nn.Module)


def _given_model(
    model: object, tokenizer: "Tokenizer | None", choice: ModelChoice, hub: Mapping[str, Any]
) -> LoadedBackend:
    """A caller's model of PyTorch, which stays where and as it is but for training mode.

    Raises:
        ConfigError: as ``take_backend`` raises it.
    """
    if wants_onnx(choice):
        raise ConfigError("the backend onnx runs directories that blockskim export made, and no model that is given")
    with torch_needed():
        from blockskim.inference.devices import set_threads
        from blockskim.inference.loading import LoadedModel, network_inside
    network = network_inside(model)
    check_hub_arguments(hub)
    if tokenizer is None:
        raise ConfigError("a model that is given as such needs its tokenizer, too")
    set_threads(choice.threads)
    _check_place(network, choice.device, choice.dtype)
    return LoadedModel(_evaluating(network), tokenizer, "the model")  # type: ignore[arg-type] # a copy does, too


def _given_backend(
    backend: Backend, tokenizer: "Tokenizer | None", choice: ModelChoice, hub: Mapping[str, Any]
) -> LoadedBackend:
    """A caller's backend, which computes where and as it was made to.

    Raises:
        ConfigError: as ``take_backend`` raises it.
    """
    check_backend(choice.backend, backend)
    check_hub_arguments(hub)
    if tokenizer is None:
        raise ConfigError("a model that is given as such needs its tokenizer, too")
    for name, value, own in (
        ("device", choice.device, "auto"),
        ("dtype", choice.dtype, backend.number_format),
        ("threads", choice.threads, None),
    ):
        if value not in ("auto", own):
            raise ConfigError(f"{name} is {value!r:.80}, but the model that is given was made with its own")
    return LoadedBackend(backend, tokenizer, "the model")


def _evaluating(model: "BlockSkimForQuestionAnswering") -> "BlockSkimForQuestionAnswering":
    """A caller's model in evaluation mode; it is told when that changes the model."""
    if any(module.training for module in model.modules()):
        logger.warning("the model was in training mode; it is in evaluation mode now, as answers need it")
        model.eval()
    return model


def _check_place(model: "BlockSkimForQuestionAnswering", device: str, dtype: str) -> None:
    """Refuse a device or number format that a caller's model does not have.

    Raises:
        ConfigError: it has another one, or there is none of this name.
    """
    from blockskim.inference.devices import choose_device, choose_dtype

    place = choose_device(device)
    if device != "auto" and place.type != model.device.type:
        raise ConfigError(f"device is {str(device)!r}, but the model that is given is on {model.device}; move it first")
    number_format = choose_dtype(dtype, model.device)
    if dtype != "auto" and number_format != model.dtype:
        raise ConfigError(f"dtype is {dtype!r}, but the model that is given is in {model.dtype}; convert it first")
