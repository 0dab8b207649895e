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
from blockskim.exporting.manifest import GRAPH, INT8_GRAPH
from blockskim.extras import has
from blockskim.inference.backend import Backend
from blockskim.inference.runner import Thresholds, WindowBatch, run_windows
from blockskim.model.modeling import BlockSkimForQuestionAnswering
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

    def run(inputs: Inputs) -> Logits:
        output = model.skim_packed(inputs["packed"], thresholds)
        assert output.start_logits is not None and output.end_logits is not None
        return _in_padded_places(output.start_logits, output.end_logits, inputs)

    return Contender(
        name,
        dtype_name(model.dtype),
        packed_inputs,
        run,
        _skimming_work(model, thresholds),
        weight_bytes(model) + model.prepare(),
        layers=model.num_layers,
        trained=trained,
        over_windows=lambda windows, batch_size: run_windows(
            model, windows, batch_size=batch_size, thresholds=thresholds
        ),
    )


def exported_contender(
    name: str, model: ExportedModel, thresholds: Thresholds = None, trained: bool = True
) -> Contender:
    """An exported model on ONNX Runtime; ``thresholds`` as ``score_windows`` takes them, 0 to drop nothing."""

    def run(inputs: Inputs) -> Logits:
        scores = model.score_windows(inputs["packed"], thresholds)
        return _in_padded_places(torch.from_numpy(scores.start_logits), torch.from_numpy(scores.end_logits), inputs)

    return Contender(
        name,
        model.number_format,
        packed_inputs,
        run,
        _skimming_work(model, thresholds),
        exported_bytes(model),
        layers=model.num_layers,
        trained=trained,
        memory_seen=False,
        over_windows=lambda windows, batch_size: run_windows(
            model, windows, batch_size=batch_size, thresholds=thresholds
        ),
    )


def packed_inputs(batch: Batch) -> Inputs:
    """A batch without its padding: inference packs windows from the start, so this is not timed."""
    packed, first = pack_padded(batch.inputs, batch.documents)
    return {"packed": packed, "first": torch.from_numpy(first), "width": batch.inputs["input_ids"].shape[1]}


def _in_padded_places(start: Tensor, end: Tensor, inputs: Inputs) -> Logits:
    """Logits by the place of a token in its sample, put to its place in the batch.

    Shapes: (batch, longest) each to (batch, width) each
    """
    first, width = inputs["first"], inputs["width"]
    if start.shape[1] == width and not first.any():
        return Logits(start, end)
    rows, places = (start != -torch.inf).logical_or(end != -torch.inf).nonzero(as_tuple=True)
    columns = places + first.to(places.device)[rows]
    moved = [part.new_full((len(part), width), -torch.inf) for part in (start, end)]
    for part, target in zip((start, end), moved, strict=True):
        target[rows, columns] = part[rows, places]
    return Logits(*moved)


def _skimming_work(model: Backend, thresholds: Thresholds) -> Callable[[Inputs], Work]:
    """What a model that skims computes on packed input, told by its trace."""

    def work(inputs: Inputs) -> Work:
        trace = model.score_windows(inputs["packed"], thresholds).trace
        kept = dict(zip(trace.layers, trace.kept.sum((1, 2)).tolist(), strict=True))
        return Work(int(trace.flops.sum()), int(trace.tokens.sum()), int(trace.blocks.sum()), kept)

    return work


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


def dtype_name(dtype: torch.dtype) -> str:
    """``"float32"`` and so on."""
    return str(dtype).removeprefix("torch.")


def weight_bytes(module: torch.nn.Module) -> int:
    """Size of a module's parameters."""
    return sum(value.numel() * value.element_size() for value in module.parameters())


def exported_bytes(model: ExportedModel) -> int:
    """Size of an exported model's graph and of the weights that it reads, as they are stored."""
    graph = model.directory / (GRAPH if model.number_format == "float32" else INT8_GRAPH)
    size = graph.stat().st_size
    if not has("onnx"):
        return size + sum(file.num_bytes for file in model.manifest.weights.values())
    import onnx

    weights = onnx.load(graph, load_external_data=False).graph.initializer
    entries = [{entry.key: entry.value for entry in weight.external_data} for weight in weights]
    return size + sum(int(entry["length"]) for entry in entries if entry)
