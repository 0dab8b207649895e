"""What a method that computes answers runs in, whatever its caller has set for training."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import torch
from transformers import PreTrainedModel

Model = TypeVar("Model", bound=PreTrainedModel)
Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def for_inference(
    method: Callable[Concatenate[Model, Arguments], Result],
) -> Callable[Concatenate[Model, Arguments], Result]:
    """Make a method of a model one for inference: without gradients and autocast, and left alone by ``torch.compile``.

    Its kernels choose their number formats themselves, and what is kept is decided in NumPy, which can't be traced.
    """

    @wraps(method)
    def call(model: Model, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        with without_autocast(model.device), torch.inference_mode():
            return method(model, *args, **kwargs)

    left_alone: Callable[Concatenate[Model, Arguments], Result] = torch.compiler.disable(call)
    return left_alone


def without_autocast(device: torch.device) -> AbstractContextManager[Any]:
    """A context in which a caller's ``torch.autocast`` on a device has no effect."""
    # Weights that are nowhere have no autocast; that nothing can be computed with them is told of elsewhere.
    return nullcontext() if device.type == "meta" else torch.autocast(device.type, enabled=False)
