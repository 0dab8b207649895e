"""What was read of one context to answer one question, in characters of the text: blocks, their fates, the cost."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from blockskim.answering.explain_page import Passage, TextBlock, cost_line, to_html
from blockskim.answering.request import TextPair
from blockskim.data.windows import WindowSet
from blockskim.inference.first_stage import ReadingPlan
from blockskim.inference.runner import WindowBatch
from blockskim.inference.survival import SurvivalRank, last_layer, take_ranks


@dataclass(frozen=True, slots=True)
class WindowTrace:
    """What was read of one window.

    Attributes:
        start: first character of the context in the window.
        end: one past its last character.
        blocks: the droppable blocks, in their order.
        tokens: tokens of the window, question included.
        flops: operations spent.
        dense_flops: operations of the plain model.
    """

    start: int
    end: int
    blocks: tuple[TextBlock, ...]
    tokens: int
    flops: int
    dense_flops: int


@dataclass(frozen=True, slots=True)
class Unread:
    """What was not read of a long document.

    Attributes:
        blocks: of the text, which no layer scored.
        flops: operations spent on choosing them.
        dense_flops: operations of the plain model on all windows of the document.
    """

    blocks: tuple[TextBlock, ...]
    flops: int
    dense_flops: int


@dataclass(frozen=True, slots=True)
class AnswerTrace:
    """What was read of one context.

    Attributes:
        question: the question.
        context: the text.
        document: its name; "" for none.
        windows: in the order of the text.
        layers: number of layers of the model.
        spans: (first character, one past the last, score) of the answers that were given of it, best first; both
            characters are 0 for "no answer".
        seconds: its share, by arithmetic, of the whole call: tokenisation, model, search of answers.
        unread: what of a long document was left out before any window was read; the windows are then those of the rest.
        ranks: place of each span among all answers to the question, from 1: others may be of other documents.
        beside: (first character, one past the last, what it is called) of what was kept beside evidence.
    """

    question: str
    context: str
    document: str
    windows: tuple[WindowTrace, ...]
    layers: int
    spans: tuple[tuple[int, int, float], ...]
    seconds: float
    unread: Unread | None = None
    ranks: tuple[int, ...] = ()
    beside: tuple[tuple[int, int, str], ...] = ()

    @property
    def text_blocks(self) -> list[TextBlock]:
        """The droppable blocks of all windows, and those that were not read."""
        left_out = () if self.unread is None else self.unread.blocks
        return [*(block for window in self.windows for block in window.blocks), *left_out]

    @property
    def blocks(self) -> int:
        """Number of droppable blocks, over all windows."""
        return len(self.text_blocks)

    @property
    def flops(self) -> int:
        """Operations spent."""
        return sum(window.flops for window in self.windows) + (0 if self.unread is None else self.unread.flops)

    @property
    def dense_flops(self) -> int:
        """Operations of the plain model on all of the text, in windows without padding."""
        if self.unread is not None:
            return self.unread.dense_flops
        return sum(window.dense_flops for window in self.windows)

    @property
    def kept_by_layer(self) -> tuple[float, ...]:
        """Share of the blocks still there after each layer, from the first to the last; 1 where there are none."""
        return tuple(_kept_shares([self]))

    def to_html(self) -> str:
        """A self-contained page that shows the text with what was skipped and answered."""
        return to_html([self.passage()], self.question)

    def passage(self) -> Passage:
        """What the page shows of this trace."""
        cost = cost_line(self.blocks, self.kept_by_layer[-1], self.flops, self.dense_flops, self.seconds)
        return Passage(
            question=self.question,
            text=self.context,
            blocks=self.text_blocks,
            answers=self.spans,
            layers=self.layers,
            cost=cost,
            document=self.document,
            ranks=self.ranks,
            beside=self.beside,
        )


def _kept_shares(traces: Sequence[AnswerTrace]) -> list[float]:
    """Share of all blocks of some traces of one model still there after each layer."""
    layers = max((trace.layers for trace in traces), default=0)
    dropped = [0] * (layers + 1)
    blocks = 0
    for trace in traces:
        for block in trace.text_blocks:
            blocks += 1
            if block.dropped_in is not None:
                dropped[block.dropped_in] += 1
    shares, left = [], blocks - dropped[0]
    for layer in range(1, layers + 1):
        left -= dropped[layer]
        shares.append(left / blocks if blocks else 1.0)
    return shares


def skim_summary(traces: Sequence[AnswerTrace]) -> dict[str, Any]:
    """Cost of some traces together, as the command line prints it."""
    return {
        "blocks": sum(trace.blocks for trace in traces),
        "kept_by_layer": _kept_shares(traces),
        "flops": sum(trace.flops for trace in traces),
        "dense_flops": sum(trace.dense_flops for trace in traces),
        "seconds": sum(trace.seconds for trace in traces),
    }


class WindowTraces:
    """What was read of each window of some examples, gathered from batches that hold all of an example's at once."""

    def __init__(self) -> None:
        """Nothing was read."""
        self._windows: dict[int, list[WindowTrace]] = {}
        self._ranks: dict[int, SurvivalRank] = {}

    def add(self, batches: Sequence[WindowBatch], windows: WindowSet) -> None:
        """Take in batches; those of an example that comes again are of other passages of its text."""
        ranks = ((windows.examples_of(batch.indices), batch.ranks) for batch in batches)
        for example, layer in take_ranks(self._ranks, ranks).items():
            # What was kept before, for want of a better block, is gone as there is one.
            self._windows[example] = [_without(window, layer) for window in self._windows[example]]
        for batch in batches:
            for index, window in _window_traces(batch, windows, self._ranks):
                self._windows.setdefault(windows.example_of(index), []).append(window)

    def of(self, example: int) -> tuple[WindowTrace, ...]:
        """Those of an example, in the order of its text."""
        return tuple(sorted(self._windows[example], key=lambda window: (window.start, window.end)))


