"""The best answers to each example, gathered over all its windows."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from blockskim.data.examples import Example
from blockskim.data.windows import WindowSet
from blockskim.inference.runner import WindowBatch
from blockskim.inference.spans import best_spans
from blockskim.inference.survival import ALWAYS, NEVER, SurvivalRank, last_layer


@dataclass(frozen=True, slots=True)
class Candidate:
    """A possible answer.

    Attributes:
        score: start logit plus end logit.
        start: first character in the context.
        end: one past the last character.
        window: the window it was found in.
    """

    score: float
    start: int
    end: int
    window: int

    def text(self, context: str) -> str:
        """The answer as it stands in the example's context."""
        return context[self.start : self.end]


@dataclass(frozen=True, slots=True)
class ExampleAnswers:
    """The best answers to one example, over all its windows.

    Attributes:
        candidates: best first, no span twice.
        null_score: score of "no answer": the smallest over the windows that were not dropped whole, as the official
            SQuAD 2.0 evaluation takes it.
        log_normalizer: what turns scores into probabilities, ``exp(score - log_normalizer)``: every token that could
            begin or end an answer in any of the windows, and one "no answer", share one scale.
    """

    candidates: tuple[Candidate, ...]
    null_score: float
    log_normalizer: float

    def probability(self, score: float) -> float:
        """Probability of a candidate's or the null score."""
        return float(np.exp(min(0.0, score - self.log_normalizer)))

    def best_scores(self) -> tuple[float, float, float]:
        """What a ``ConfidenceModel`` sees of the best answer: its score, that of "no answer", and the normaliser."""
        score = self.candidates[0].score if self.candidates else -np.inf
        return float(score), self.null_score, self.log_normalizer


@dataclass(frozen=True, slots=True)
class PartialAnswers:
    """The best answers to one example in what was read of it at once, to be merged with those of other parts.

    Attributes:
        candidates: best first, no span twice.
        sums: logarithm of the summed exponentials of all start logits, and of all end logits; -inf where there is none.
        nulls: start and end logit of "no answer", of the window where their sum is smallest; infinite where nothing
            tells it.
        rank: how the example fared in the part.
    """

    candidates: tuple[Candidate, ...]
    sums: tuple[float, float]
    nulls: tuple[float, float]
    rank: SurvivalRank = ALWAYS


class AnswerCollector:
    """Gathers the answers of batches by example; order and grouping of the batches make no difference.

    Of an example that is spread over several batches, each batch keeps a block. As if all its windows had run
    together, only the batches count in which blocks passed the thresholds, or, when there is none, the one in which
    the likeliest block was left last.
    """

    def __init__(self, windows: WindowSet, max_answer_length: int = 30, n_best: int = 1) -> None:
        """Collect the ``n_best`` best spans of at most ``max_answer_length`` tokens of each example."""
        self.windows = windows
        self.max_answer_length = max_answer_length
        self.n_best = n_best
        size = len(windows.examples)
        self._candidates: list[list[Candidate]] = [[] for _ in range(size)]
        self._null = np.full((size, 2), np.inf)
        self._sums = np.full((size, 2), -np.inf)
        self._ranks = [NEVER] * size

    def add(self, batch: WindowBatch) -> None:
        """Take in the logits of a batch."""
        scores = batch.scores
        self.add_logits(batch.indices, scores.start_logits, scores.end_logits, batch.context_mask, batch.ranks)

    def add_logits(
        self,
        indices: NDArray[np.int64],
        start_logits: NDArray[np.float32],
        end_logits: NDArray[np.float32],
        context_mask: NDArray[np.bool_],
        ranks: Sequence[SurvivalRank],
    ) -> None:
        """Take in the logits of some windows, wherever they come from.

        Args:
            indices: which windows. Shape: (batch,)
            start_logits: -inf where a token was dropped and on padding. Shape: (batch, tokens)
            end_logits: -inf in the same places. Shape: (batch, tokens)
            context_mask: True on context tokens. Shape: (batch, tokens)
            ranks: how the example of each window fared. Length: batch
        """
        # A few more than asked, as the same span may turn up in the overlap of two windows.
        wanted = self.n_best if len(indices) == 1 else self.n_best + (self.n_best > 1) * self.n_best
        passages = self.windows.passages(indices, context_mask.shape[1])
        spans = best_spans(start_logits, end_logits, context_mask, self.max_answer_length, wanted, passages)
        scores, starts, ends = spans.scores, spans.starts, spans.ends
        sums = np.stack([_log_sum_exp(part, context_mask) for part in (start_logits, end_logits)], -1)
        nulls = np.stack([start_logits[:, 0], end_logits[:, 0]], -1)
        for row, index in enumerate(indices):
            example, shift = self.windows.example_of(int(index)), self.windows.context_offset(int(index))
            if not self._counts(example, ranks[row]):
                continue
            self._sums[example] = np.logaddexp(self._sums[example], sums[row])
            if nulls[row].sum() < self._null[example].sum() and np.isfinite(nulls[row]).all():
                self._null[example] = nulls[row]
            for score, start, end in zip(scores[row], starts[row], ends[row], strict=True):
                if not np.isfinite(score):
                    break
                span = self.windows.character_span(example, int(start) + shift, int(end) + shift)
                self._candidates[example].append(Candidate(float(score), *span, int(index)))

    def _counts(self, example: int, rank: SurvivalRank) -> bool:
        """Whether a window of a batch with this rank counts; what counted before may no longer do so."""
        if rank > self._ranks[example]:
            self._ranks[example] = rank
            self._candidates[example] = []
            self._null[example] = np.inf
            self._sums[example] = -np.inf
        return rank == self._ranks[example]

    def results(self) -> list[ExampleAnswers]:
        """Answers of every example, in the order of the examples."""
        return [self.result(example) for example in range(len(self.windows.examples))]

    def result(self, example: int) -> ExampleAnswers:
        """Answers of one example."""
        return merge_answers([self.part(example)], self.n_best)

    def part(self, example: int) -> PartialAnswers:
        """Answers of one example, of which other parts are read by others."""
        candidates = _distinct(self._candidates[example], self.n_best)
        sums, nulls = self._sums[example].tolist(), self._null[example].tolist()
        return PartialAnswers(candidates, tuple(sums), tuple(nulls), self._ranks[example])


