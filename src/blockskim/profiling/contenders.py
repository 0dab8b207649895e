"""What takes part in a benchmark: a model, how its inputs are prepared, and what a run of it costs."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from blockskim.data.windows import WindowSet
from blockskim.evaluation.cost import kept_shares
from blockskim.exporting.exported_model import ExportedModel
from blockskim.inference.runner import Thresholds, WindowBatch, run_windows
from blockskim.method.skim_trace import WindowScores
from blockskim.model.modeling import BlockSkimForQuestionAnswering
from blockskim.model.outputs import SkimOutput
from blockskim.model.packing import pack_padded
from blockskim.profiling.batch_aligned import aligned_flops, skim_aligned

Inputs = Mapping[str, Any]
"""Arguments of one run, as the contender wants them."""


class Logits(NamedTuple):
    """Start and end logits; -inf, or anything, on padding. Shape: (batch, at least the tokens of the batch) each."""

    start: Tensor
    end: Tensor


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples that run together, padded to the longest.

    Attributes:
        inputs: ``input_ids``, ``attention_mask``, ``context_mask`` and perhaps ``token_type_ids``.
            Shape: (batch, tokens) each
        documents: the document of each sample, numbered from 0. Shape: (batch,)
        indices: which windows of the workload these are. Shape: (batch,)
    """

    inputs: Mapping[str, Tensor]
    documents: Tensor
    indices: NDArray[np.int64]


@dataclass(slots=True)
class Work:
    """What a run computes; works add up.

    Attributes:
        flops: operations, padding and predictors included.
        tokens: tokens that enter the first layer, padding included.
        blocks: context blocks that could be dropped.
        kept: of these, how many are there after each layer that has a predictor; by layer number.
    """

    flops: int = 0
    tokens: int = 0
    blocks: int = 0
    kept: dict[int, int] = field(default_factory=dict)

    def add(self, other: "Work") -> None:
        """Take in the work of another run."""
        self.flops += other.flops
        self.tokens += other.tokens
        self.blocks += other.blocks
        for layer, count in other.kept.items():
            self.kept[layer] = self.kept.get(layer, 0) + count

    def kept_by_layer(self, num_layers: int) -> list[float]:
        """Share of the blocks that is there after each layer, from the first to the last."""
        return kept_shares(self.kept, self.blocks, num_layers)


@dataclass(frozen=True, slots=True)
class Contender:
    """One of those that are measured against each other.

    Attributes:
        name: unique in a benchmark.
        dtype: the number format it computes in, "int8" for quantised weights.
        prepare: a batch to the arguments of ``run``; not timed.
        run: arguments to logits; timed.
        work: what ``run`` computes on arguments; may run the model.
        weight_bytes: size of its weights, copies of them in another layout included.
        layers: number of layers of a model that skims, 0 for one that doesn't.
        trained: False when its answers mean nothing, so that there is no use in scoring them.
        memory_seen: whether PyTorch sees the memory that it takes.
        over_windows: runs windows in batches of at most so many, as inference does; None for contenders without a way
            of their own.
    """

    name: str
    dtype: str
    prepare: Callable[[Batch], Inputs]
    run: Callable[[Inputs], Logits]
    work: Callable[[Inputs], Work]
    weight_bytes: int
    layers: int = 0
    trained: bool = True
    memory_seen: bool = True
    over_windows: Callable[[WindowSet, int], Iterable[WindowBatch]] | None = None


def skim_contender(
    name: str, model: BlockSkimForQuestionAnswering, thresholds: Thresholds = None, trained: bool = True
) -> Contender:
    """Our own forward pass on packed input; ``thresholds`` as ``skim`` takes them, 0 to drop nothing."""

    def prepare(batch: Batch) -> Inputs:
        return {**batch.inputs, "documents": batch.documents}

    def skim(inputs: Inputs) -> SkimOutput:
        return model.skim(**inputs, thresholds=thresholds)

    def run(inputs: Inputs) -> Logits:
        return logits_of(skim(inputs))

    def work(inputs: Inputs) -> Work:
        trace = skim(inputs).trace
        assert trace is not None
        kept = dict(zip(trace.layers, trace.kept.sum((1, 2)).tolist(), strict=True))
        return Work(int(trace.flops.sum()), int(trace.tokens.sum()), int(trace.blocks.sum()), kept)

    def over_windows(windows: WindowSet, batch_size: int) -> Iterable[WindowBatch]:
        return run_windows(model, windows, batch_size, thresholds)

    return Contender(
        name,
        dtype_name(model.dtype),
        prepare,
        run,
        work,
        weight_bytes(model) + model.prepare(),
        layers=len(model.cost.layers),
        trained=trained,
        over_windows=over_windows,
    )


def exported_contender(name: str, model: ExportedModel, thresholds: Thresholds = None) -> Contender:
    """An exported model on ONNX Runtime; ``thresholds`` as inference takes them, 0 to drop nothing."""

    def prepare(batch: Batch) -> Inputs:
        return {"packed": pack_padded(batch.inputs, batch.documents)[0]}

    def score(inputs: Inputs) -> WindowScores:
        return model.score_windows(inputs["packed"], thresholds)

    def run(inputs: Inputs) -> Logits:
        scores = score(inputs)
        return Logits(torch.from_numpy(scores.start_logits), torch.from_numpy(scores.end_logits))

    def work(inputs: Inputs) -> Work:
        trace = score(inputs).trace
        kept = dict(zip(trace.layers, trace.kept.sum((1, 2)).tolist(), strict=True))
        return Work(int(trace.flops.sum()), int(trace.tokens.sum()), int(trace.blocks.sum()), kept)

    def over_windows(windows: WindowSet, batch_size: int) -> Iterable[WindowBatch]:
        return run_windows(model, windows, batch_size, thresholds)

    return Contender(
        name,
        model.number_format,
        prepare,
        run,
        work,
        sum(weights.num_bytes for weights in model.manifest.weights.values()),
        layers=model.num_layers,
        memory_seen=False,
        over_windows=over_windows,
    )


def aligned_contender(
    name: str, model: BlockSkimForQuestionAnswering, thresholds: Thresholds = None, trained: bool = True
) -> Contender:
    """The batch-aligned scheme with the same model and thresholds."""
    asked = model.thresholds_by_layer(thresholds)

    def prepare(batch: Batch) -> Inputs:
        return batch.inputs

    def run(inputs: Inputs) -> Logits:
        result = skim_aligned(model, asked, **inputs)
        return Logits(result.start_logits, result.end_logits)

    def work(inputs: Inputs) -> Work:
        result = skim_aligned(model, asked, **inputs)
        blocks = int(model.layout(inputs["attention_mask"], inputs["context_mask"]).droppable.sum())
        return Work(aligned_flops(model, result), inputs["input_ids"].numel(), blocks, dict(result.kept))

    layers = len(model.cost.layers)
    return Contender(name, dtype_name(model.dtype), prepare, run, work, weight_bytes(model), layers, trained)


def logits_of(output: SkimOutput) -> Logits:
    """The logits of a skimming run."""
    assert output.start_logits is not None and output.end_logits is not None
    return Logits(output.start_logits, output.end_logits)


def dtype_name(dtype: torch.dtype) -> str:
    """``"float32"`` and so on."""
    return str(dtype).removeprefix("torch.")


def weight_bytes(module: torch.nn.Module) -> int:
    """Size of a module's parameters."""
    return sum(value.numel() * value.element_size() for value in module.parameters())
