"""Official scores of answers, by the rules of the format that their examples came in."""

from collections.abc import Mapping, Sequence

import numpy as np

from blockskim.data.examples import Example
from blockskim.evaluation.supporting_facts import Fact
from blockskim.inference.answers import ExampleAnswers, best_text
from blockskim.metrics.hotpotqa import score_hotpotqa
from blockskim.metrics.mrqa import score_mrqa
from blockskim.metrics.squad import score_squad, score_squad2


def scores_by_source(
    examples: Sequence[Example],
    answers: Sequence[ExampleAnswers],
    facts: Mapping[str, Sequence[Fact]] | None = None,
) -> dict[str, dict[str, float]]:
    """Scores of the examples of each data file, by the official rules of its format; ``total`` is their number.

    Args:
        examples: of one or several files.
        answers: to each example.
        facts: supporting facts by example id (HotpotQA).
    """
    by_source: dict[str, list[tuple[Example, ExampleAnswers]]] = {}
    for example, answer in zip(examples, answers, strict=True):
        by_source.setdefault(example.source, []).append((example, answer))
    scores = {}
    for source, pairs in by_source.items():
        texts = {example.id: best_text(example, answer) for example, answer in pairs}
        scores[source] = score([example for example, _ in pairs], texts, [answer for _, answer in pairs], facts)
    return scores


def mean_scores(files: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Exact match and F1 over the questions of all files."""
    total = sum(scores["total"] for scores in files.values())
    means = {
        name: sum(scores[name] * scores["total"] for scores in files.values()) / total for name in ("exact_match", "f1")
    }
    return {**means, "total": total, "missing": sum(scores["missing"] for scores in files.values())}


def score(
    examples: Sequence[Example],
    predictions: dict[str, str],
    answers: Sequence[ExampleAnswers],
    facts: Mapping[str, Sequence[Fact]] | None = None,
) -> dict[str, float]:
    """Scores by the official rules of the format that the examples came in.

    Args:
        examples: of one file.
        predictions: answer text by example id.
        answers: candidates of each example.
        facts: supporting facts by example id (HotpotQA).
    """
    metadata = dict(examples[0].metadata)
    if ("version", "2.0") in (fact for example in examples for fact in example.metadata):
        return score_squad2(predictions, examples, _null_chances(examples, answers), 0.5)
    if metadata.get("format") == "mrqa":
        return score_mrqa(predictions, examples)
    if metadata.get("format") == "hotpotqa":
        return score_hotpotqa(predictions, examples, facts)
    if metadata.get("format") == "hotpotqa-pseudo":
        return score_hotpotqa(predictions, examples)
    return score_squad(predictions, examples)


def _null_chances(examples: Sequence[Example], answers: Sequence[ExampleAnswers]) -> dict[str, float]:
    """The chance of "no answer" by example id: a number that rises with it; its scale makes no difference to scores."""
    margins = {
        example.id: answer.null_score - (answer.candidates[0].score if answer.candidates else -np.inf)
        for example, answer in zip(examples, answers, strict=True)
    }
    return {name: float(1 / (1 + np.exp(-np.clip(margin, -50, 50)))) for name, margin in margins.items()}
