"""Evidence in pairs of a question and a text, whoever runs their windows: sentences, scores, answers in them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from blockskim.answering.reading import TextRun
from blockskim.answering.request import TextPair
from blockskim.answering.text_reading import TextReading
from blockskim.answering.word_boundaries import Boundaries
from blockskim.data.windows import WindowSet
from blockskim.evidence.scoring import evidence_model, sentence_scores
from blockskim.evidence.selection import ScoredText
from blockskim.evidence.sentences import Spans
from blockskim.evidence.signals import SentenceSignals, SignalCollector
from blockskim.inference.backend import Backend
from blockskim.inference.runner import WindowBatch

LEAST_CONFIDENCE = 0.1
"""Of a span that is called an answer; in most sentences there is none."""


@dataclass(frozen=True, slots=True)
class SpanInSentence:
    """An answer that stands in a sentence.

    Attributes:
        start: its first character in the document.
        end: one past its last.
        confidence: the probability that it is right; of a model that was not calibrated for that, the share of the
            probability of all spans of its document.
    """

    start: int
    end: int
    confidence: float


@dataclass(frozen=True, slots=True)
class TextEvidence:
    """What a text holds for a question.

    Attributes:
        text: its sentences, with scores.
        answers: the answer in each sentence, None where there is none.
    """

    text: ScoredText
    answers: Sequence[SpanInSentence | None]


class EvidenceReading(TextReading):
    """Evidence in pairs of a question and a text, as their windows are run."""

    def __init__(
        self,
        backend: Backend,
        run: TextRun,
        pairs: Sequence[TextPair],
        sentences: Sequence[Spans],
        max_answer_len: int,
        trace: bool,
    ) -> None:
        """Nothing is computed.

        Args:
            backend: whose windows they are.
            run: of the pairs; it should ask all predictors.
            pairs: what was asked; there may be none.
            sentences: first character and one past the last of each sentence, by pair.
            max_answer_len: most tokens in an answer.
            trace: whether to keep what was read of each window.
        """
        super().__init__(backend, run, pairs, trace)
        self._signals = SignalCollector(run.windows, sentences, backend.skim_layers, max_answer_len)

    @property
    def signals(self) -> list[SentenceSignals]:
        """What the model says of the sentences of each pair, when everything was taken."""
        return self._signals.signals

    def evidence(self) -> list[TextEvidence]:
        """That of each pair, when everything was taken."""
        return [self._scored(number, signals) for number, signals in enumerate(self.signals)]

    def _collect(self, batches: Sequence[WindowBatch], windows: WindowSet) -> None:
        self._signals.add(batches, windows)

    def _scored(self, number: int, signals: SentenceSignals) -> TextEvidence:
        """The sentences of one pair with their scores and answers."""
        windows = self.run.windows
        text = windows.examples[number].context
        spans = [(int(start), int(end)) for start, end in signals.spans]
        null, normalizer = float(signals.nulls.sum()), float(signals.log_normalizers.sum())
        boundaries = Boundaries(text)
        answers = [
            _answer(boundaries, span, float(score), tuple(answer), null, normalizer, self._backend)
            for span, score, answer in zip(spans, signals.answer_scores, signals.answers.tolist(), strict=True)
        ]
        scores = sentence_scores(signals, evidence_model(self._backend.skim_config))
        return TextEvidence(ScoredText(text, spans, scores), answers)


def _answer(
    boundaries: Boundaries,
    sentence: tuple[int, int],
    score: float,
    span: tuple[int, int],
    null: float,
    normalizer: float,
    model: Backend,
) -> SpanInSentence | None:
    """The best answer inside of a sentence, in whole words, if it is likely enough.

    Args:
        boundaries: of words in the document.
        sentence: its first character and one past the last.
        score: of the best span inside of it; -inf where there is none.
        span: first character and one past the last of that.
        null: score of "no answer" in the document.
        normalizer: what makes scores of the document probabilities.
        model: whose scores they are.
    """
    if not np.isfinite(score):
        return None
    if model.confidence is not None:
        confidence = model.confidence.of_answer(score, null, normalizer)
    else:
        confidence = float(np.exp(min(0.0, score - normalizer)))
    if confidence < LEAST_CONFIDENCE:
        return None
    start, end = boundaries.align(*boundaries.trim(*span))
    start, end = max(start, sentence[0]), min(end, sentence[1])
    return SpanInSentence(start, end, confidence) if start < end else None
