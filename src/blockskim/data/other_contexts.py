"""Questions asked of a text that does not answer them, made from those of which the answer is known."""

import logging
import re
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from blockskim.checks import check_range
from blockskim.data.examples import Example
from blockskim.data.splitting import place

logger = logging.getLogger(__name__)

LARGEST_PART = 5000
"""Contexts of a file without articles that are looked at together, which takes time in the square of their number."""

MOST = 0.9
"""Where fewer of the questions that were asked for are made than this share of them, a warning tells."""

WORD = re.compile(r"\w{4,}")
"""What counts as a word that a question and a context may share; shorter ones are mostly function words."""

OF_CONTEXT = ("sentences", "supporting_facts")
"""Metadata of a context, which another one has not."""


def asked_elsewhere(examples: Sequence[Example], share: float, seed: int = 0) -> list[Example]:
    """Ask some questions once more of another context of their article, in which no answer of theirs stands.

    Of the contexts of an article that one is taken which shares most words with the question, so that it takes more
    than a topic to see that there is no answer. Of a file in which fewer than half of the examples have a title over
    several contexts, titles that are over one context name no articles: as where there is no title, it is one of the
    contexts that stand near in the file. A warning tells where fewer questions are made than asked for. The same
    examples, share and seed give the same questions anywhere.

    Args:
        examples: of one or several files, which are told apart by ``source``; contexts of one title are one article's.
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

    Memory holds the texts of one article or part of a file at a time, and of every example some bytes.

    Raises:
        ConfigError: the share is impossible.
    """
    if not check_range("share", share, 0.0, 1.0):
        return []
    pairs, wanted = [], 0
    for numbers in _groups(examples):
        group = {number: examples[number] for number in numbers}
        asked = {number: one for number, one in group.items() if one.references and place(one.id, seed) < share}
        wanted += len(asked)
        if not asked:
            continue
        first = {group[number].context: number for number in reversed(numbers)}
        contexts = _Contexts(dict.fromkeys(example.context for example in group.values()))
        for number, example in asked.items():
            other = contexts.closest(example)
            pairs += [] if other is None else [(number, first[other])]
    if len(pairs) < MOST * wanted:
        logger.warning(
            "%d questions were to be asked once more of another text of their article or file, but %s; of the others "
            "no text without their answer is known",
            wanted,
            f"{len(pairs)} are" if pairs else "none is",
        )
    return sorted(pairs)


def _groups(examples: Sequence[Example]) -> list[list[int]]:
    """Numbers of the examples whose contexts may stand for each other's: those of an article, or of a part of a file.

    Of a file in which fewer than half of the examples have a title over several contexts, titles that are over one
    context name no articles.
    """
    titles: dict[str, list[int]] = defaultdict(list)
    several: set[str] = set()
    files: dict[str, int] = {}
    of_file, of_context = array("q"), array("q")
    for number, example in enumerate(examples):
        of_file.append(files.setdefault(example.source, len(files)))
        # Contexts are told apart by these: texts of all examples may be more than memory holds.
        of_context.append(hash(example.context))
        titles[example.title].append(number)
        if of_context[titles[example.title][0]] != of_context[number]:
            several.add(example.title)
    several.discard("")
    in_articles = Counter(of_file[number] for title in several for number in titles[title])
    sizes = Counter(of_file)
    # A title that happens to stand over two texts makes no articles of a file.
    with_articles = {file for file, count in in_articles.items() if 2 * count >= sizes[file]}
    groups = [numbers for title, numbers in titles.items() if title in several]
    rest: dict[int, list[int]] = defaultdict(list)
    alone: list[int] = []
    for title, numbers in titles.items():
        if title not in several:
            for number in numbers:
                # The only context of an article, in a file of articles, has none that could stand for it.
                (alone if title and of_file[number] in with_articles else rest[of_file[number]]).append(number)
    return [
        *groups,
        *([number] for number in alone),
        *(part for own in rest.values() for part in _parts(own, of_context)),
    ]


def _parts(numbers: Sequence[int], of_context: "array[int]") -> list[list[int]]:
    """Examples of a file in parts of about as many contexts each, which stand near each other in the file."""
    places: dict[int, int] = {}
    for number in sorted(numbers):
        places.setdefault(of_context[number], len(places))
    count = -(-len(places) // LARGEST_PART)
    parts: list[list[int]] = [[] for _ in range(count)]
    for number in sorted(numbers):
        parts[places[of_context[number]] * count // len(places)].append(number)
    return parts


def with_other_context(example: Example, context: str) -> Example:
    """An example that asks its question of another text, in which there is no answer."""
    name = f"{example.id}-elsewhere"
    metadata = tuple(pair for pair in example.metadata if pair[0] not in OF_CONTEXT)
    return replace(example, id=name, context=context, answers=(), references=(), evidence=(), metadata=metadata)


class _Contexts:
    """The contexts of a group, by their words: an article may be a whole data set that has one title."""

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