def merge_answers(parts: Sequence[PartialAnswers], n_best: int) -> ExampleAnswers:
    """Answers to one example from parts of its text that were read one after the other; none of them twice.

    It is as if all parts had been read at once. They are on one scale: "no answer" counts once. And those parts alone
    count in which blocks passed the thresholds, or, when there is none, the one in which the likeliest was left last.

    Args:
        parts: the answers of each; at least one.
        n_best: how many to keep.
    """
    best = max(part.rank for part in parts)
    parts = [part for part in parts if last_layer(part.rank, best) == math.inf]
    candidates = parts[0].candidates
    if len(parts) > 1:
        candidates = _distinct([candidate for part in parts for candidate in part.candidates], n_best)
    sums = np.logaddexp.reduce([part.sums for part in parts], axis=0)
    nulls = min((part.nulls for part in parts), key=sum)
    if np.isfinite(nulls).all():
        sums = np.logaddexp(sums, nulls)
    return ExampleAnswers(candidates, sum(nulls), float(sums.sum()))


def _distinct(candidates: Sequence[Candidate], n_best: int) -> tuple[Candidate, ...]:
    """The best of some candidates, best first, no span twice."""
    distinct: dict[tuple[int, int], Candidate] = {}
    for candidate in sorted(candidates, key=lambda one: (-one.score, one.start, one.end)):
        distinct.setdefault((candidate.start, candidate.end), candidate)
    return tuple(list(distinct.values())[:n_best])


def answer_texts(examples: Sequence[Example], answers: Sequence[ExampleAnswers]) -> dict[str, str]:
    """The best answer of each example by its id; "" where there is none."""
    return {example.id: best_text(example, answer) for example, answer in zip(examples, answers, strict=True)}


def best_text(example: Example, answer: ExampleAnswers) -> str:
    """The best answer to an example; "" where there is none."""
    return answer.candidates[0].text(example.context) if answer.candidates else ""


def _log_sum_exp(logits: NDArray[np.float32], where: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Logarithm of the summed exponentials of some logits of each row; -inf where there is none.

    Shape: (batch, tokens) each to (batch,)
    """
    chosen = np.where(where, logits, -np.inf)
    peaks = chosen.max(1)
    peaks[np.isneginf(peaks)] = 0.0
    with np.errstate(divide="ignore"):
        # One after the other: how ``sum`` groups numbers depends on how wide the batch is, and with it the last digit.
        sums: NDArray[np.float64] = peaks + np.log(np.exp(chosen - peaks[:, None]).cumsum(1, dtype=np.float64)[:, -1])
    return sums
