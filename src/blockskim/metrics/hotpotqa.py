"""The official scores of HotpotQA: answers, supporting facts, and both together.

Reference: Yang et al., EMNLP 2018, with hotpot_evaluate_v1.py (https://github.com/hotpotqa/hotpot). The figures are
the script's, times 100; the code is ours.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from blockskim.data.examples import Example
from blockskim.errors import DataError
from blockskim.metrics.normalization import normalize_answer
from blockskim.metrics.squad import check_total, warn_missing

_CLOSED_ANSWERS = frozenset({"yes", "no", "noanswer"})

_NAMES = ("exact_match", "f1", "precision", "recall")


def answer_scores(prediction: str, reference: str) -> tuple[float, float, float, float]:
    """Exact match, F1, precision and recall of one answer.

    "yes", "no" and "noanswer" are right or wrong as a whole: "yes it is" gets nothing for the reference "yes". Two
    answers without any word after normalisation match exactly, yet have F1 0.

    Args:
        prediction: the answer of a model.
        reference: the answer of the data set.

    Returns:
        The four values, each from 0 to 1.
    """
    predicted, wanted = normalize_answer(prediction), normalize_answer(reference)
    exact = float(predicted == wanted)
    if not exact and (predicted in _CLOSED_ANSWERS or wanted in _CLOSED_ANSWERS):
        return exact, 0.0, 0.0, 0.0
    predicted_words, wanted_words = predicted.split(), wanted.split()
    common = sum((Counter(predicted_words) & Counter(wanted_words)).values())
    if common == 0:
        return exact, 0.0, 0.0, 0.0
    precision, recall = common / len(predicted_words), common / len(wanted_words)
    return exact, _f1(precision, recall), precision, recall


def supporting_fact_scores(
    prediction: Iterable[Sequence[object]], reference: Iterable[Sequence[object]]
) -> tuple[float, float, float, float]:
    """Exact match, F1, precision and recall of a set of supporting facts.

    Args:
        prediction: (title, sentence number) pairs of a model.
        reference: (title, sentence number) pairs of the data set.

    Returns:
        The four values, each from 0 to 1.
    """
    predicted, wanted = {tuple(fact) for fact in prediction}, {tuple(fact) for fact in reference}
    common = len(predicted & wanted)
    precision = common / len(predicted) if predicted else 0.0
    recall = common / len(wanted) if wanted else 0.0
    return float(predicted == wanted), _f1(precision, recall), precision, recall


def score_hotpotqa(
    predictions: Mapping[str, str],
    examples: Iterable[Example],
    supporting_facts: Mapping[str, Iterable[Sequence[object]]] | None = None,
) -> dict[str, float]:
    """The official HotpotQA scores.

    A missing answer or set of facts scores 0, and so does then the joint score, as in the official script; a warning
    counts them.

    Args:
        predictions: an answer text for each question id; others are ignored.
        examples: the questions, each with one reference.
        supporting_facts: for each question id the (title, sentence number) pairs of a model; None scores answers only.

    Returns:
        ``exact_match``, ``f1``, ``precision`` and ``recall`` of the answers; with ``supporting_facts`` the same with
        ``sp_`` in front for the facts and with ``joint_`` for both; all from 0 to 100. Also ``total`` and ``missing``
        (numbers of questions, of those without an answer), and ``sp_missing``.

    Raises:
        DataError: there are no examples, one has not exactly one reference, or facts are to be scored and one has none
            in its metadata.
    """
    totals = dict.fromkeys(_NAMES, 0.0)
    if supporting_facts is not None:
        totals.update({f"{part}_{name}": 0.0 for part in ("sp", "joint") for name in _NAMES})
    total = 0
    missing: list[str] = []
    facts_missing: list[str] = []
    for example in examples:
        total += 1
        if len(example.references) != 1:
            raise DataError(
                f"question {example.id!r} has {len(example.references)} references; HotpotQA's score needs exactly one"
            )
        prediction = predictions.get(example.id)
        answer = None if prediction is None else answer_scores(prediction, example.references[0])
        if answer is None:
            missing.append(example.id)
        else:
            _add(totals, "", answer)
        if supporting_facts is None:
            continue
        wanted = _gold_facts(example)
        predicted_facts = supporting_facts.get(example.id)
        if predicted_facts is None:
            facts_missing.append(example.id)
            continue
        facts = supporting_fact_scores(predicted_facts, wanted)
        _add(totals, "sp_", facts)
        if answer is not None:
            precision, recall = answer[2] * facts[2], answer[3] * facts[3]
            _add(totals, "joint_", (answer[0] * facts[0], _f1(precision, recall), precision, recall))
    check_total(total)
    warn_missing(missing, total)
    scores: dict[str, float] = {name: 100.0 * value / total for name, value in totals.items()}
    scores["total"] = total
    scores["missing"] = len(missing)
    if supporting_facts is not None:
        warn_missing(facts_missing, total, "set of supporting facts")
        scores["sp_missing"] = len(facts_missing)
    return scores


def _f1(precision: float, recall: float) -> float:
    return 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0


def _add(totals: dict[str, float], prefix: str, values: tuple[float, float, float, float]) -> None:
    for name, value in zip(_NAMES, values, strict=True):
        totals[prefix + name] += value


def _gold_facts(example: Example) -> Iterable[Sequence[object]]:
    facts = dict(example.metadata).get("supporting_facts")
    if not isinstance(facts, tuple):
        raise DataError(
            f"question {example.id!r} has no 'supporting_facts' in its metadata; read it from a native HotpotQA file"
        )
    return facts
