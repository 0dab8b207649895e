"""How likely it is that a sentence is evidence, from what a model that was trained to find answers says about it.

Logistic regression over few numbers. Three are the model's: the mean of what the layers with a predictor say of the
sentence, the same of the best sentence of its text, and the best answer span. A late layer alone sees the answer best,
but sentences that support it, as in questions over two texts, are seen better by all layers together. The span's logits
are taken as they are and not as a share of the text's, which would depend on what else the text holds. Two are the
words': which of the question's the sentence repeats, and how long it is. They hold for what was dropped as well.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from blockskim.checks import check_items, check_known, check_number, check_range
from blockskim.errors import ConfigError

Floats = NDArray[np.float64]

FEATURES = ("one", "keep", "gone", "best span", "text keep", "shared", "length")
"""What is known of a sentence; see ``features``."""

LARGEST_KEEP = 10.0
"""Of the logit of a keep probability, either way."""

LARGEST_SPAN = 20.0
"""Of a start plus an end logit, either way."""

SPAN_TOKENS = 15
"""Most tokens of the span that counts, however long an answer may be: scores are on one scale."""


@dataclass(frozen=True, slots=True)
class EvidenceModel:
    """Logistic regression over ``FEATURES``.

    Attributes:
        weights: of the features.
        threshold: the score above which a sentence is taken for evidence where a caller says nothing else.
        points: other thresholds by name; at ``highlight-98`` 98 % of the evidence of the data they were chosen on stay.

    Raises:
        ConfigError: there are more or fewer weights, a number is impossible, or a name is empty.
    """

    weights: tuple[float, ...]
    threshold: float = 0.5
    points: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Bring numbers to Python's own and refuse impossible ones."""
        values = tuple(float(check_number("weights", value)) for value in check_items("weights", self.weights))
        if len(values) != len(FEATURES) or not all(math.isfinite(value) for value in values):
            raise ConfigError(
                f"weights is {list(values)}; it must be {len(FEATURES)} finite numbers, for {', '.join(FEATURES)}"
            )
        object.__setattr__(self, "weights", values)
        object.__setattr__(self, "threshold", float(check_range("threshold", self.threshold, 0.0, 1.0)))
        object.__setattr__(self, "points", _checked_points(self.points))

    def least_score(self, wanted: float | str | None) -> float:
        """The threshold that a caller wants: a score, a point by its name, or None for the model's own.

        Raises:
            ConfigError: there is no such point.
        """
        if not isinstance(wanted, str):
            return self.threshold if wanted is None else wanted
        if wanted not in self.points:
            names = ", ".join(self.points)
            has = f"or one of its points: {names}" if names else "and it has no points of evidence"
            raise ConfigError(f"threshold is {wanted!r:.80}; of this model it must be a score from 0 to 1, {has}")
        return self.points[wanted]

    def scores(self, known: Floats) -> Floats:
        """Probabilities that sentences are evidence. Shape: (sentences, features) to (sentences,)."""
        scores: Floats = 1.0 / (1.0 + np.exp(-np.clip(known @ np.array(self.weights), -50.0, 50.0)))
        return scores

    @classmethod
    def from_dict(cls, values: object) -> Self:
        """Read the values that ``to_dict`` wrote.

        Raises:
            ConfigError: a name is unknown or missing, or a value impossible.
        """
        names = [item.name for item in fields(cls)]
        if not isinstance(values, Mapping) or "weights" not in values:
            raise ConfigError(f"evidence is {values!r:.80}; it must be a mapping with {', '.join(names)}")
        check_known("evidence setting", sorted(set(values) - set(names)), names)
        try:
            return cls(**dict(values))
        except ConfigError as error:
            raise ConfigError(f"evidence: {error}") from error

    def to_dict(self) -> dict[str, Any]:
        """Values as JSON knows them."""
        return {**asdict(self), "weights": list(self.weights)}


def _checked_points(points: object) -> dict[str, float]:
    if not isinstance(points, Mapping) or not all(isinstance(name, str) and name for name in points):
        raise ConfigError(f"points is {points!r:.80}; it must be a mapping of names to scores")
    return {name: float(check_range(f"points.{name}", value, 0.0, 1.0)) for name, value in points.items()}


UNCALIBRATED = EvidenceModel((-2.63, 0.349, -1.5, 0.133, 0.134, 4.83, -0.525), 0.3)
"""For models that were not calibrated: what was learned of one model on questions of SQuAD's and HotpotQA's training
sets. Another model's scores order its sentences as well, but their size need not mean much."""


def features(keep: Floats, best: Floats, shared: Floats, tokens: NDArray[np.int64]) -> Floats:
    """What is known of the sentences of a text: ``FEATURES``.

    They are 1; the mean logit of the highest keep probability in each layer that scored a block of the sentence;
    whether no token of it was read to the end; the score of the best answer span inside of it, 0 where there is none;
    the highest such mean logit in the text; the share of the question that the sentence repeats; and the logarithm of
    its length.

    Args:
        keep: highest keep probability in each layer; NaN where none was scored. Shape: (layers, sentences)
        best: start plus end logit; -inf where there is none. Shape: (sentences,)
        shared: from 0 to 1. Shape: (sentences,)
        tokens: in each. Shape: (sentences,)

    Returns:
        Shape: (sentences, features)
    """
    scored = ~np.isnan(keep)
    # Behind this the logit is larger than LARGEST_KEEP anyway.
    chances = np.clip(np.where(scored, keep, 0.5), 1e-9, 1.0 - 1e-9)
    logits = np.clip(np.log(chances / (1.0 - chances)), -LARGEST_KEEP, LARGEST_KEEP)
    means = logits.sum(0, where=scored) / np.maximum(scored.sum(0), 1)
    known = scored.any(0)
    highest = np.full(len(best), means[known].max() if known.any() else 0.0)
    gone = ~np.isfinite(best)
    spans = np.clip(np.where(gone, 0.0, best), -LARGEST_SPAN, LARGEST_SPAN)
    ones = np.ones(len(best))
    return np.stack([ones, means, gone.astype(np.float64), spans, highest, shared, np.log1p(tokens)], axis=1)