def trace_pairs(
    pairs: Sequence[TextPair],
    windows: WindowTraces,
    layers: int,
    seconds: float,
    unread: Mapping[int, Unread],
) -> list[AnswerTrace]:
    """What was read of each pair of question and text; the answers are not in it yet.

    Args:
        pairs: what was asked.
        windows: what was read of the windows of each pair.
        layers: number of layers of the model.
        seconds: time of all pairs together; each gets its share by arithmetic.
        unread: what was left out of long documents, by the number of the pair.
    """
    read = [windows.of(number) for number in range(len(pairs))]
    flops = [sum(window.flops for window in own) for own in read]
    total = sum(flops)
    return [
        AnswerTrace(
            question=pair.question,
            context=pair.context,
            document=pair.document,
            windows=read[number],
            layers=layers,
            spans=(),
            seconds=seconds * flops[number] / total,
            unread=unread.get(number),
        )
        for number, pair in enumerate(pairs)
    ]


def nothing_read(question: str, context: str, document: str, layers: int) -> AnswerTrace:
    """The trace of a text that was not read, as there is nothing in it."""
    return AnswerTrace(question, context, document, windows=(), layers=layers, spans=(), seconds=0.0)


def with_blank_documents(
    question: str, documents: Mapping[Any, str], traces: Sequence[AnswerTrace], layers: int
) -> tuple[AnswerTrace, ...]:
    """What was read of each document, those included that hold nothing but white space and were not read.

    Args:
        question: the question.
        documents: all texts by name.
        traces: of those that hold more, in their order.
        layers: number of layers of the model.
    """
    read = iter(traces)
    return tuple(
        next(read) if text.strip() else nothing_read(question, text, str(name), layers)
        for name, text in documents.items()
    )


def trace_unread(reading: ReadingPlan, size: int) -> dict[int, Unread]:
    """What was not read, by example, of those for which there was a choice.

    Args:
        reading: of all phases.
        size: tokens of a block.
    """
    found = {}
    for example, flops in reading.flops.items():
        blocks = []
        tokens = reading.unread.get(example, np.zeros(0, dtype=np.bool_))
        for first in np.flatnonzero(tokens[::size]) * size:
            last = min(int(first) + size, len(tokens)) - 1
            # Of a text that nobody read, no layer said anything.
            blocks.append(TextBlock(*reading.whole.character_span(example, int(first), last), (), 0))
        found[example] = Unread(tuple(blocks), flops, reading.dense_flops[example])
    return found


def _without(window: WindowTrace, layer: float) -> WindowTrace:
    """What was read of a window of which nothing is left from a layer on."""
    return replace(window, blocks=tuple(_dropped(block, layer) for block in window.blocks))


def _dropped(block: TextBlock, layer: float) -> TextBlock:
    """What became of a block that left the computation in a layer, if it was there for so long."""
    if block.dropped_in is not None and block.dropped_in <= layer:
        return block
    scored = tuple(score for score in block.probabilities if score[0] <= layer)
    return replace(block, probabilities=scored, dropped_in=int(layer))


def _window_traces(
    batch: WindowBatch, windows: WindowSet, best: Mapping[int, SurvivalRank]
) -> Iterable[tuple[int, WindowTrace]]:
    trace = batch.scores.trace
    layout = trace.layout
    starts, lengths = layout.starts.tolist(), layout.lengths.tolist()
    costs = zip(trace.tokens.tolist(), trace.flops.tolist(), trace.dense_flops.tolist(), strict=True)
    for row, (window, cost) in enumerate(zip(batch.indices.tolist(), costs, strict=True)):
        example, first, end = (int(value) for value in windows.windows[window])
        shift = windows.context_offset(window)
        gone = last_layer(batch.ranks[row], best[example])
        scores, stayed = trace.probabilities[:, row].T.tolist(), trace.kept[:, row].T.tolist()
        blocks = []
        for block in np.flatnonzero(layout.droppable[row]).tolist():
            begin = starts[row][block] + shift
            span = windows.character_span(example, begin, begin + lengths[row][block] - 1)
            blocks.append(TextBlock(*span, *_fate(trace.layers, scores[block], stayed[block], gone)))
        begin, last = windows.character_span(example, first, end - 1) if end > first else (0, 0)
        yield window, WindowTrace(begin, last, tuple(blocks), *(int(value) for value in cost))


def _fate(
    layers: Sequence[int], probabilities: Sequence[float], kept: Sequence[bool], gone: float
) -> tuple[tuple[tuple[int, float], ...], int | None]:
    """What became of a block that left the computation in layer ``gone`` at the latest.

    Args:
        layers: the layers in which predictors were asked.
        probabilities: the block's keep probability in each of them, NaN where it was not scored.
        kept: whether it stayed in each of them.
        gone: the layer where what was left of its example leaves; infinite if nowhere.

    Returns:
        (layer, keep probability) of each layer that scored it, and the layer that dropped it, None for none.
    """
    scored = []
    for layer, probability, stayed in zip(layers, probabilities, kept, strict=True):
        if layer > gone or math.isnan(probability):
            break
        scored.append((layer, probability))
        if not stayed or layer == gone:
            return tuple(scored), layer
    return tuple(scored), None
