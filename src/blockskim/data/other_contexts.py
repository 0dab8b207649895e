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
    share = check_range("share", share, 0.0, 1.0)
    contexts: dict[str, dict[str, frozenset[str]]] = defaultdict(dict)
    for example in examples:
        if share and example.title and example.context not in contexts[example.title]:
            contexts[example.title][example.context] = _words(example.context)
    made = []
    for example in examples:
        if not example.references or not example.title or place(example.id, seed) >= share:
            continue
        other = _closest(example, contexts[example.title])
        if other is not None:
            name = f"{example.id}-elsewhere"
            made.append(replace(example, id=name, context=other, answers=(), references=(), evidence=()))
    return made


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
