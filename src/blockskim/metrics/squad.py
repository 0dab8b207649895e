"""The official scores of SQuAD 1.1 and 2.0.

References: Rajpurkar et al., EMNLP 2016, with evaluate-v1.1.py; Rajpurkar et al., ACL 2018, with evaluate-v2.0.py
(https://rajpurkar.github.io/SQuAD-explorer). The figures are the scripts'; the code is ours.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from blockskim.data.examples import Example
from blockskim.errors import DataError
from blockskim.metrics.normalization import normalize_answer

logger = logging.getLogger(__name__)


def exact_match(prediction: str, reference: str) -> float:
    """1 if both are the same after normalisation, else 0.

    Args:
        prediction: the answer of a model.
        reference: the answer of an annotator.
    """
    return float(normalize_answer(prediction) == normalize_answer(reference))


def token_f1(prediction: str, reference: str) -> float:
    """F1 of the words in common, as SQuAD 1.1 and MRQA compute it.

    Two answers without any word after normalisation ("the" and "a") have F1 0, although they match exactly.

    Args:
        prediction: the answer of a model.
        reference: the answer of an annotator.

    Returns:
        A value from 0 to 1.
    """
    return _overlap_f1(normalize_answer(prediction).split(), normalize_answer(reference).split())


def token_f1_or_empty(prediction: str, reference: str) -> float:
    """F1 of the words in common, as SQuAD 2.0 computes it: without words on both sides it is 1.

    Args:
        prediction: the answer of a model, "" for none.
        reference: the answer of an annotator, "" for none.

    Returns:
        A value from 0 to 1.
    """
    predicted, wanted = normalize_answer(prediction).split(), normalize_answer(reference).split()
    if not predicted or not wanted:
        return float(predicted == wanted)
    return _overlap_f1(predicted, wanted)


def best_over(metric: Callable[[str, str], float], prediction: str, references: Iterable[str]) -> float:
    """The best value of a metric over several references.

    Args:
        metric: takes a prediction and a reference.
        prediction: the answer of a model.
        references: the answers of annotators; at least one.
    """
    return max(metric(prediction, reference) for reference in references)


def score_squad(predictions: Mapping[str, str], examples: Iterable[Example]) -> dict[str, float]:
    """The official SQuAD 1.1 score.

    A question without a prediction scores 0, as in the official script; a warning counts them.

    Args:
        predictions: an answer text for each question id; others are ignored.
        examples: the questions, all of them with references.

    Returns:
        ``exact_match`` and ``f1`` (0 to 100), ``total`` and ``missing`` (numbers of questions).

    Raises:
        DataError: there are no examples, or one has no reference (the official script fails, too).
    """
    exact = f1 = 0.0
    total = 0
    missing: list[str] = []
    for example in examples:
        if not example.references:
            raise DataError(f"question {example.id!r} has no reference answer; the SQuAD 2.0 score allows that")
        total += 1
        prediction = predictions.get(example.id)
        if prediction is None:
            missing.append(example.id)
            continue
        exact += best_over(exact_match, prediction, example.references)
        f1 += best_over(token_f1, prediction, example.references)
    check_total(total)
    warn_missing(missing, total)
    return {
        "exact_match": 100.0 * exact / total,
        "f1": 100.0 * f1 / total,
        "total": total,
        "missing": len(missing),
    }


def score_squad2(
    predictions: Mapping[str, str],
    examples: Iterable[Example],
    na_probs: Mapping[str, float] | None = None,
    na_threshold: float = 1.0,
) -> dict[str, float]:
    """The official SQuAD 2.0 score.

    The right answer to a question without references is "". A question counts as "no answer" if its probability of
    having none is above ``na_threshold``. Without a prediction it scores 0, answerable or not, at any threshold; the
    official script fails there.

    The best thresholds are the official script's, with two peculiarities: questions of equal probability are taken one
    by one in the order of ``na_probs``, and a prediction counts as an answer if it is not literally "".

    Args:
        predictions: an answer text for each question id, "" for no answer; others are ignored.
        examples: the questions.
        na_probs: for each predicted question how likely it has no answer; None takes the predictions as they are.
        na_threshold: probability above which a prediction is replaced by "no answer".

    Returns:
        ``exact_match`` and ``f1`` (0 to 100), ``total`` and ``missing``; the same as ``HasAns_exact``, ``HasAns_f1``,
        ``HasAns_total`` for the answerable questions and ``NoAns_...`` for the others, where there are such; with
        ``na_probs`` also ``best_exact``, ``best_exact_thresh``, ``best_f1`` and ``best_f1_thresh``.

    Raises:
        DataError: there are no examples, the data does not tell the answers of one, or a predicted question has no
            probability.
    """
    answerable: dict[str, bool] = {}
    raw_exact: dict[str, float] = {}
    raw_f1: dict[str, float] = {}
    missing: list[str] = []
    for example in examples:
        if not example.annotated:
            raise DataError(f"question {example.id!r} has no answers in its file, so it can't be scored")
        answerable[example.id] = example.answerable
        prediction = predictions.get(example.id)
        if prediction is None:
            missing.append(example.id)
            continue
        if na_probs is not None and example.id not in na_probs:
            raise DataError(f"question {example.id!r} has a prediction but no probability of having no answer")
        # A reference that normalises to nothing is no answer to the official script, either.
        references = [text for text in example.references if normalize_answer(text)] or [""]
        raw_exact[example.id] = best_over(exact_match, prediction, references)
        raw_f1[example.id] = best_over(token_f1_or_empty, prediction, references)
    check_total(len(answerable))
    warn_missing(missing, len(answerable))

    exact = _with_threshold(raw_exact, answerable, na_probs, na_threshold)
    f1 = _with_threshold(raw_f1, answerable, na_probs, na_threshold)
    names = list(answerable)
    scores: dict[str, float] = {
        "exact_match": _percent(exact, names),
        "f1": _percent(f1, names),
        "total": len(names),
        "missing": len(missing),
    }
    for split, wanted in (("HasAns", True), ("NoAns", False)):
        part = [name for name in names if answerable[name] is wanted]
        if part:
            scores[f"{split}_exact"] = _percent(exact, part)
            scores[f"{split}_f1"] = _percent(f1, part)
            scores[f"{split}_total"] = len(part)
    if na_probs is not None:
        for key, raw in (("exact", raw_exact), ("f1", raw_f1)):
            best, threshold = _best_threshold(raw, predictions, answerable, na_probs)
            scores[f"best_{key}"] = best
            scores[f"best_{key}_thresh"] = threshold
    return scores


def check_total(total: int) -> None:
    """Refuses to average over nothing.

    Args:
        total: number of questions that count.

    Raises:
        DataError: there are none.
    """
    if total == 0:
        raise DataError("there are no questions to score")


def warn_missing(missing: Sequence[str], total: int, what: str = "prediction") -> None:
    """Warns once about questions without a prediction.

    Args:
        missing: their ids.
        total: number of all questions.
        what: what they lack.
    """
    if missing:
        logger.warning(
            "%d of %d questions have no %s and score 0 (the first is %r)", len(missing), total, what, missing[0]
        )


def _overlap_f1(predicted: Sequence[str], wanted: Sequence[str]) -> float:
    common = sum((Counter(predicted) & Counter(wanted)).values())
    if common == 0:
        return 0.0
    precision = common / len(predicted)
    recall = common / len(wanted)
    return 2 * precision * recall / (precision + recall)


def _percent(values: Mapping[str, float], names: Sequence[str]) -> float:
    return 100.0 * sum(values.get(name, 0.0) for name in names) / len(names)


def _with_threshold(
    raw: Mapping[str, float],
    answerable: Mapping[str, bool],
    na_probs: Mapping[str, float] | None,
    threshold: float,
) -> dict[str, float]:
    if na_probs is None:
        # The official script gives every question probability 0 then, which may be above a negative threshold.
        na_probs = dict.fromkeys(raw, 0.0)
    return {name: float(not answerable[name]) if na_probs[name] > threshold else value for name, value in raw.items()}


def _best_threshold(
    raw: Mapping[str, float],
    predictions: Mapping[str, str],
    answerable: Mapping[str, bool],
    na_probs: Mapping[str, float],
) -> tuple[float, float]:
    # Start where everything is "no answer" and raise the threshold over one question after the other.
    current = best = float(sum(not answerable[name] for name in raw))
    threshold = 0.0
    for name in sorted(na_probs, key=lambda name: na_probs[name]):
        if name not in raw:
            continue
        if answerable[name]:
            current += raw[name]
        elif predictions[name]:
            current -= 1.0
        if current > best:
            best = current
            threshold = na_probs[name]
    return 100.0 * best / len(answerable), threshold
