"""What comes of reading pairs of a question and a text, apart from whatever runs their windows.

``QuestionAnswerer`` runs them at once, a server beside those of others.
"""

import time
from collections.abc import Iterator, Sequence

from blockskim.answering.ranking import collect_answers, scored_spans
from blockskim.answering.reading import TextRun
from blockskim.answering.request import AnswerOptions, TextPair
from blockskim.answering.trace import AnswerTrace, WindowTrace, add_windows, trace_answers, trace_unread
from blockskim.data.windows import WindowSet
from blockskim.inference.answers import ExampleAnswers, merge_answers
from blockskim.inference.backend import Backend
from blockskim.inference.first_stage import Phase
from blockskim.inference.runner import Thresholds, WindowBatch


class PairReading:
    """Answers of pairs of a question and a text, as their windows are run.

    Attributes:
        run: the windows, and what of them is read.
        pairs: what was asked.
        options: how to answer.
    """

    def __init__(
        self, backend: Backend, run: TextRun, pairs: Sequence[TextPair], options: AnswerOptions, trace: bool
    ) -> None:
        """Nothing is computed.

        Args:
            backend: whose windows they are; it does not run them here.
            run: of the pairs.
            pairs: at least one.
            options: how to answer.
            trace: whether to keep what was read of each window.
        """
        self._started = time.perf_counter()
        self.run = run
        self.pairs = pairs
        self.options = options
        self._backend = backend
        self._found: list[list[ExampleAnswers]] = [[] for _ in pairs]
        self._trace = trace
        self._traces: dict[int, tuple[WindowTrace, ...]] = {}

    @property
    def thresholds(self) -> Thresholds:
        """What the windows are to be skimmed with."""
        return self.run.thresholds

    def phases(self) -> Iterator[Phase]:
        """What to run, one after the other: all batches of a phase have to be taken before the next is asked for."""
        yield from self.run.reading.phases()

    def take(self, batches: Sequence[WindowBatch], phase: Phase) -> None:
        """Take in what was made of windows of a phase: all those of some of its pairs."""
        for batch in batches:
            self.run.reading.spend(batch, phase)
        self.collect(batches, phase.windows)

    def collect(self, batches: Sequence[WindowBatch], windows: WindowSet) -> None:
        """The same for batches whose cost is counted already, as it is in ``run.groups``."""
        for number, found in collect_answers(batches, windows, self.options).items():
            self._found[number].append(found)
        if self._trace:
            add_windows(self._traces, batches, windows)

    def answers(self) -> list[ExampleAnswers]:
        """Answers of each pair, when everything was taken."""
        return [merge_answers(found, self.options.top_k) for found in self._found]

    def traces(self, answers: Sequence[ExampleAnswers], seconds: float | None = None) -> list[AnswerTrace]:
        """What was read of each pair, when everything was taken.

        Args:
            answers: of each pair.
            seconds: that it took; those that went by since the beginning when None.
        """
        seconds = time.perf_counter() - self._started if seconds is None else seconds
        spans = [scored_spans(each) for each in answers]
        unread = trace_unread(self.run.reading, self._backend.skim_config.block_size)
        return trace_answers(self.pairs, self._traces, spans, self._backend.num_layers, seconds, unread)
