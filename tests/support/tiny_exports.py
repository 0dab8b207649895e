"""Tiny models exported once a process, into a folder that goes with it; parts that are built alike are traced once."""

import contextlib
import functools
import tempfile
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import torch

from blockskim.exporting import pieces
from blockskim.exporting.export import export
from blockskim.exporting.exported_model import ExportedModel
from blockskim.method.config import SkimConfig
from blockskim.model.modeling import BlockSkimForQuestionAnswering
from tiny_answerers import new_model
from tiny_models import FAMILIES, new_dense_model, spread_opinions
from tiny_tokenizers import fixed_tokenizer

_FOLDER = tempfile.TemporaryDirectory(prefix="blockskim-exports-")
_TRACES: dict = {}
trace_anew = pieces.trace


@dataclass(frozen=True)
class Export:
    """A model of PyTorch and what it was exported to. Don't change them."""

    model: BlockSkimForQuestionAnswering
    directory: Path
    exported: ExportedModel


def kind_of(family: str) -> str:
    """The kind of tokenizer that has the special tokens of a family."""
    return "wordpiece" if FAMILIES[family].separators == 1 else "bytes"


@functools.cache
def exported(
    family: str = "bert",
    inputs: tuple[str, ...] = ("match",),
    alignment: str = "context",
    block_size: int = 8,
    pruned: tuple[tuple[int, tuple[int, ...]], ...] = (),
    **settings,
) -> Export:
    """A model of a family with trained predictors, exported; ``pruned`` names heads that it lost, by layer."""
    tokenizer = fixed_tokenizer(kind_of(family))
    dense = new_dense_model(family, vocab_size=len(tokenizer))
    torch.manual_seed(1)
    config = SkimConfig(block_size=block_size, alignment=alignment, inputs=inputs, predictor_width=8, **settings)
    model = BlockSkimForQuestionAnswering.from_backbone(dense, config)
    if pruned:
        model.prune_heads(dict(pruned))
    spread_opinions(model, family)
    return export_once(model.eval(), tokenizer)


def export_once(model, tokenizer) -> Export:
    """Export a model into a folder of its own."""
    directory = Path(tempfile.mkdtemp(dir=_FOLDER.name)) / "model"
    with shared_traces():
        export(model, directory, tokenizer)
    return Export(model, directory, ExportedModel(directory, threads=1))


@functools.cache
def exported_answerer(kind: str = "wordpiece") -> Export:
    """The model of ``tiny_answerers.answerer``, with operating points, exported."""
    return export_once(new_model(kind, points={"exact": 0.0, "fast": [0.6, 0.7]}), fixed_tokenizer(kind))


@contextlib.contextmanager
def shared_traces():
    """Trace what is built alike once a process: the exporter takes seconds for a part, however small."""
    with mock.patch.object(pieces, "trace", _trace_once), _one_registry():
        yield


def _trace_once(module, weights, inputs, shapes):
    # What a graph depends on: the modules and their settings, constants, and sizes.
    sizes = [(name, tuple(value.shape)) for name, value in [*weights.items(), *inputs.items()]]
    constants = [(name, value.numpy().tobytes()) for name, value in module.named_buffers() if name not in weights]
    plain = {name: value for name, value in vars(module).items() if isinstance(value, int | float | list | None)}
    key = (repr(module), repr(sizes), repr(constants), repr(plain), id(getattr(module, "adapter", None)))
    if key not in _TRACES:
        _TRACES[key] = trace_anew(module, weights, inputs, shapes)
    return _TRACES[key]


@contextlib.contextmanager
def _one_registry():
    """PyTorch's table of operators, which it makes anew for each trace, made once, where it lies where it did."""
    try:
        from torch.onnx._internal.exporter._registration import ONNXRegistry
    except ImportError:
        yield
        return
    made = functools.cache(ONNXRegistry.from_torchlib)
    with mock.patch.object(ONNXRegistry, "from_torchlib", staticmethod(_REGISTRIES.setdefault("made", made))):
        yield


_REGISTRIES: dict = {}
