"""Running windows through a model, in batches that keep the windows of an example together."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from blockskim.checks import check_count
from blockskim.data.packed_inputs import PackedInputs
from blockskim.data.windows import WindowSet
from blockskim.errors import ModelError
from blockskim.inference.backend import Backend
from blockskim.inference.survival import SurvivalRank, survival_ranks
from blockskim.method.skim_trace import AS_NEEDED, Asking, SkimTrace, WindowScores

Thresholds = float | Sequence[float] | None
Progress = Callable[[int], None]
"""Called with the number of windows that were just done."""


@dataclass(frozen=True, slots=True)
class WindowBatch:
    """Windows that ran together.

    Attributes:
        indices: which windows. Shape: (batch,)
        context_mask: True on context tokens. Shape: (batch, tokens)
        scores: logits and trace.
        ranks: how the example of each window fared, as far as this batch shows. Length: batch
    """

    indices: NDArray[np.int64]
    context_mask: NDArray[np.bool_]
    scores: WindowScores
    ranks: Sequence[SurvivalRank]


def run_windows(
    backend: Backend,
    windows: WindowSet,
    *,
    batch_size: int = 32,
    thresholds: Thresholds = None,
    asking: Asking = AS_NEEDED,
    progress: Progress | None = None,
    selected: Iterable[NDArray[np.int64]] | None = None,
) -> Iterator[WindowBatch]:
    """Run all windows, those of similar length and of the same example together.

    Args:
        backend: a model in evaluation mode, or whatever else computes logits.
        windows: what to run.
        batch_size: windows per batch.
        thresholds: as ``skim`` takes them; 0 for a dense run.
        asking: which predictors are asked.
        progress: told after each batch.
        selected: the batches to run, of those that ``batches`` makes; all when None.

    Yields:
        Batches, not in the order of the windows.

    Raises:
        ModelError: the model computes no numbers.
    """
    for indices in batches(windows, batch_size) if selected is None else selected:
        inputs = windows.pack(indices)
        scores = backend.score_windows(inputs, thresholds, asking)
        yield window_batch(backend, windows, inputs, indices, scores)
        if progress is not None:
            progress(len(indices))


def window_batch(
    backend: Backend, windows: WindowSet, inputs: PackedInputs, indices: NDArray[np.int64], scores: WindowScores
) -> WindowBatch:
    """What a backend made of some windows.

    Args:
        backend: that ran them.
        windows: all of them.
        inputs: those that ran.
        indices: which they are. Shape: (batch,)
        scores: of them.

    Raises:
        ModelError: the model computes no numbers.
    """
    _check_numbers(backend, scores)
    ranks = survival_ranks(scores.trace, windows, indices)
    return WindowBatch(indices, inputs.context_mask, scores, ranks)


def _check_numbers(backend: Backend, scores: WindowScores) -> None:
    """Refuse logits or keep probabilities that are no numbers, of tokens and blocks that were there.

    Logits of dropped tokens are -inf, but of every document some tokens are left.
    """
    # NaN is the largest of any numbers that it is among.
    best = scores.start_logits.max(), scores.end_logits.max()
    if np.isfinite(best).all() and not _lacks_probabilities(scores.trace):
        return
    raise ModelError(f"the model computes no numbers: its weights are damaged or overflow in {backend.number_format}")


def _lacks_probabilities(trace: SkimTrace) -> bool:
    """Whether a block that was there when a layer scored blocks got no keep probability from it."""
    if not trace.layers:
        return False
    there = np.concatenate([trace.layout.droppable[None], trace.kept[:-1]])
    return bool((np.isnan(trace.probabilities) & there).any())


def batches(windows: WindowSet, batch_size: int, among: NDArray[np.int64] | None = None) -> Iterator[NDArray[np.int64]]:
    """Indices of windows that run together: longest examples first, the windows of an example side by side.

    Only an example of more than ``batch_size`` windows is spread over several batches.

    Args:
        windows: all of them.
        batch_size: the most that run together.
        among: those to run, with all windows of their examples, in ascending order; all when None.

    Raises:
        ConfigError: the batch size is no whole number of at least 1.
    """
    batch_size = check_count("batch_size", batch_size)
    numbers = np.arange(len(windows)) if among is None else among
    examples, lengths = windows.examples_of(numbers), windows.lengths[numbers]
    longest = np.zeros(len(windows.examples), dtype=np.int64)
    np.maximum.at(longest, examples, lengths)
    order = np.lexsort((numbers, examples, -longest[examples]))
    batch: list[int] = []
    bounds = [*(np.flatnonzero(np.diff(examples[order])) + 1).tolist(), len(order)]
    first = 0
    for end in bounds:
        group = numbers[order[first:end]].tolist()
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
        examples = set(windows.examples_of(batch.indices).tolist())
        if count >= least and not examples & held:
            yield group
            group, count = [], 0
        # Windows of an example run in consecutive batches, so the last batch tells whether it goes on.
        held = examples
        group.append(batch)
        count += len(batch.indices)
    if group:
        yield group
