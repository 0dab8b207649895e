"""Questions asked of a text that does not answer them, made from those of which the answer is known."""

import re
from array import array
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

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
        asked = {number: one for number, one in article.items() if one.references and place(one.id, seed) < share}
        if not asked:
            continue
        first = {article[number].context: number for number in reversed(numbers)}
        contexts = _Contexts(dict.fromkeys(example.context for example in article.values()))
        for number, example in asked.items():
            other = contexts.closest(example)
            pairs += [] if other is None else [(number, first[other])]
    return sorted(pairs)


def with_other_context(example: Example, context: str) -> Example:
    """An example that asks its question of another text, in which there is no answer."""
    name = f"{example.id}-elsewhere"
    return replace(example, id=name, context=context, answers=(), references=(), evidence=())


class _Contexts:
    """The contexts of an article, by their words: an article may be a whole data set that has one title."""

    def __init__(self, contexts: Iterable[str]) -> None:
        """Look at each of some contexts, of which none are the same."""
        self._contexts = list(contexts)
        self._lower = [context.lower() for context in self._contexts]
        self._having: dict[str, array[int]] = defaultdict(lambda: array("q"))
        for number, context in enumerate(self._lower):
            for word in _words(context):
                self._having[word].append(number)

    def closest(self, example: Example) -> str | None:
        """The context without any answer that shares most words with the question; the first among equals."""
        shared = np.zeros(len(self._contexts), dtype=np.int64)
        for word in _words(example.question.lower()):
            if word in self._having:
                shared[np.frombuffer(self._having[word], dtype=np.int64)] += 1
        texts = [text.lower() for text in (*example.references, *(answer.text for answer in example.answers))]
        for most in range(int(shared.max()), -1, -1):
            for number in np.flatnonzero(shared == most).tolist():
                lower = self._lower[number]
                if self._contexts[number] != example.context and not any(text in lower for text in texts):
                    return self._contexts[number]
        return None


def _words(lower: str) -> frozenset[str]:
    """The words of a text in lower case."""
    return frozenset(WORD.findall(lower))
