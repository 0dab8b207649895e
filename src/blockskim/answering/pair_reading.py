"""Answers of pairs of a question and a text, whoever runs their windows."""

from collections.abc import Sequence

from blockskim.answering.ranking import FoundAnswer, answers_in_text, collect_answers, with_answers
from blockskim.answering.reading import TextRun
from blockskim.answering.request import AnswerOptions, TextPair
from blockskim.answering.text_reading import TextReading
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

    def results(self) -> list[FoundAnswer | list[FoundAnswer]]:
        """What a call gives for each pair, when everything was taken; with the trace if what was read was kept."""
        found = [
            answers_in_text(answers, pair.context, self.options, self._backend.confidence)
            for answers, pair in zip(self.answers(), self.pairs, strict=True)
        ]
        for trace, own in zip(self.traces(), found, strict=False):
            trace = with_answers(trace, own)
            for answer in own:
                answer["trace"] = trace
        return [own[0] if self.options.top_k == 1 else own for own in found]

    def _collect(self, batches: Sequence[WindowBatch], windows: WindowSet) -> None:
        for number, found in collect_answers(batches, windows, self.options).items():
            self._found[number].append(found)
