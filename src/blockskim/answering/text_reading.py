"""What comes of reading pairs of a question and a text, apart from whatever runs their windows.

The library runs them at once, a server beside those of others.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

from blockskim.answering.reading import TextRun
from blockskim.answering.request import TextPair
from blockskim.answering.trace import AnswerTrace, WindowTraces, trace_pairs, trace_unread
from blockskim.data.windows import WindowSet
from blockskim.inference.backend import Backend
from blockskim.inference.first_stage import Phase
from blockskim.inference.runner import Thresholds, WindowBatch
from blockskim.method.skim_trace import Asking


class TextReading(ABC):
    """Takes what a backend makes of the windows of some pairs, in whatever batches they run.

    What comes of a pair does not depend on the other pairs, nor on the batches.

    Attributes:
        run: the windows, and what of them is read.
        pairs: what was asked.
        traced: whether what was read of each window is kept.
    """

    def __init__(self, backend: Backend, run: TextRun, pairs: Sequence[TextPair], trace: bool) -> None:
        """Nothing is computed.

        Args:
            backend: whose windows they are.
            run: of the pairs.
            pairs: what was asked; there may be none.
            trace: whether to keep what was read of each window.
        """
        self.run = run
        self.pairs = pairs
        self._backend = backend
        self.traced = trace
        self._windows = WindowTraces()

    @property
    def thresholds(self) -> Thresholds:
        """What the windows are to be skimmed with."""
        return self.run.thresholds

    @property
    def asking(self) -> Asking:
        """Which predictors are to be asked on the way."""
        return self.run.asking

    def phases(self) -> Iterator[Phase]:
        """What to run, one after the other: all batches of a phase have to be taken before the next is asked for."""
        yield from self.run.reading.phases()

    def take(self, batches: Sequence[WindowBatch], phase: Phase) -> None:
        """Take in what was made of windows of a phase: all those of some of its pairs."""
        for batch in batches:
            self.run.reading.spend(batch, phase)
        self._take(batches, phase.windows)

    def read(self) -> None:
        """Run everything at once."""
        for group, windows in self.run.groups(self._backend):
            self._take(group, windows)

    def _take(self, batches: Sequence[WindowBatch], windows: WindowSet) -> None:
        """Take in batches whose cost is counted already."""
        self._collect(batches, windows)
        if self.traced:
            self._windows.add(batches, windows)

    @abstractmethod
    def _collect(self, batches: Sequence[WindowBatch], windows: WindowSet) -> None:
        """Keep what is wanted of batches that hold all windows of their pairs that are read at once."""

    def traces(self, seconds: float | None = None) -> list[AnswerTrace]:
        """What was read of each pair, when everything was taken; nothing where that was not kept.

        Args:
            seconds: that it took; those that went by since the texts came when None.
        """
        if not self.traced:
            return []
        seconds = time.perf_counter() - self.run.started if seconds is None else seconds
        unread = trace_unread(self.run.reading, self._backend.skim_config.block_size)
        return trace_pairs(self.pairs, self._windows, self._backend.num_layers, seconds, unread)
