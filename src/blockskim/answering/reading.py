"""Running questions and texts through a model: what answers are collected from, and evidence too."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from blockskim.answering.request import (
    DEFAULT_LENGTH,
    AnswerOptions,
    TellUnread,
    TextPair,
    check_texts,
    find_unread,
    warn_of_unread,
)
from blockskim.data.examples import Example
from blockskim.data.tokens import FrozenTokenizer
from blockskim.data.windows import STAND_IN, WindowSet, WindowSettings, make_windows
from blockskim.inference.backend import Backend
from blockskim.inference.first_stage import ReadingPlan
from blockskim.inference.operating_point import choose_thresholds
from blockskim.inference.runner import Thresholds, WindowBatch, batches, run_windows, whole_examples
from blockskim.inference.window_settings import window_settings
from blockskim.method.skim_trace import AS_NEEDED, Asking

WindowCount = Callable[[int, int], None]
"""Called with the number of windows that are done and the number of all."""


class TextRun:
    """One run of a model over pairs of a question and a text.

    Attributes:
        windows: of the whole texts; the number of an example is that of its pair.
        reading: what is read of them; complete once ``groups`` came to its end.
        thresholds: what they are skimmed with.
        asking: which predictors are asked on the way.
        started: when the texts came, by ``time.perf_counter``.
    """

    def __init__(
        self,
        windows: WindowSet,
        reading: ReadingPlan,
        thresholds: Thresholds,
        batch_size: int,
        asking: Asking,
        started: float,
        progress: WindowCount | None = None,
    ) -> None:
        """Prepare a run; nothing is computed before ``groups``.

        Args:
            windows: of the whole texts.
            reading: decides what of them is read.
            thresholds: as ``run_windows`` takes them.
            batch_size: windows that run together.
            asking: which predictors are asked on the way.
            started: when the texts came, by ``time.perf_counter``.
            progress: called after each batch.
        """
        self.windows = windows
        self.reading = reading
        self.thresholds = thresholds
        self.asking = asking
        self.started = started
        self._batch_size = batch_size
        self._progress = progress

    def groups(self, backend: Backend) -> Iterator[tuple[list[WindowBatch], WindowSet]]:
        """Batches in groups, each with all windows of its examples that are read at once, and the windows they are of.

        An example may come again in a later group with other passages of its text, under ``max_cost``. What a group
        computed can be let go with it, so that memory does not grow with the length of the texts.
        """
        done = 0
        for phase in self.reading.phases():
            read = phase.windows
            size = max(self._batch_size, phase.least_batch)
            running = run_windows(
                backend,
                read,
                thresholds=self.thresholds,
                asking=self.asking,
                selected=batches(read, size, phase.among),
            )
            count = len(read if phase.among is None else phase.among)
            reporting, done = _reporting(running, done, done + count, self._progress), done + count
            for group in whole_examples(reporting, read):
                for batch in group:
                    self.reading.spend(batch, phase)
                yield group, read


@dataclass(frozen=True, slots=True)
class TextReader:
    """What questions and texts are read with.

    Attributes:
        model: what computes logits.
        name: what messages call the model.
        tokenizer: a copy of its tokenizer.
        batch_size: windows that run together, where a call says nothing else.
        point: operating point, where a call says nothing else; None for the model's own thresholds.
        tell_unread: told of texts and questions in which there is nothing to read, and of questions that are too long.
    """

    model: Backend
    name: str
    tokenizer: FrozenTokenizer
    batch_size: int
    point: str | None
    tell_unread: TellUnread = warn_of_unread

    def thresholds(self, options: AnswerOptions) -> Thresholds:
        """What a call skims with: its own choice, or else that of the reader.

        Raises:
            ConfigError: it is impossible, or the model can't do it.
        """
        chosen = options.dense or options.threshold is not None or options.point is not None
        return choose_thresholds(
            self.model,
            dense=options.dense,
            threshold=options.threshold,
            point=options.point if chosen else self.point,
            name=self.name,
        )

    def window_settings(self, options: AnswerOptions) -> WindowSettings:
        """Windows as a call wants them; the default length becomes what the model reads, where that is less.

        Raises:
            ConfigError: the model can't read such windows.
        """
        length, limit = options.max_seq_len, self.model.position_limit
        if limit is not None and length == DEFAULT_LENGTH:
            length = min(length, limit)
        return window_settings(self.model, self.tokenizer, length, options.doc_stride, options.max_question_len)

    def read(
        self,
        pairs: Sequence[TextPair],
        options: AnswerOptions,
        progress: WindowCount | None = None,
        asking: Asking = AS_NEEDED,
    ) -> TextRun:
        """Check texts and cut them into windows, to be run through the model.

        Args:
            pairs: what to read; where there is none, options are refused all the same.
            options: how.
            progress: called after each batch with how many windows are done, and of how many as far as is known.
            asking: which predictors are asked on the way.

        Raises:
            ConfigError: an option is impossible for the model.
            DataError: a question or text is blank or holds no valid text.
        """
        started = time.perf_counter()
        thresholds, settings = self.thresholds(options), self.window_settings(options)
        check_texts(pairs)
        examples = [Example(str(number), pair.question, pair.context) for number, pair in enumerate(pairs)]
        windows = make_windows(examples, self.tokenizer, settings, stand_in=STAND_IN, warn=False)
        self.tell_unread(find_unread(windows), pairs)
        reading = ReadingPlan(self.model, windows, thresholds, options.max_cost, asking)
        batch_size = options.batch_size or self.batch_size
        return TextRun(windows, reading, thresholds, batch_size, asking, started, progress)


def _reporting(
    batches: Iterable[WindowBatch], done: int, total: int, progress: WindowCount | None
) -> Iterator[WindowBatch]:
    """The batches as they come; after each, progress is called with the windows that are done and all of them."""
    for batch in batches:
        done += len(batch.indices)
        yield batch
        if progress is not None:
            progress(done, total)
