"""Whether answers given at a confidence of 80 % are right in 80 % of the cases.

Reference: Guo et al., On Calibration of Modern Neural Networks, ICML 2017 (expected calibration error, equation 3).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from blockskim.data.examples import Example
from blockskim.evaluation.scoring import by_source, has_version_2
from blockskim.inference.answers import ExampleAnswers, best_text
from blockskim.inference.no_answer import NoAnswerRule
from blockskim.metrics.squad import best_over, exact_match

BINS = 15
"""Of equal width, from 0 to 1."""


@dataclass(frozen=True, slots=True)
class Bin:
    """Answers of similar confidence.

    Attributes:
        low: confidence from which the bin begins.
        high: confidence at which it ends; the last one holds 1, too.
        count: number of answers in it.
        confidence: mean of theirs; NaN where there is none.
        right: share of them that are right; NaN where there is none.
    """

    low: float
    high: float
    count: int
    confidence: float
    right: float


@dataclass(frozen=True, slots=True)
class Reliability:
    """Confidence against what was right.

    Attributes:
        bins: from the least confident.
        error: expected calibration error: the mean distance of confidence and share of right answers, each bin
            counting as often as it has answers.
    """

    bins: tuple[Bin, ...]
    error: float

    def summary(self) -> dict[str, Any]:
        """Values as JSON knows them; bins without answers are left out."""
        names = ("low", "high", "count", "confidence", "right")
        return {
            "expected_calibration_error": self.error,
            "bins": [{name: getattr(part, name) for name in names} for part in self.bins if part.count],
        }


def reliability(confidences: Sequence[float], right: Sequence[bool], bins: int = BINS) -> Reliability:
    """Sort answers into bins by their confidence.

    Args:
        confidences: from 0 to 1. Length: answers
        right: whether each answer is. Length: answers
        bins: how many of equal width.
    """
    values, hits = np.array(confidences, dtype=np.float64), np.array(right, dtype=np.float64)
    places = np.minimum((values * bins).astype(np.int64), bins - 1)
    made = []
    for place in range(bins):
        here = places == place
        count = int(here.sum())
        means = (float(values[here].mean()), float(hits[here].mean())) if count else (float("nan"), float("nan"))
        made.append(Bin(place / bins, (place + 1) / bins, count, *means))
    distance = sum(part.count * abs(part.confidence - part.right) for part in made if part.count)
    return Reliability(tuple(made), distance / len(values) if len(values) else float("nan"))


def measured_reliability(
    examples: Sequence[Example], answers: Sequence[ExampleAnswers], rule: NoAnswerRule
) -> Reliability | None:
    """The reliability of answers as they are given: "no answer", too, by the rules of SQuAD 2.0.

    Args:
        examples: the questions; those whose answers are not known are left out.
        answers: to each.
        rule: with the model's confidence, and when a question of SQuAD 2.0 counts as "no answer".

    Returns:
        None where no confidence was calibrated, or the right answer to no question is known.
    """
    if rule.confidence is None:
        return None
    values, right = [], []
    for pairs in by_source(examples, answers).values():
        version_2 = has_version_2(example for example, _ in pairs)
        for example, answer in pairs:
            if not example.annotated:
                continue
            if version_2 and rule.declines(answer):
                values.append(rule.chance(answer))
                right.append(not example.answerable)
            elif answer.candidates:
                values.append(rule.confidence.of_answer(*answer.best_scores()))
                right.append(example.answerable and is_right(example, best_text(example, answer)))
    return reliability(values, right) if values else None


def is_right(example: Example, text: str) -> bool:
    """Whether a text is one of the right answers, after the official normalisation."""
    return bool(best_over(exact_match, text, example.references))
