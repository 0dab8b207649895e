"""Answers of pairs of a question and a text, whoever runs their windows."""

from collections.abc import Sequence

from blockskim.answering.ranking import collect_answers, scored_spans
from blockskim.answering.reading import TextRun
from blockskim.answering.request import AnswerOptions, TextPair
from blockskim.answering.text_reading import TextReading
from blockskim.answering.trace import AnswerTrace
from blockskim.data.windows import WindowSet
from blockskim.inference.answers import ExampleAnswers, PartialAnswers, merge_answers
from blockskim.inference.backend import Backend
from blockskim.inference.runner import WindowBatch


class PairReading(TextReading):
    """Answers of pairs of a question and a text, as their windows are run.

    Attributes:
        options: how to answer.
    """

    def __init__(
        self, backend: Backend, run: TextRun, pairs: Sequence[TextPair], options: AnswerOptions, trace: bool
    ) -> None:
        """Nothing is computed.

        Args:
            backend: whose windows they are.
            run: of the pairs.
            pairs: what was asked; there may be none.
            options: how to answer.
            trace: whether to keep what was read of each window.
        """
        super().__init__(backend, run, pairs, trace)
        self.options = options
        self._found: list[list[PartialAnswers]] = [[] for _ in pairs]

    def answers(self) -> list[ExampleAnswers]:
        """Answers of each pair, when everything was taken."""
        return [merge_answers(found, self.options.top_k) for found in self._found]

    def traces(self, answers: Sequence[ExampleAnswers], seconds: float | None = None) -> list[AnswerTrace]:
        """What was read of each pair, when everything was taken; nothing where that was not kept.

        Args:
            answers: of each pair.
            seconds: that it took; those that went by since the texts came when None.
        """
        return self._traces([scored_spans(each) for each in answers], seconds)

    def _collect(self, batches: Sequence[WindowBatch], windows: WindowSet) -> None:
        for number, found in collect_answers(batches, windows, self.options).items():
            self._found[number].append(found)
