"""What a benchmark measures in place of PyTorch: the model as it was exported, or as it is exported now."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from blockskim.cli.benchmark_options import BenchmarkBackend
from blockskim.cli.session import hide_foreign_progress

if TYPE_CHECKING:
    from blockskim.profiling.suite import Subject


@contextmanager
def measured_by(
    subject: "Subject", backend: BenchmarkBackend, model: str | None, threads: int | None
) -> "Iterator[Subject]":
    """The subject of a benchmark with what is to be measured; what is exported for it is gone afterwards.

    Args:
        subject: with the model of PyTorch.
        backend: what skims.
        model: directory or hub id of the model; None for the one that comes with the library.
        threads: windows that run side by side; as many as PyTorch has threads when None.

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
    from blockskim.inference.shipped import shipped_model

    int8 = backend is BenchmarkBackend.ONNX_INT8
    number_format, graph = ("int8", INT8_GRAPH) if int8 else ("float32", GRAPH)
    directory = shipped_model() if model is None else Path(model)
    with tempfile.TemporaryDirectory(prefix="blockskim-") as folder:
        if not (directory / graph).is_file():
            hide_foreign_progress()
            directory = export(model, Path(folder) / "exported", int8=int8).directory
        yield replace(subject, exported=ExportedModel(directory, number_format, threads or torch.get_num_threads()))
