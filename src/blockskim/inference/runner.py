"""Running windows through a model, in batches that keep the windows of an example together."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from blockskim.data.collate import pad_windows
from blockskim.data.windows import WindowSet
from blockskim.method.config import layer_thresholds
from blockskim.model.modeling import BlockSkimForQuestionAnswering, SkimOutput

Thresholds = float | Sequence[float] | None
Progress = Callable[[int], None]
"""Called with the number of windows that were just done."""


@dataclass(frozen=True, slots=True)
class WindowBatch:
    """Windows that ran together.

    Attributes:
        indices: which windows. Shape: (batch,)
        inputs: padded inputs by name. Shape: (batch, tokens) each
        output: logits and trace.
        standings: how the example of each window fared, as far as this batch shows: the first layer in which none of
            its blocks passed the threshold, the keep probability of the block that was kept there nevertheless, and
            its window, negative; all infinite where blocks always passed. Higher is better. Shape: (batch, 3)
    """

    indices: NDArray[np.int64]
    inputs: dict[str, Tensor]
    output: SkimOutput
    standings: NDArray[np.float64]


def run_windows(
    model: BlockSkimForQuestionAnswering,
    windows: WindowSet,
    batch_size: int = 32,
    thresholds: Thresholds = None,
    score_all_layers: bool = False,
    progress: Progress | None = None,
    selected: Iterable[NDArray[np.int64]] | None = None,
) -> Iterator[WindowBatch]:
    """Run all windows, those of similar length and of the same example together.

    Args:
        model: in evaluation mode.
        windows: what to run.
        batch_size: windows a batch.
        thresholds: as ``skim`` takes them; 0 for a dense run.
        score_all_layers: ask predictors of layers whose threshold is 0 too.
        progress: told after each batch.
        selected: the batches to run, of those that ``batches`` makes; all when None.

    Yields:
        Batches, not in the order of the windows.
    """
    device = model.device
    for indices in batches(windows, batch_size) if selected is None else selected:
        items = [windows[int(index)] for index in indices]
        inputs = {name: value.to(device) for name, value in pad_windows(items, windows.template.pad_id).items()}
        examples = windows.windows[indices, 0]
        documents = torch.from_numpy(np.unique(examples, return_inverse=True)[1]).to(device)
        output = model.skim(**inputs, thresholds=thresholds, documents=documents, score_all_layers=score_all_layers)
        standings = _standings(output, _by_layer(model, thresholds), indices, examples)
        yield WindowBatch(indices, inputs, output, standings)
        if progress is not None:
            progress(len(indices))


def batches(windows: WindowSet, batch_size: int) -> Iterator[NDArray[np.int64]]:
    """Indices of windows that run together: longest examples first, the windows of an example side by side.

    Only an example of more than ``batch_size`` windows is spread over several batches.
    """
    examples = windows.windows[:, 0]
    lengths = windows.lengths
    longest = np.zeros(len(windows.examples), dtype=np.int64)
    np.maximum.at(longest, examples, lengths)
    order = np.lexsort((np.arange(len(windows)), examples, -longest[examples]))
    batch: list[int] = []
    bounds = [*(np.flatnonzero(np.diff(examples[order])) + 1).tolist(), len(order)]
    first = 0
    for end in bounds:
        group = order[first:end].tolist()
        first = end
        if batch and len(batch) + len(group) > batch_size:
            yield np.array(batch)
            batch = []
        while len(group) > batch_size:
            yield np.array(group[:batch_size])
            group = group[batch_size:]
        batch += group
    if batch:
        yield np.array(batch)


def whole_examples(
    batches: Iterable[WindowBatch], windows: WindowSet, least: int = 1024
) -> Iterator[list[WindowBatch]]:
    """Batches in groups of at least so many windows, each with all windows of its examples."""
    group: list[WindowBatch] = []
    held: set[int] = set()
    count = 0
    for batch in batches:
        examples = set(windows.windows[batch.indices, 0].tolist())
        if count >= least and not examples & held:
            yield group
            group, count = [], 0
        # Windows of an example run in consecutive batches, so the last batch tells whether it goes on.
        held = examples
        group.append(batch)
        count += len(batch.indices)
    if group:
        yield group


def _by_layer(model: BlockSkimForQuestionAnswering, thresholds: Thresholds) -> dict[int, float]:
    values = model.thresholds if thresholds is None else layer_thresholds(thresholds, model.skim_layers)
    return dict(zip(model.skim_layers, values, strict=True))


def _standings(
    output: SkimOutput, thresholds: dict[int, float], indices: NDArray[np.int64], examples: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Where each window's example kept a block only because one has to stay; see WindowBatch. Shape: (batch, 3)."""
    standings = np.full((len(examples), 3), np.inf)
    trace = output.trace
    assert trace is not None
    for index in range(len(trace.layers) - 1, -1, -1):
        probabilities = trace.probabilities[index]
        spared = trace.kept[index] & ~(probabilities >= thresholds[trace.layers[index]])
        if bool(spared.any()):
            for row in spared.any(-1).nonzero().flatten().tolist():
                probability = float(probabilities[row][spared[row]].max())
                standings[examples == examples[row]] = trace.layers[index], probability, -indices[row]
    return standings
