"""Keep probabilities of all predictors for all blocks of a data set, with the truth: what calibration works on."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blockskim.data.windows import WindowSet
from blockskim.inference.answers import AnswerCollector, ExampleAnswers
from blockskim.inference.backend import Backend
from blockskim.inference.runner import Progress, WindowBatch, run_windows
from blockskim.method.block_spans import blocks_with_answers
from blockskim.method.skim_trace import AS_NEEDED, Asking


@dataclass(frozen=True, slots=True)
class BlockScores:
    """What every predictor said about every droppable block of a run in which nothing was dropped.

    Attributes:
        layers: numbers of the layers.
        probabilities: Shape: (layers, blocks)
        relevant: whether the block holds answer tokens. Shape: (blocks,)
        windows: the window of each block. Shape: (blocks,)
        starts: first token of each block in its window. Shape: (blocks,)
        tokens: tokens in each block. Shape: (blocks,)
    """

    layers: tuple[int, ...]
    probabilities: NDArray[np.float64]
    relevant: NDArray[np.bool_]
    windows: NDArray[np.int64]
    starts: NDArray[np.int64]
    tokens: NDArray[np.int64]


def answer_labels(batch: WindowBatch, windows: WindowSet) -> NDArray[np.bool_]:
    """True for the droppable blocks of a batch that hold tokens of an annotated answer. Shape: (batch, blocks)."""
    layout = batch.scores.trace.layout
    spans = [windows.answer_spans(int(index)) for index in batch.indices]
    answers = np.full((len(spans), max([1, *(len(rows) for rows in spans)]), 2), -1, dtype=np.int64)
    for row, values in zip(answers, spans, strict=True):
        row[: len(values)] = values
    held: NDArray[np.bool_] = blocks_with_answers(layout.starts, layout.lengths, answers[..., 0], answers[..., 1])
    return held & layout.droppable


def collect_block_scores(batches: Iterable[WindowBatch], windows: WindowSet) -> BlockScores:
    """Gather the block scores of batches that ran with thresholds of 0 and asked the predictors of all layers.

    There may be none, and then no layers either: short contexts may lie whole in blocks with their questions.

    Raises:
        ValueError: a batch was not run that way.
    """
    layers: tuple[int, ...] = ()
    parts: list[tuple[NDArray[Any], ...]] = []
    for batch in batches:
        trace = batch.scores.trace
        droppable = trace.layout.droppable
        if not droppable.any():
            continue
        if (parts and layers != trace.layers) or (~trace.kept & droppable).any():
            raise ValueError("block scores are collected from runs with thresholds of 0 alone that ask all predictors")
        layers = trace.layers
        parts.append(
            (
                trace.probabilities[:, droppable].astype(np.float64),
                answer_labels(batch, windows)[droppable],
                batch.indices[droppable.nonzero()[0]],
                trace.layout.starts[droppable],
                trace.layout.lengths[droppable],
            )
        )
    if not parts:
        nothing = np.zeros(0, dtype=np.int64)
        return BlockScores((), np.zeros((0, 0)), nothing.astype(bool), nothing, nothing, nothing)
    columns = list(zip(*parts, strict=True))
    return BlockScores(layers, np.concatenate(columns[0], axis=1), *(np.concatenate(column) for column in columns[1:]))


def run_dense(
    model: Backend,
    windows: WindowSet,
    batch_size: int,
    max_answer_length: int,
    progress: Progress | None = None,
    asking: Asking = AS_NEEDED,
    selected: Iterable[NDArray[np.int64]] | None = None,
) -> tuple[list[ExampleAnswers], BlockScores]:
    """Run a model with nothing dropped and every predictor asked.

    Args:
        model: in evaluation mode.
        windows: what to read.
        batch_size: windows per batch.
        max_answer_length: most tokens in an answer.
        progress: called with the number of windows after each batch.
        asking: whether predictors are asked that never learned anything; those of all layers are in any case.
        selected: the batches to run, of those that ``batches`` makes; all when None. Of other examples there is no
            answer.

    Returns:
        The answers to each example, and what every predictor said of every block.
    """
    collector = AnswerCollector(windows, max_answer_length)
    batches: list[WindowBatch] = []
    running = run_windows(
        model,
        windows,
        batch_size=batch_size,
        thresholds=0.0,
        asking=replace(asking, all_layers=True),
        progress=progress,
        selected=selected,
    )
    for batch in running:
        collector.add(batch)
        batches.append(batch)
    return collector.results(), collect_block_scores(batches, windows)
