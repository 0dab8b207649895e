"""What a benchmark measures in place of PyTorch: the model as it was exported, or as it is exported now."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from blockskim.cli import options
from blockskim.cli.benchmark_options import BenchmarkBackend, OnData, OnShape
from blockskim.cli.option_groups import Computing
from blockskim.cli.session import hide_foreign_progress, model_choice, model_name

if TYPE_CHECKING:
    from blockskim.profiling.benchmark import Progress
    from blockskim.profiling.suite import Subject


def choose_backend(
    backend: BenchmarkBackend, on_shape: OnShape, model: str | None, device: options.Device, dtype: options.Dtype
) -> BenchmarkBackend:
    """What skims, where that is left open: what the other commands would take, ONNX Runtime or PyTorch.

    Raises:
        ConfigError: the number format is one that the model does not have.
        ModelError: int8 is asked for, and the model was not exported.
    """
    if backend is not BenchmarkBackend.AUTO:
        return backend
    if on_shape.shape is not None:
        return BenchmarkBackend.TORCH
    from blockskim.answering.backend_choice import choose_exported

    exported = choose_exported(model_choice(Computing(model, device, dtype)))
    return BenchmarkBackend.TORCH if exported is None else BenchmarkBackend.ONNX


@contextmanager
def measured_by(
    subject: "Subject",
    backend: BenchmarkBackend,
    model: str | None,
    on_data: OnData,
    threads: int | None,
    progress: "Progress",
) -> "Iterator[Subject]":
    """The subject of a benchmark with what is to be measured; what is exported for it is gone afterwards.

    Args:
        subject: with the model of PyTorch.
        backend: what skims.
        model: directory or hub id of the model; None for the one that comes with the library.
        on_data: with the threshold or operating point that is asked for; an int8 graph may have points of its own.
        threads: windows that run side by side; as many as PyTorch has threads when None.
        progress: called with what is going on, and with 0.

    Raises:
        ConfigError: the model can't be exported.
    """
    if backend is BenchmarkBackend.TORCH:
        yield subject
        return
    import torch

    from blockskim.exporting.export import export
    from blockskim.exporting.exported_model import ExportedModel
    from blockskim.exporting.manifest import GRAPH, INT8_GRAPH
    from blockskim.inference.operating_point import choose_thresholds

    int8 = backend is BenchmarkBackend.ONNX_INT8
    number_format, graph = ("int8", INT8_GRAPH) if int8 else ("float32", GRAPH)
    name = model_name(Computing(model))
    directory = Path(name)
    with tempfile.TemporaryDirectory(prefix="blockskim-") as folder:
        if not (directory / graph).is_file():
            progress(f"exporting {name} into a temporary folder", 0)
            hide_foreign_progress()
            directory = export(name, Path(folder) / "exported", int8=int8).directory
        exported = ExportedModel(directory, number_format, threads or torch.get_num_threads())
        thresholds = choose_thresholds(exported, threshold=on_data.threshold, point=on_data.point, name=name)
        yield replace(subject, exported=exported, thresholds=thresholds)
