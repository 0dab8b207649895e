"""What an answer's scores say about its being right: a logistic model that was fitted on held-out questions.

A score of a span is comparable within one text. Confidence is a probability on one scale, for one text, for several
and for "no answer" alike: of a hundred answers given at 0.8, eighty are right.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from blockskim.checks import check_items, check_known, check_number
from blockskim.errors import ConfigError
from blockskim.method.logistic import softmax

FEATURES = ("one", "margin", "margin above zero", "log probability")
"""What is known of the best answer to a question; see ``features``."""

LARGEST = 30.0
"""Of a margin or a negative logarithm of a probability; beyond that nothing can be learned from their size."""


@dataclass(frozen=True, slots=True)
class ConfidenceModel:
    """Multinomial logistic regression over three outcomes: the answer is right, it is wrong, or there is none.

    Attributes:
        right: weights of ``FEATURES`` for the first outcome, against the second.
        none: weights of ``FEATURES`` for the third outcome, against the second.
        no_answer_threshold: the confidence of "no answer" above which it is given, where it may be.

    Raises:
        ConfigError: there are more or fewer weights, or a number is impossible.
    """

    right: tuple[float, ...]
    none: tuple[float, ...]
    no_answer_threshold: float = 0.5

    def __post_init__(self) -> None:
        """Bring numbers to Python's own and refuse impossible ones."""
        for name in ("right", "none"):
            values = tuple(float(check_number(name, value)) for value in check_items(name, getattr(self, name)))
            if len(values) != len(FEATURES) or not all(math.isfinite(value) for value in values):
                raise ConfigError(f"{name} is {list(values)}; it must be {len(FEATURES)} finite numbers")
            object.__setattr__(self, name, values)
        object.__setattr__(self, "no_answer_threshold", check_no_answer_threshold(self.no_answer_threshold))

    def of_answer(self, score: float, null_score: float, log_normalizer: float) -> float:
        """Probability that an answer is right.

        Args:
            score: of the answer: start logit plus end logit.
            null_score: of "no answer"; infinite where nothing tells it.
            log_normalizer: what makes scores probabilities, ``exp(score - log_normalizer)``.
        """
        return float(self.outcomes(features(score, null_score, log_normalizer))[0])

    def of_none(self, score: float, null_score: float, log_normalizer: float) -> float:
        """Probability that there is no answer, given the scores of the best one."""
        return float(self.outcomes(features(score, null_score, log_normalizer))[2])

    def outcomes(self, known: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probabilities that the answer is right, that it is wrong, and that there is none.

        Shape: (…, features) to (…, 3)
        """
        return softmax(known @ np.array([self.right, (0.0,) * len(FEATURES), self.none]).T)

    @classmethod
    def from_dict(cls, values: object) -> Self:
        """Read the values that ``to_dict`` wrote.

        Raises:
            ConfigError: a name is unknown or missing, or a value impossible.
        """
        names = [item.name for item in fields(cls)]
        if not isinstance(values, Mapping) or not {"right", "none"} <= set(values):
            raise ConfigError(f"confidence is {values!r:.80}; it must be a mapping with {', '.join(names)}")
        check_known("confidence setting", sorted(set(values) - set(names)), names)
        try:
            return cls(**dict(values))
        except ConfigError as error:
            raise ConfigError(f"confidence: {error}") from error

    def to_dict(self) -> dict[str, Any]:
        """Values as JSON knows them."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}


def check_no_answer_threshold(value: object) -> float:
    """A threshold for the confidence of "no answer" as a number of Python.

    Raises:
        ConfigError: it is no number from 0 to 1.
    """
    number = float(check_number("no_answer_threshold", value))
    if not 0 <= number <= 1:
        raise ConfigError(f"no_answer_threshold is {number}; it must be from 0 to 1")
    return number


def features(score: float, null_score: float, log_normalizer: float) -> NDArray[np.float64]:
    """What the model sees of an answer: ``FEATURES``. Shape of the result: (features,).

    They are 1; by how much the answer's score is above that of "no answer"; the same where it is positive, so that the
    slope may change there; and the logarithm of the answer's probability among all spans.

    Args:
        score: of the answer; -inf where a text has none at all.
        null_score: of "no answer"; infinite where nothing tells it.
        log_normalizer: what makes scores probabilities.
    """
    if not math.isfinite(score):
        return np.array([1.0, -LARGEST, 0.0, -LARGEST])
    margin = float(np.clip(score - null_score, -LARGEST, LARGEST)) if math.isfinite(null_score) else LARGEST
    return np.array([1.0, margin, max(0.0, margin), max(-LARGEST, min(0.0, score - log_normalizer))])
