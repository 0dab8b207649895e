"""Questions asked of a text that does not answer them, made from those of which the answer is known."""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from blockskim.checks import check_range
from blockskim.data.examples import Example
from blockskim.data.splitting import place

WORD = re.compile(r"\w{4,}")
"""What counts as a word that a question and a context may share; shorter ones are mostly function words."""


def asked_elsewhere(examples: Sequence[Example], share: float, seed: int = 0) -> list[Example]:
    """Ask some questions once more of another context of their article, in which no answer of theirs stands.

    Of the contexts of an article that one is taken which shares most words with the question, so that it takes more
    than a topic to see that there is no answer. The same examples, share and seed give the same questions anywhere.

    Args:
        examples: of one or several files; contexts of one title are one article's.
        share: of the answerable questions, from 0 to 1. Fewer are made where an article has no other context.
        seed: another seed chooses other questions.

    Returns:
        Unanswerable examples, in the order of those that they are made from.

    Raises:
        ConfigError: the share is impossible.
    """
    pairs = other_contexts(examples, share, seed)
    return [with_other_context(examples[asked], examples[other].context) for asked, other in pairs]


def other_contexts(examples: Sequence[Example], share: float, seed: int = 0) -> list[tuple[int, int]]:
    """Which examples ``asked_elsewhere`` makes: the number of each question's, and of one that has the context for it.

    Memory holds the texts of one article at a time, and of every example some bytes.

    Raises:
        ConfigError: the share is impossible.
    """
    if not check_range("share", share, 0.0, 1.0):
        return []
    articles: dict[str, list[int]] = defaultdict(list)
    for number, example in enumerate(examples):
        if example.title:
            articles[example.title].append(number)
    pairs = []
    for numbers in articles.values():
        article = {number: examples[number] for number in numbers}
        contexts = {example.context: _words(example.context) for example in article.values()}
        first = {article[number].context: number for number in reversed(numbers)}
        for number, example in article.items():
            if example.references and place(example.id, seed) < share:
                other = _closest(example, contexts)
                pairs += [] if other is None else [(number, first[other])]
    return sorted(pairs)


def with_other_context(example: Example, context: str) -> Example:
    """An example that asks its question of another text, in which there is no answer."""
    name = f"{example.id}-elsewhere"
    return replace(example, id=name, context=context, answers=(), references=(), evidence=())


def _closest(example: Example, contexts: Mapping[str, frozenset[str]]) -> str | None:
    """The context without any answer that shares most words with the question; the first among equals."""
    texts = [text.lower() for text in (*example.references, *(answer.text for answer in example.answers))]
    asked = _words(example.question)
    shared = Counter(
        {
            context: len(asked & words)
            for context, words in contexts.items()
            if context != example.context and not any(text in context.lower() for text in texts)
        }
    )
    return shared.most_common(1)[0][0] if shared else None


def _words(text: str) -> frozenset[str]:
    return frozenset(WORD.findall(text.lower()))
