"""Tiny models exported once a process, into a folder that goes with it; parts that are built alike are traced once.

Importing this skips a test file where the packages for exporting are not installed.
"""

import contextlib
import functools
import tempfile
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import reject

from blockskim.data.packed_inputs import PackedInputs
from blockskim.exporting import pieces
from blockskim.exporting.export import export
from blockskim.exporting.exported_model import ExportedModel
from blockskim.exporting.tracing import OPSET
from blockskim.method.config import SkimConfig
from blockskim.method.skim_trace import Asking
from blockskim.model.modeling import BlockSkimForQuestionAnswering
from blockskim.model.packing import pack_padded
from tiny_answerers import new_model
from tiny_models import FAMILIES, make_batch, new_dense_model, spread_opinions
from tiny_tokenizers import fixed_tokenizer

for package in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(package)

_FOLDER = tempfile.TemporaryDirectory(prefix="blockskim-exports-")
_TRACES: dict = {}
_trace_anew = pieces.trace
NEAR = 1e-5
"""Two engines differ by less; a probability so near to a threshold may fall to either side."""


@dataclass(frozen=True)
class Export:
    """A model of PyTorch and what it was exported to. Don't change them."""

    model: BlockSkimForQuestionAnswering
    directory: Path
    exported: ExportedModel


def exported(
    family: str = "bert",
    inputs: tuple[str, ...] = ("match",),
    alignment: str = "context",
    block_size: int = 8,
    layers: tuple[int, ...] | None = None,
    pruned: tuple[tuple[int, tuple[int, ...]], ...] = (),
) -> Export:
    """A model of a family with trained predictors, exported; ``pruned`` names heads that it lost, by layer."""
    return _exported(family, inputs, alignment, block_size, layers, pruned)


@functools.cache
def _exported(family, inputs, alignment, block_size, layers, pruned) -> Export:
    tokenizer = fixed_tokenizer("wordpiece" if FAMILIES[family].separators == 1 else "bytes")
    dense = new_dense_model(family, vocab_size=len(tokenizer))
    torch.manual_seed(1)
    config = SkimConfig(block_size, alignment, inputs, layers, predictor_width=8)
    model = BlockSkimForQuestionAnswering.from_backbone(dense, config)
    if pruned:
        model.prune_heads(dict(pruned))
    spread_opinions(model, family)
    return export_model(model.eval(), tokenizer)


@functools.cache
def exported_answerer(kind: str = "wordpiece") -> Export:
    """The model of ``tiny_answerers.answerer``, with operating points, exported."""
    return export_model(new_model(kind, points={"exact": 0.0, "fast": [0.6, 0.7]}), fixed_tokenizer(kind))


def export_model(model, tokenizer) -> Export:
    """Export a model into a folder of its own."""
    directory = Path(tempfile.mkdtemp(dir=_FOLDER.name)) / "model"
    with shared_traces():
        export(model, directory, tokenizer)
    return Export(model, directory, ExportedModel(directory, threads=1))


@contextlib.contextmanager
def shared_traces():
    """Trace what is built alike once a process: the exporter takes seconds for a part, however small."""
    with mock.patch.object(pieces, "trace", _trace_once), _one_table_of_operators():
        yield


def _trace_once(module, weights, inputs, shapes):
    # What a graph depends on: the modules and their settings, constants, and sizes.
    sizes = [(name, tuple(value.shape)) for name, value in [*weights.items(), *inputs.items()]]
    constants = [(name, value.numpy().tobytes()) for name, value in module.named_buffers() if name not in weights]
    plain = {name: value for name, value in vars(module).items() if isinstance(value, int | float | list | None)}
    family = module.adapter.model_types if hasattr(module, "adapter") else None
    key = (repr(module), repr(sizes), repr(constants), repr(plain), family)
    if key not in _TRACES:
        _TRACES[key] = _trace_anew(module, weights, inputs, shapes)
    return _TRACES[key]


@functools.cache
def _table_of_operators(opset_version: int):
    from torch.onnx._internal.exporter._registration import ONNXRegistry

    return ONNXRegistry.from_torchlib(opset_version=opset_version)


@contextlib.contextmanager
def _one_table_of_operators():
    """Keep the table that PyTorch's exporter makes anew for each trace, which is half of its work."""
    try:
        from torch.onnx._internal.exporter._registration import ONNXRegistry

        _table_of_operators(opset_version=OPSET)
        patched = mock.patch.object(ONNXRegistry, "from_torchlib", staticmethod(_table_of_operators))
    except (ImportError, AttributeError, TypeError):
        patched = contextlib.nullcontext()
    with patched:
        yield


def packed(family: str, sizes, seed: int = 0, documents=None) -> PackedInputs:
    """Windows of random tokens: tokens of question and context of each; each is a document unless those are given."""
    batch = make_batch(family, list(sizes), seed)
    return pack_padded(batch.inputs, None if documents is None else torch.tensor(list(documents)))[0]


def check_same_scores(export: Export, inputs: PackedInputs, thresholds=None, score_all_layers: bool = False):
    """Compare what both engines make of windows; gives it, as PyTorch has it."""
    expected = export.model.score_windows(inputs, thresholds, Asking(score_all_layers))
    for threshold, probabilities in zip(expected.trace.thresholds, expected.trace.probabilities, strict=True):
        if (np.abs(probabilities - threshold) < NEAR).any():
            reject()
    check_equal(export.exported.score_windows(inputs, thresholds, Asking(score_all_layers)), expected)
    return expected


def check_equal(found, expected, logits: float = 1e-4, probabilities: float = NEAR):
    """Compare two scores of windows, up to how exact engines are."""
    trace, other = found.trace, expected.trace
    assert (trace.layers, trace.thresholds) == (other.layers, other.thresholds)
    for name in ("kept", "flops", "dense_flops", "tokens"):
        assert np.array_equal(getattr(trace, name), getattr(other, name)), name
    for name in ("starts", "lengths", "droppable"):
        assert np.array_equal(getattr(trace.layout, name), getattr(other.layout, name)), name
    np.testing.assert_allclose(trace.probabilities, other.probabilities, rtol=0, atol=probabilities)
    for name in ("start_logits", "end_logits"):
        left, right = getattr(found, name), getattr(expected, name)
        assert left.dtype == np.float32
        # It takes infinities for equal where both have them.
        np.testing.assert_allclose(left, right, rtol=0, atol=logits, err_msg=name)
