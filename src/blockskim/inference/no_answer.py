"""When "no answer" is given in place of the best answer."""

from dataclasses import dataclass

import numpy as np

from blockskim.inference.answers import ExampleAnswers
from blockskim.method.confidence import ConfidenceModel, check_no_answer_threshold

LIKELIER = 0.5
"""The threshold without calibrated confidence: "no answer" is given where its score is above that of the best."""


@dataclass(frozen=True, slots=True)
class NoAnswerRule:
    """What is taken for the chance that there is no answer, and how large it must be.

    Attributes:
        confidence: that of the model; None where it was not calibrated.
        threshold: the chance above which "no answer" is given; None for the one that was calibrated.

    Raises:
        ConfigError: the threshold is no number from 0 to 1.
    """

    confidence: ConfidenceModel | None = None
    threshold: float | None = None

    def __post_init__(self) -> None:
        """Refuse an impossible threshold."""
        if self.threshold is not None:
            object.__setattr__(self, "threshold", check_no_answer_threshold(self.threshold))

    @property
    def limit(self) -> float:
        """The chance above which "no answer" is given."""
        if self.threshold is not None:
            return self.threshold
        return LIKELIER if self.confidence is None else self.confidence.no_answer_threshold

    def chance(self, answers: ExampleAnswers) -> float:
        """The chance that a text holds no answer.

        It is its calibrated confidence; else the sigmoid of what the score of "no answer" is above the best one.
        """
        score, null_score, log_normalizer = answers.best_scores()
        if self.confidence is not None:
            return self.confidence.of_none(score, null_score, log_normalizer)
        margin = np.clip(null_score - score, -50, 50) if answers.candidates else 50.0
        return float(1 / (1 + np.exp(-margin)))

    def declines(self, answers: ExampleAnswers) -> bool:
        """Whether "no answer" is to be given."""
        return self.chance(answers) > self.limit
