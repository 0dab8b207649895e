"""Which model answers, and on what: one value, from whoever is asked for a model to where it is loaded."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChoice:
    """Which model runs, and on what; as ``QuestionAnswerer`` takes them.

    Attributes:
        name: directory or hub id; None for the model that comes with the library, or for one that is given as such.
        device: "auto", "cpu" or "cuda".
        dtype: number format, or "auto".
        threads: of the processor; None for the backend's own, within what the process may use.
        backend: what computes: "torch", "onnx", or "auto", which takes ONNX Runtime for a directory that was exported
            unless there is a GPU or a number format is asked for that only PyTorch has.
    """

    name: str | Path | None = None
    device: str = "auto"
    dtype: str = "auto"
    threads: int | None = None
    backend: str = "auto"
