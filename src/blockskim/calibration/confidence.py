"""Fitting what turns the scores of answers into confidence, on questions that nothing was trained on."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blockskim.checks import is_number
from blockskim.data.examples import Example, check_annotated
from blockskim.data.windows import WindowSet
from blockskim.errors import ConfigError, DataError
from blockskim.evaluation.reliability import is_right, reliability
from blockskim.inference.answers import AnswerCollector, ExampleAnswers, best_text
from blockskim.inference.backend import Backend, LoadedBackend
from blockskim.inference.first_stage import ReadingPlan
from blockskim.inference.runner import Progress, Thresholds, run_windows
from blockskim.method.confidence import FEATURES, ConfidenceModel, features
from blockskim.method.logistic import FEWEST, fit_logistic
from blockskim.metrics.squad import best_over, token_f1
from blockskim.surgery.settings_copy import copy_with_settings

RIGHT, WRONG, NONE = range(3)
"""Outcomes: the answer is right, it is wrong, there is none."""


@dataclass(frozen=True, slots=True)
class ConfidenceFit:
    """A fitted model of confidence, and what it was fitted on.

    Attributes:
        model: the fit.
        right: number of questions that were answered rightly.
        wrong: number of those that have an answer, and were answered wrongly.
        none: number of those that have none.
        error: expected calibration error of the best answers on the same data, whose share without an answer may be
            another than the one assumed.
    """

    model: ConfidenceModel
    right: int
    wrong: int
    none: int
    error: float

    def summary(self) -> dict[str, Any]:
        """Values as JSON knows them."""
        counts = {"right_answers": self.right, "wrong_answers": self.wrong, "without_answer": self.none}
        return {**self.model.to_dict(), **counts, "expected_calibration_error": self.error}


@dataclass(frozen=True, slots=True)
class Judged:
    """Questions whose outcome is known.

    Attributes:
        known: what the confidence model sees of each. Shape: (questions, features)
        outcomes: ``RIGHT``, ``WRONG`` or ``NONE``. Shape: (questions,)
        f1: of the best answer, from 0 to 1; 0 where there is none to find. Shape: (questions,)
    """

    known: NDArray[np.float64]
    outcomes: NDArray[np.int64]
    f1: NDArray[np.float64]


def calibrate_confidence(
    model: Backend,
    windows: WindowSet,
    batch_size: int = 32,
    thresholds: Thresholds = None,
    max_answer_length: int = 30,
    progress: Progress | None = None,
    no_answer_share: float | None = None,
) -> ConfidenceFit:
    """Fit a model of confidence, and choose above which confidence of "no answer" none should be given.

    Args:
        model: in evaluation mode.
        windows: of examples that were neither trained on nor will be reported on; with and without answers.
        batch_size: windows per batch.
        thresholds: that it will answer at, as ``skim`` takes them.
        max_answer_length: most tokens in an answer.
        progress: called with the number of windows after each batch.
        no_answer_share: share of the questions in use that have no answer, above 0 and below 1; None for that of the
            windows' examples. Whatever it is, the threshold for "no answer" is chosen on the examples.

    Raises:
        ConfigError: the share is impossible.
        DataError: there are too few questions of an outcome, or the answers to one are not known.
    """
    check_outcomes(windows.examples)
    if no_answer_share is not None:
        checked_share(no_answer_share)
    # As it will answer: of long documents passages alone are read.
    (phase,) = ReadingPlan(model, windows, thresholds).phases()
    collector = AnswerCollector(phase.windows, max_answer_length)
    for batch in run_windows(model, phase.windows, batch_size=batch_size, thresholds=thresholds, progress=progress):
        collector.add(batch)
    if progress is not None:
        progress(max(0, len(windows) - len(phase.windows)))
    judged = judge(windows.examples, collector.results())
    fitted = fit_confidence(judged, no_answer_share)
    right, wrong, none = np.bincount(judged.outcomes, minlength=3).tolist()
    measured = reliability(fitted.outcomes(judged.known)[:, RIGHT].tolist(), (judged.outcomes == RIGHT).tolist())
    return ConfidenceFit(fitted, right, wrong, none, measured.error)


def check_outcomes(examples: Sequence[Example]) -> None:
    """Refuse examples of which too few have no answer, or have one, before a model reads them.

    Raises:
        DataError: there are too few of a kind, or the answers to one are not known.
    """
    check_annotated(examples)
    answerable = sum(example.answerable for example in examples)
    none = len(examples) - answerable
    if none < FEWEST or answerable < 2 * FEWEST:
        raise DataError(
            f"confidence is learned from right answers, wrong ones and questions that have none, at least {FEWEST} of "
            f"each; of these data {answerable} questions have an answer and {none} have none"
        )


def save_with_confidence(loaded: LoadedBackend, confidence: ConfidenceModel, output: Path) -> None:
    """Write a copy of a Block-Skim model that has this confidence; all else in it stays as it is, graphs too.

    Args:
        loaded: the model, from a directory or the hub.
        confidence: what the copy gets.
        output: directory to make; it appears whole or not at all.

    Raises:
        ModelError: it is no Block-Skim model, whose config has no place for it.
        ConfigError: something is at ``output`` already.
    """
    copy_with_settings(loaded, output, lambda values: values.update(confidence=confidence.to_dict()))


def checked_share(value: object) -> float:
    """A share of questions that have no answer.

    Raises:
        ConfigError: it is none above 0 and below 1.
    """
    if not is_number(value) or not 0.0 < value < 1.0:
        raise ConfigError(f"no_answer_share is {value!r:.80}; it must be a number above 0 and below 1")
    return float(value)


def judge(examples: Sequence[Example], answers: Sequence[ExampleAnswers]) -> Judged:
    """What is known of the best answers, and how they turned out; questions that found none at all are left out."""
    rows = [(example, answer) for example, answer in zip(examples, answers, strict=True) if answer.candidates]
    known, outcomes, f1 = [], [], []
    for example, answer in rows:
        known.append(features(answer.candidates[0].score, answer.null_score, answer.log_normalizer))
        text = best_text(example, answer)
        outcomes.append((RIGHT if is_right(example, text) else WRONG) if example.answerable else NONE)
        f1.append(best_over(token_f1, text, example.references) if example.answerable else 0.0)
    return Judged(
        np.array(known, dtype=np.float64).reshape(-1, len(FEATURES)),
        np.array(outcomes, dtype=np.int64),
        np.array(f1, dtype=np.float64),
    )


def fit_confidence(judged: Judged, no_answer_share: float | None = None) -> ConfidenceModel:
    """The most likely model, and a threshold for "no answer" (``choose_threshold``).

    Args:
        judged: questions whose outcome is known.
        no_answer_share: share of the questions in use that have no answer; None for that of these.

    Raises:
        ConfigError: the share is impossible.
        DataError: there are too few questions of an outcome.
    """
    counts = np.bincount(judged.outcomes, minlength=3)
    if counts.min() < FEWEST:
        raise DataError(
            f"confidence is learned from right answers, wrong ones and questions that have none, at least {FEWEST} of "
            f"each; of these data the model has {counts[RIGHT]} right and {counts[WRONG]} wrong, and {counts[NONE]} "
            "have no answer"
        )
    weights = fit_logistic(judged.known, judged.outcomes, WRONG)
    if no_answer_share is not None:
        share = checked_share(no_answer_share)
        # By Bayes' rule another share of a class moves its intercept, and nothing else.
        weights[NONE, 0] += np.log(share / (1.0 - share)) - np.log(counts[NONE] / (counts[RIGHT] + counts[WRONG]))
    fitted = ConfidenceModel(tuple(weights[RIGHT]), tuple(weights[NONE]))
    chances = fitted.outcomes(judged.known)[:, NONE]
    return ConfidenceModel(fitted.right, fitted.none, choose_threshold(chances, judged))


def choose_threshold(chances: NDArray[np.float64], judged: Judged) -> float:
    """The threshold for the confidence of "no answer": the highest whose F1 is about as good as the best one's.

    The F1 of all questions hardly changes over many thresholds, but the share of answers that are kept back does. So
    the F1 may be one standard error below the best, as in the one-standard-error rule of Breiman et al. (1984), if it
    keeps half of what "no answer" gains over answering everything.

    Args:
        chances: confidence of "no answer" of each question. Shape: (questions,)
        judged: how they turned out.

    Returns:
        A number in the middle between two questions' chances.
    """
    order = np.argsort(chances, kind="stable")
    answered, declined = judged.f1[order], (judged.outcomes[order] == NONE).astype(np.float64)
    # Giving the answers of the first so many, and "no answer" to all others.
    f1 = (declined.sum() + np.concatenate([[0.0], np.cumsum(answered - declined)])) / len(order)
    # Between equals there is no threshold.
    f1[1:-1][chances[order][:-1] == chances[order][1:]] = -1.0
    best = int(np.argmax(f1))
    error = np.where(np.arange(len(order)) < best, answered, declined).std() / np.sqrt(len(order))
    least = max(f1[best] - error, (f1[best] + f1[-1]) / 2)
    chosen = int(np.flatnonzero(f1 >= least)[-1])
    bounds = np.concatenate([[0.0], chances[order], [1.0]])
    return float((bounds[chosen] + bounds[chosen + 1]) / 2)
