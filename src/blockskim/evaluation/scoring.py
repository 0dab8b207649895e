"""Official scores of answers, by the rules of the format that their examples came in."""

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from blockskim.data.examples import Example
from blockskim.evaluation.supporting_facts import Fact
from blockskim.inference.answers import ExampleAnswers, best_text
from blockskim.metrics.hotpotqa import score_hotpotqa
from blockskim.metrics.mrqa import score_mrqa
from blockskim.metrics.squad import score_squad, score_squad2

# A question of SQuAD 2.0 counts as "no answer" above this chance of it: where its score is above the best answer's.
NULL_THRESHOLD = 0.5


def scores_by_source(
    examples: Sequence[Example],
    answers: Sequence[ExampleAnswers],
    facts: Mapping[str, Sequence[Fact]] | None = None,
) -> dict[str, dict[str, float]]:
    """Scores of the examples of each data file, by the official rules of its format; ``total`` is their number.

    Those of a file that tells no answers are NaN.

    Args:
        examples: of one or several files.
        answers: to each example.
        facts: supporting facts by example id (HotpotQA).
    """
    scores = {}
    for source, pairs in _by_source(examples, answers).items():
        texts = {example.id: best_text(example, answer) for example, answer in pairs}
        scores[source] = score([example for example, _ in pairs], texts, [answer for _, answer in pairs], facts)
    return scores


def official_predictions(examples: Sequence[Example], answers: Sequence[ExampleAnswers]) -> dict[str, str]:
    """The answer text by example id as official scripts take it: "" where SQuAD 2.0 counts "no answer".

    Args:
        examples: of one or several files.
        answers: to each example.
    """
    texts: dict[str, str] = {}
    for pairs in _by_source(examples, answers).values():
        chances = _null_chances(*zip(*pairs, strict=True)) if _has_version_2(example for example, _ in pairs) else {}
        for example, answer in pairs:
            none = chances.get(example.id, 0.0) > NULL_THRESHOLD
            texts[example.id] = "" if none else best_text(example, answer)
    return {example.id: texts[example.id] for example in examples}


def _by_source(
    examples: Sequence[Example], answers: Sequence[ExampleAnswers]
) -> dict[str, list[tuple[Example, ExampleAnswers]]]:
    """Examples of each data file with their answers."""
    by_source: dict[str, list[tuple[Example, ExampleAnswers]]] = {}
    for example, answer in zip(examples, answers, strict=True):
        by_source.setdefault(example.source, []).append((example, answer))
    return by_source


def mean_scores(files: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Exact match and F1 over the questions of all files that have scores; NaN if none has."""
    scored = [scores for scores in files.values() if not math.isnan(scores["f1"])] or list(files.values())
    total = sum(scores["total"] for scores in scored)
    means = {name: sum(scores[name] * scores["total"] for scores in scored) / total for name in ("exact_match", "f1")}
    return {**means, "total": total, "missing": sum(scores["missing"] for scores in scored)}


def score(
    examples: Sequence[Example],
    predictions: dict[str, str],
    answers: Sequence[ExampleAnswers],
    facts: Mapping[str, Sequence[Fact]] | None = None,
) -> dict[str, float]:
    """Scores by the official rules of the format that the examples came in; NaN where the file tells no answers.

    Args:
        examples: of one file.
        predictions: answer text by example id.
        answers: candidates of each example.
        facts: supporting facts by example id (HotpotQA). They are scored where the file tells the right ones.
    """
    if not any(example.annotated for example in examples):
        return {"exact_match": math.nan, "f1": math.nan, "total": len(examples), "missing": 0}
    metadata = dict(examples[0].metadata)
    if _has_version_2(examples):
        return score_squad2(predictions, examples, _null_chances(examples, answers), NULL_THRESHOLD)
    if metadata.get("format") == "mrqa":
        return score_mrqa(predictions, examples)
    if metadata.get("format") == "hotpotqa":
        has_facts = all("supporting_facts" in dict(example.metadata) for example in examples)
        return score_hotpotqa(predictions, examples, facts if has_facts else None)
    if metadata.get("format") == "hotpotqa-pseudo":
        return score_hotpotqa(predictions, examples)
    return score_squad(predictions, examples)


def _has_version_2(examples: Iterable[Example]) -> bool:
    """Whether the rules of SQuAD 2.0 apply, by which a question may have no answer."""
    return any(("version", "2.0") in example.metadata for example in examples)


def _null_chances(examples: Sequence[Example], answers: Sequence[ExampleAnswers]) -> dict[str, float]:
    """The chance of "no answer" by example id: a number that rises with it; its scale makes no difference to scores."""
    margins = {
        example.id: answer.null_score - (answer.candidates[0].score if answer.candidates else -np.inf)
        for example, answer in zip(examples, answers, strict=True)
    }
    return {name: float(1 / (1 + np.exp(-np.clip(margin, -50, 50)))) for name, margin in margins.items()}
