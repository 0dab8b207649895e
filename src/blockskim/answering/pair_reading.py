"""Reading pairs of a question and a text, apart from whatever runs their windows.

Texts become windows, phase by phase; somebody runs these, in batches of any size and order; answers and traces come of
it. ``QuestionAnswerer`` runs them at once, a server beside those of others.
"""

import time
from collections.abc import Iterator, Sequence

from blockskim.answering.ranking import collect_answers, scored_spans
from blockskim.answering.request import AnswerOptions, TextPair, check_texts, warn_of_unread
from blockskim.answering.trace import AnswerTrace, WindowTrace, trace_answers, trace_unread, trace_windows
from blockskim.data.examples import Example
from blockskim.data.tokens import FrozenTokenizer
from blockskim.data.windows import WindowSettings, make_windows
from blockskim.inference.answers import ExampleAnswers, merge_answers
from blockskim.inference.backend import Backend
from blockskim.inference.first_stage import Phase, Reading
from blockskim.inference.runner import Thresholds, WindowBatch


class PairReading:
    """What is read of some pairs of a question and a text, and what was found.

    Attributes:
        pairs: what was asked.
        options: how to answer.
        thresholds: what its windows are to be skimmed with.
    """

    def __init__(
        self,
        backend: Backend,
        reader: FrozenTokenizer,
        pairs: Sequence[TextPair],
        options: AnswerOptions,
        thresholds: Thresholds,
        settings: WindowSettings,
        trace: bool,
    ) -> None:
        """Tokenise the texts and cut them into windows; nothing is computed.

        Args:
            backend: whose windows they are to be; it does not run them here.
            reader: its tokenizer.
            pairs: at least one.
            options: how to answer.
            thresholds: what to skim with.
            settings: of the windows.
            trace: whether to keep what was read of each window.

        Raises:
            DataError: a question or context is empty or blank or holds no valid text.
            ConfigError: a bound of the cost can't be kept with such a model.
        """
        self._started = time.perf_counter()
        check_texts(pairs)
        self.pairs = pairs
        self.options = options
        self.thresholds = thresholds
        examples = [Example(str(number), pair.question, pair.context) for number, pair in enumerate(pairs)]
        windows = make_windows(examples, reader, settings, stand_in="?")
        warn_of_unread(windows, pairs)
        self._backend = backend
        self._reading = Reading(backend, windows, thresholds, options.max_cost)
        self._found: list[list[ExampleAnswers]] = [[] for _ in pairs]
        self._trace = trace
        self._traces: dict[int, tuple[WindowTrace, ...]] = {}

    def phases(self) -> Iterator[Phase]:
        """What to run, one after the other: all batches of a phase have to be taken before the next is asked for."""
        yield from self._reading.phases()

    def take(self, batches: Sequence[WindowBatch], phase: Phase) -> None:
        """Take in what was made of windows of a phase: all those of some of its pairs."""
        for batch in batches:
            self._reading.spend(batch, phase)
        for number, found in collect_answers(batches, phase.windows, self.options).items():
            self._found[number].append(found)
        if self._trace:
            for number, more in trace_windows(batches, phase.windows).items():
                every = (*self._traces.get(number, ()), *more)
                self._traces[number] = tuple(sorted(every, key=lambda window: window.start))

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
        unread = trace_unread(self._reading, self._backend.skim_config.block_size)
        return trace_answers(self.pairs, self._traces, spans, self._backend.num_layers, seconds, unread)
