"""Running windows of several jobs in one batch, and giving each job what it would have got alone."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from blockskim.data.packed_inputs import join_packed
from blockskim.inference.backend import Backend
from blockskim.inference.runner import Thresholds, WindowBatch, window_batch
from blockskim.method.skim_trace import AS_NEEDED, Asking, SkimTrace
from blockskim.serving.fair_queue import Turn


@dataclass(frozen=True, slots=True)
class BatchReport:
    """What a batch was and took.

    Attributes:
        windows: in it.
        tokens: in it.
        jobs: that had a turn in it.
        seconds: that the model took.
        dropped: context tokens that each layer dropped, by layer number.
        kept: context tokens that were read to the end.
    """

    windows: int
    tokens: int
    jobs: int
    seconds: float
    dropped: dict[int, int]
    kept: int


@dataclass(frozen=True, slots=True)
class TurnResult:
    """What came of a turn.

    Attributes:
        batch: what the model made of its windows; None where it failed.
        error: why it failed.
        seconds: its share, by arithmetic, of what the model took.
    """

    batch: WindowBatch | None
    error: Exception | None
    seconds: float


def run_batch(
    backend: Backend, turns: Sequence[Turn], thresholds: Thresholds, asking: Asking = AS_NEEDED
) -> tuple[list[TurnResult], BatchReport]:
    """Run turns of several jobs at once.

    If that fails, each runs by itself, so that nobody has to bear what another has sent.

    Args:
        backend: what computes.
        turns: at least one; their windows are of different texts.
        thresholds: what all of them are skimmed with.
        asking: which predictors are asked for all of them.
    """
    started = time.perf_counter()
    inputs = [turn.phase.windows.pack(turn.indices) for turn in turns]
    try:
        scores = backend.score_windows(join_packed(inputs), thresholds, asking)
    # Whatever it is, it is the request's that alone runs into it again.
    except Exception as error:
        if len(turns) == 1:
            return [TurnResult(None, error, time.perf_counter() - started)], _report(turns, [], started)
        alone = [run_batch(backend, [turn], thresholds, asking) for turn in turns]
        return [results[0] for results, _ in alone], _joined([report for _, report in alone])
    seconds, flops = time.perf_counter() - started, max(1, int(scores.trace.flops.sum()))
    results, first = [], 0
    for turn, packed in zip(turns, inputs, strict=True):
        own = scores.rows(slice(first, first + len(turn.indices)))
        share = seconds * int(own.trace.flops.sum()) / flops
        first += len(turn.indices)
        try:
            found = window_batch(backend, turn.phase.windows, packed, turn.indices, own)
            results.append(TurnResult(found, None, share))
        except Exception as error:
            results.append(TurnResult(None, error, share))
    return results, _report(turns, [scores.trace], started)


def _report(turns: Sequence[Turn], traces: Sequence[SkimTrace], started: float) -> BatchReport:
    dropped: dict[int, int] = {}
    kept = 0
    for trace in traces:
        sizes: NDArray[np.int64] = trace.layout.lengths * trace.layout.droppable
        left = int(sizes.sum())
        for layer, stayed in zip(trace.layers, trace.kept, strict=True):
            after = int((sizes * stayed).sum())
            dropped[layer] = left - after
            left = after
        kept += left
    windows, tokens = sum(len(turn.indices) for turn in turns), sum(turn.tokens for turn in turns)
    return BatchReport(windows, tokens, len(turns), time.perf_counter() - started, dropped, kept)


def _joined(reports: Sequence[BatchReport]) -> BatchReport:
    """What several batches were, as if they had been one."""
    layers = sorted({layer for report in reports for layer in report.dropped})
    return BatchReport(
        windows=sum(report.windows for report in reports),
        tokens=sum(report.tokens for report in reports),
        jobs=sum(report.jobs for report in reports),
        seconds=sum(report.seconds for report in reports),
        dropped={layer: sum(report.dropped.get(layer, 0) for report in reports) for layer in layers},
        kept=sum(report.kept for report in reports),
    )
