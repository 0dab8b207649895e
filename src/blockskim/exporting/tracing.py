"""A module as an ONNX graph that takes the module's weights as inputs: what PyTorch's exporter makes, and no more.

So no graph depends on the values of weights, and layers that are built alike can share one. Where the exporter knows
weights, it leaves out biases that are zero, merges weights that are equal, and folds batch norm into convolutions.
"""

import logging
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from blockskim.model.for_inference import without_autocast

OPSET = 20

_ONE_AT_A_TIME = threading.Lock()
"""What the process logs is changed meanwhile, and PyTorch's exporter has settings of its own for the whole process."""


def trace(
    module: nn.Module,
    weights: Mapping[str, Tensor],
    inputs: Mapping[str, Tensor],
    shapes: Mapping[str, Mapping[int, str]],
) -> Any:
    """Export a module.

    Args:
        module: in evaluation mode.
        weights: its parameters and buffers that the graph is to take, by their names in it.
        inputs: that it is traced with, by the names of the arguments of ``forward``.
        shapes: names of the dimensions that may have any size, per input.

    Returns:
        An ``onnx.GraphProto``, whose inputs are called as the weights and then as the inputs.
    """
    dims = {name: torch.export.Dim(name) for axes in shapes.values() for name in axes.values()}
    dynamic = {name: {axis: dims[dim] for axis, dim in shapes[name].items()} for name in inputs}
    # The exporter shows progress with names of its own as soon as one of these is trainable.
    values = {name: value.detach() for name, value in weights.items()}
    with quiet(), without_autocast(torch.device("cpu")), torch.no_grad():
        program: Any = torch.onnx.export(
            _WithWeights(module).eval(),
            kwargs={"weights": values, "inputs": dict(inputs)},
            input_names=[*weights, *inputs],
            dynamic_shapes={"weights": dict.fromkeys(weights), "inputs": dynamic},
            opset_version=OPSET,
            dynamo=True,
            optimize=True,
            verbose=False,
        )
    return program.model_proto.graph


class _WithWeights(nn.Module):
    """A module whose weights are arguments."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        # Hidden in a tuple, or PyTorch would take its weights for those of this module.
        self._hidden = (module.eval(),)

    def forward(self, weights: dict[str, Tensor], inputs: dict[str, Tensor]) -> Any:
        return functional_call(self._hidden[0], weights, (), dict(inputs))


@contextmanager
def quiet() -> Iterator[None]:
    """Hide what the exporter reports of its work, as warnings and through the root logger; one thread at a time."""
    with _ONE_AT_A_TIME, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        disabled = logging.root.manager.disable
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(disabled)
