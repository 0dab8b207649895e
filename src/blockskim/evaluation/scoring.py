"""Official scores of answers, by the rules of the format that their examples came in."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from blockskim.data.examples import Example
from blockskim.errors import DataError
from blockskim.evaluation.supporting_facts import Fact
from blockskim.inference.answers import ExampleAnswers, answer_texts, best_text
from blockskim.inference.no_answer import NoAnswerRule
from blockskim.metrics.hotpotqa import answer_scores, score_hotpotqa
from blockskim.metrics.mrqa import score_mrqa
from blockskim.metrics.normalization import normalize_answer
from blockskim.metrics.squad import best_over, score_squad, score_squad2, token_f1, token_f1_or_empty

WITHOUT_CONFIDENCE = NoAnswerRule()

OFFICIAL: Mapping[str, Callable[[Mapping[str, str], Sequence[Example]], dict[str, float]]] = {
    "squad": score_squad,
    "mrqa": score_mrqa,
    "hotpotqa": score_hotpotqa,
    "hotpotqa-pseudo": score_hotpotqa,
}
"""The rules by which answers to each format of data are scored; those of SQuAD 2.0 go before."""


def scores_by_source(
    examples: Sequence[Example],
    answers: Sequence[ExampleAnswers],
    facts: Mapping[int, Sequence[Fact]] | None = None,
    rule: NoAnswerRule = WITHOUT_CONFIDENCE,
) -> dict[str, dict[str, float]]:
    """Scores of the examples of each data file, by the official rules of its format; ``total`` is their number.

    Those of a file that tells no answers are NaN.

    Args:
        examples: of one or several files.
        answers: to each example.
        facts: supporting facts by the example's place (HotpotQA).
        rule: when a question of SQuAD 2.0 counts as "no answer".

    Raises:
        DataError: two examples of a file have the same id, or came in different formats.
    """
    check_files(examples)
    scores = {}
    for source, own in _places_by_source(examples).items():
        asked, found = [examples[place] for place in own], [answers[place] for place in own]
        texts = answer_texts(asked, found)
        # Ids are unique within a file, not across files.
        told = None if facts is None else {examples[place].id: facts[place] for place in own if place in facts}
        scores[source] = score(asked, texts, found, told, rule)
    return scores


def official_predictions(
    examples: Sequence[Example],
    answers: Sequence[ExampleAnswers],
    rule: NoAnswerRule = WITHOUT_CONFIDENCE,
    no_answer: bool = False,
) -> dict[str, str]:
    """The answer text by example id as official scripts take it: "" where SQuAD 2.0 counts "no answer".

    Args:
        examples: of one or several files.
        answers: to each example.
        rule: when a question of SQuAD 2.0 counts as "no answer".
        no_answer: whether questions of all files may count as that.

    Raises:
        DataError: two examples have the same id.
    """
    check_ids(examples)
    texts: dict[str, str] = {}
    for pairs in by_source(examples, answers).values():
        version_2 = no_answer or has_version_2(example for example, _ in pairs)
        for example, answer in pairs:
            none = version_2 and rule.declines(answer)
            texts[example.id] = "" if none else best_text(example, answer)
    return {example.id: texts[example.id] for example in examples}


def check_ids(examples: Iterable[Example]) -> None:
    """Refuse to tell by id what is known of examples of which two have the same.

    Raises:
        DataError: two have; the message names the id.
    """
    sources: dict[str, str] = {}
    for example in examples:
        if example.id in sources:
            files = " and of ".join(dict.fromkeys([sources[example.id] or "no file", example.source or "no file"]))
            raise DataError(
                f"two questions have the id {example.id!r:.80} (of {files}), so nothing can be looked up by it; "
                "evaluate one file at a time"
            )
        sources[example.id] = example.source


def check_files(examples: Iterable[Example]) -> None:
    """Refuse to score examples that can't be of as many files as they name: files of the same name may have been mixed.

    Raises:
        DataError: two examples of a file have the same id, or came in different formats.
    """
    ids: set[tuple[str, str]] = set()
    formats: dict[str, str] = {}
    for example in examples:
        name = format_of(example)
        known = formats.setdefault(example.source, name)
        if (example.source, example.id) in ids or known != name:
            wrong = (
                f"questions of {known} and of {name}" if known != name else f"two questions of id {example.id!r:.80}"
            )
            raise DataError(
                f"{example.source or 'the data'}: {wrong} can't be scored as one file; read files of the same name by "
                "one call of read_examples, or give the examples of each another source"
            )
        ids.add((example.source, example.id))


def f1_by_example(
    examples: Sequence[Example], answers: Sequence[ExampleAnswers], rule: NoAnswerRule = WITHOUT_CONFIDENCE
) -> NDArray[np.float64]:
    """Official F1 of the answer to each example, whose mean is that of ``scores_by_source``, in percent.

    Args:
        examples: of one or several files; those whose answers their file does not tell have 0.
        answers: to each example.
        rule: when a question of SQuAD 2.0 counts as "no answer".

    Returns:
        Shape: (examples,)
    """
    groups = by_source(examples, answers)
    version_2 = {source: has_version_2(example for example, _ in pairs) for source, pairs in groups.items()}
    # By place: ids of several files may be the same.
    found = [
        float(not example.answerable)
        if version_2[example.source] and rule.declines(answer)
        else _f1(example, best_text(example, answer), version_2[example.source])
        for example, answer in zip(examples, answers, strict=True)
    ]
    return 100 * np.array(found)


def _f1(example: Example, text: str, version_2: bool) -> float:
    """Official F1 of an answer that is given, from 0 to 1."""
    if version_2:
        references = [reference for reference in example.references if normalize_answer(reference)]
        return best_over(token_f1_or_empty, text, references or [""])
    if OFFICIAL[format_of(example)] is score_hotpotqa:
        return max((answer_scores(text, reference)[1] for reference in example.references), default=0.0)
    return max((token_f1(text, reference) for reference in example.references), default=0.0)


def by_source(
    examples: Sequence[Example], answers: Sequence[ExampleAnswers]
) -> dict[str, list[tuple[Example, ExampleAnswers]]]:
    """Examples of each data file with their answers."""
    places = _places_by_source(examples)
    return {source: [(examples[place], answers[place]) for place in own] for source, own in places.items()}


def _places_by_source(examples: Sequence[Example]) -> dict[str, list[int]]:
    """The places of the examples of each data file."""
    places: dict[str, list[int]] = {}
    for place, example in enumerate(examples):
        places.setdefault(example.source, []).append(place)
    return places


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
    rule: NoAnswerRule = WITHOUT_CONFIDENCE,
) -> dict[str, float]:
    """Scores by the official rules of the format that the examples came in; NaN where the file tells no answers.

    Args:
        examples: of one file.
        predictions: answer text by example id.
        answers: candidates of each example.
        facts: supporting facts by example id (HotpotQA). They are scored where the file tells the right ones.
        rule: when a question of SQuAD 2.0 counts as "no answer".
    """
    if not any(example.annotated for example in examples):
        return {"exact_match": math.nan, "f1": math.nan, "total": len(examples), "missing": 0}
    if has_version_2(examples):
        chances = {example.id: rule.chance(answer) for example, answer in zip(examples, answers, strict=True)}
        return score_squad2(predictions, examples, chances, rule.limit)
    rules = OFFICIAL[format_of(examples[0])]
    if rules is score_hotpotqa and all("supporting_facts" in dict(example.metadata) for example in examples):
        return score_hotpotqa(predictions, examples, facts)
    return rules(predictions, examples)


def format_of(example: Example) -> str:
    """The format of the file that an example came in; SQuAD's for one that a caller made, whatever it says."""
    name = str(dict(example.metadata).get("format", ""))
    return name if name in OFFICIAL else "squad"


def has_version_2(examples: Iterable[Example]) -> bool:
    """Whether the rules of SQuAD 2.0 apply, by which a question may have no answer.

    They do where one has none, too, whatever its metadata: no other rules have a score for that.
    """
    return any(("version", "2.0") in example.metadata or not example.answerable for example in examples)
