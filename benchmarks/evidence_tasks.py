"""Questions, the texts that were retrieved for them, and where in these the evidence stands, from public data sets."""

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from blockskim.data.examples import Example
from blockskim.data.hotpotqa import YES_NO_PREFIX
from blockskim.data.reading import read_examples

PARAGRAPHS = 10


@dataclass(frozen=True)
class Task:
    """A question over some texts.

    Attributes:
        question: the question.
        documents: texts by name.
        evidence: document, first character and one past the last of what must be kept.
        every: whether all of the evidence is needed; if not, any piece of it will do, as with several annotators.
    """

    question: str
    documents: dict[str, str]
    evidence: tuple[tuple[str, int, int], ...]
    every: bool


def squad(paths: Sequence[Path], limit: int | None, seed: int) -> list[Task]:
    """Each question over the paragraph it was written for among nine others of its article."""
    examples = [example for example in read_examples(paths) if example.answers]
    articles: dict[str, dict[str, None]] = defaultdict(dict)
    for example in examples:
        articles[example.title][example.context] = None
    tasks = []
    for example in sampled([one for one in examples if len(articles[one.title]) >= PARAGRAPHS], limit, seed):
        chance = random.Random(example.id)
        others = [text for text in articles[example.title] if text != example.context]
        texts = [example.context, *chance.sample(others, PARAGRAPHS - 1)]
        chance.shuffle(texts)
        documents = {str(number): text for number, text in enumerate(texts)}
        own = str(texts.index(example.context))
        evidence = tuple((own, answer.start, answer.end) for answer in example.answers)
        tasks.append(Task(example.question, documents, evidence, every=False))
    return tasks


def one_text(paths: Sequence[Path], limit: int | None, seed: int, every: bool) -> list[Task]:
    """Each question over its own text: NewsQA with any of its answers, MultiSpanQA with all of them."""
    examples = sampled([example for example in read_examples(paths) if example.answers], limit, seed)
    tasks = []
    for example in examples:
        evidence = tuple(("0", answer.start, answer.end) for answer in example.answers)
        tasks.append(Task(example.question, {"0": example.context}, evidence, every))
    return tasks


def hotpotqa(paths: Sequence[Path], limit: int | None, seed: int) -> list[Task]:
    """Each question over its ten paragraphs; evidence are the supporting facts."""
    tasks = []
    for example in sampled([example for example in read_examples(paths) if example.evidence], limit, seed):
        parts = paragraphs(example)
        documents = {str(number): example.context[start:end] for number, (start, end) in enumerate(parts)}
        evidence = tuple(
            (str(number), low - start, min(high, end) - start)
            for low, high in example.evidence
            for number, (start, end) in enumerate(parts)
            if start <= low < end
        )
        tasks.append(Task(example.question, documents, evidence, every=True))
    return tasks


def paragraphs(example: Example) -> list[tuple[int, int]]:
    """Where the paragraphs of a context of HotpotQA lie, titles included."""
    ends: dict[str, int] = {}
    for span, title, _ in dict(example.metadata)["sentences"]:  # type: ignore[attr-defined]
        ends[title] = max(ends.get(title, 0), span[1])
    # In front of the first stands what a question is answered with that stands nowhere.
    starts = [len(YES_NO_PREFIX), *ends.values()]
    text = example.context
    return [
        (start + len(text[start:end]) - len(text[start:end].lstrip()), end)
        for start, end in zip(starts, ends.values(), strict=False)
    ]


def sampled(examples: Sequence[Example], limit: int | None, seed: int) -> list[Example]:
    """So many examples, drawn at random; all if there are no more."""
    if limit is None or limit >= len(examples):
        return list(examples)
    return random.Random(seed).sample(list(examples), limit)
