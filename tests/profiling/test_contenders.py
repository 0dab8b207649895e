"""What skims, in PyTorch and exported: both read the same inputs, which are packed before the clock runs."""

import importlib.util

import numpy as np
import pytest
import torch

from blockskim.data.packed_inputs import PackedInputs
from blockskim.errors import ConfigError
from blockskim.exporting.export import export
from blockskim.exporting.exported_model import ExportedModel
from blockskim.method.cost import dense_flops
from blockskim.profiling import contenders
from blockskim.profiling.baselines import make_baseline
from blockskim.profiling.contenders import exported_bytes, exported_contender, skim_contender
from blockskim.profiling.settings import BenchmarkSettings
from blockskim.profiling.suite import Subject, make_contenders
from blockskim.profiling.workloads import random_workload
from contender_results import as_batch, result_of
from tiny_exports import exported, shared_traces
from tiny_models import make_batch, skim_model
from tiny_tokenizers import fixed_tokenizer

for package in ("onnx", "onnxruntime", "onnxscript"):
    pytest.importorskip(package)
# A model is exported, which takes long.
pytestmark = pytest.mark.slow

SIZES = [(4, 30), (2, 41), (6, 12)]
# Where the padding is, and how much of it there is beside that of the longest sample.
every_padding = pytest.mark.parametrize("padding", [{}, {"padding": 5}, {"left": True}, {"left": True, "padding": 3}])


@pytest.fixture(scope="module")
def pair():
    """A model and what it was exported to."""
    return exported("bert")


@every_padding
def test_the_forward_pass_gives_the_logits_of_skim_wherever_the_padding_is(padding):
    model = skim_model("bert")
    made = make_batch("bert", SIZES, **padding)
    expected = model.skim(**made.inputs, thresholds=0.5)
    contender = skim_contender("a", model, 0.5)
    start, end = contender.run(contender.prepare(as_batch(made)))
    torch.testing.assert_close(start, expected.start_logits, atol=1e-6, rtol=0)
    torch.testing.assert_close(end, expected.end_logits, atol=1e-6, rtol=0)


@every_padding
@pytest.mark.parametrize("threshold", [0.0, 0.5])
def test_an_exported_model_gives_what_the_forward_pass_gives(pair, padding, threshold):
    made = make_batch("bert", SIZES, **padding)
    (start, end), work = result_of(exported_contender("a", pair.exported, threshold), made)
    (own_start, own_end), own_work = result_of(skim_contender("b", pair.model, threshold), made)
    torch.testing.assert_close(start, own_start, atol=1e-5, rtol=0)
    torch.testing.assert_close(end, own_end, atol=1e-5, rtol=0)
    assert work == own_work
    assert (work.flops < dense_flops(pair.model.cost, made.real.sum(-1).numpy()).sum()) == (threshold > 0)


def test_inputs_are_packed_before_the_clock_runs(pair, monkeypatch):
    made = make_batch("bert", SIZES)
    for contender in (skim_contender("a", pair.model), exported_contender("b", pair.exported)):
        inputs = contender.prepare(as_batch(made))
        assert isinstance(inputs["packed"], PackedInputs)
        with monkeypatch.context() as patch:
            patch.setattr(contenders, "pack_padded", None)
            contender.run(inputs)


def test_windows_of_a_document_keep_a_block_together(pair):
    made = make_batch("bert", SIZES)
    batch = as_batch(made)
    together = contenders.Batch(batch.inputs, torch.zeros(3, dtype=torch.long), np.arange(3))
    for contender in (skim_contender("a", pair.model, 1.0), exported_contender("b", pair.exported, 1.0)):
        assert contender.work(contender.prepare(batch)).kept[1] == 3
        assert contender.work(contender.prepare(together)).kept[1] == 1


def test_the_exported_graph_with_nothing_dropped_is_a_baseline(pair):
    made = make_batch("bert", SIZES)
    (start, _), work = result_of(make_baseline("onnx-packed", pair.model, pair.model, exported=pair.exported), made)
    (dense, _), dense_work = result_of(make_baseline("packed", pair.model, pair.model), made)
    torch.testing.assert_close(start, dense, atol=1e-5, rtol=0)
    assert (work.flops, work.tokens) == (dense_work.flops, dense_work.tokens)
    with pytest.raises(ConfigError, match="onnx-packed is for a benchmark of an exported model"):
        make_baseline("onnx-packed", pair.model, pair.model)


def test_what_is_measured_is_the_exported_model_where_there_is_one(pair):
    subject = Subject(pair.model, random_workload("tiny", pair.model, 40, 0), 0.5, False, pair.exported)
    own, packed, graph = make_contenders(subject, BenchmarkSettings(("packed", "onnx-packed")), torch.float32)
    assert [one.name for one in (own, packed, graph)] == ["blockskim", "packed", "onnx-packed"]
    assert [one.memory_seen for one in (own, packed, graph)] == [False, True, False]
    assert not any(one.trained for one in (own, packed, graph))
    assert own.layers == packed.layers == 3


def test_weights_are_those_that_the_graph_reads(pair, tmp_path, monkeypatch):
    weights = (pair.directory / "model.safetensors").stat().st_size
    size = exported_bytes(pair.exported)
    assert size > 0.8 * weights
    with shared_traces():
        export(pair.model, tmp_path / "int8", fixed_tokenizer("wordpiece"), int8=True)
    quantised = ExportedModel(tmp_path / "int8", "int8", threads=1)
    assert exported_contender("a", quantised).dtype == "int8"
    assert exported_bytes(quantised) - (tmp_path / "int8" / "model-int8.onnx").stat().st_size < weights
    # Without the package that reads graphs it is the size of the files.
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert exported_bytes(pair.exported) == weights + (pair.directory / "model.onnx").stat().st_size
