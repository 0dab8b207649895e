"""Which sentences are kept: the best ones above a threshold, as many as a budget holds, with what goes beside them."""

import math
import re
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from blockskim.evidence.options import EvidenceOptions, KeepGiven

Role = Literal["evidence", "context", "kept"]
_HEADING = re.compile(r"#{1,6}\s")
_ENDS_SENTENCE = re.compile(r"""[.!?…。！？;:,]["'”’»)\]]*$""")
LONGEST_TITLE = 120
"""Characters of a title at most."""


@dataclass(frozen=True, slots=True)
class ScoredText:
    """A document with its sentences and their scores.

    Attributes:
        text: the document.
        spans: first character and one past the last of each sentence, in order.
        scores: from 0 to 1. Shape: (sentences,)
        token_starts: first character of each token of the text, in order. Shape: (tokens,)
    """

    text: str
    spans: Sequence[tuple[int, int]]
    scores: NDArray[np.float64]
    token_starts: NDArray[np.int64]

    def characters(self, start: int, end: int) -> int:
        """Characters from one place to another."""
        return end - start

    def tokens(self, start: int, end: int) -> int:
        """Tokens that begin from one place to another."""
        first, last = np.searchsorted(self.token_starts, (start, end))
        return int(last - first)


@dataclass(frozen=True, slots=True)
class Joining:
    """How kept sentences are put together, where that takes room.

    Attributes:
        characters: of what stands in place of what was cut out between two sentences.
        tokens: of the same.
    """

    characters: int
    tokens: int


@dataclass(slots=True)
class _Kept:
    """The sentences of one document that are kept so far, and what they take."""

    document: ScoredText
    size: Callable[[int, int], int]
    gap: int | None
    roles: dict[int, Role] = field(default_factory=dict)
    order: list[int] = field(default_factory=list)
    used: int = 0

    def take(self, sentence: int, beside: Mapping[int, Role], room: float) -> bool:
        """Keep a sentence as evidence with others beside it, if there is room for all of them; whether there is."""
        added = [number for number in (sentence, *beside) if number not in self.roles]
        before = self.used
        for number in added:
            self._add(number, beside.get(number, "evidence"))
        if self.used - before > room:
            for number in added:
                self.order.remove(number)
                del self.roles[number]
            self.used = before
            return False
        self.roles[sentence] = "evidence"
        return True

    def _add(self, sentence: int, role: Role) -> None:
        place = bisect_left(self.order, sentence)
        left = self.order[place - 1] if place else None
        right = self.order[place] if place < len(self.order) else None
        self.used += self.size(*self.document.spans[sentence])
        self.used += self._link(left, sentence) + self._link(sentence, right) - self._link(left, right)
        self.order.insert(place, sentence)
        self.roles[sentence] = role

    def _link(self, left: int | None, right: int | None) -> int:
        """What stands between two sentences that follow each other among those that are kept."""
        if self.gap is None or left is None or right is None:
            return 0
        if right > left + 1:
            return self.gap
        return self.size(self.document.spans[left][1], self.document.spans[right][0])


def select(
    documents: Sequence[ScoredText], options: EvidenceOptions, least_score: float, joining: Joining | None = None
) -> list[dict[int, Role]]:
    """Choose the sentences of some documents that are kept for a question.

    The best come first. One that does not fit into what is left of the budget with what goes beside it is taken alone;
    if it does not fit even so it is left out, and worse ones that fit are taken.

    Args:
        documents: all of one question.
        options: what is wanted.
        least_score: of evidence.
        joining: how sentences are put together, if what stands between them counts, too.

    Returns:
        Of each document the kept sentences by number, in order, each with why it is kept.
    """
    limit, in_tokens = None, False
    if options.limit is not None:
        in_tokens = options.limit.unit == "tokens"
        limit = options.limit.limit(sum(len(document.text) for document in documents))
    gap = None if joining is None else joining.tokens if in_tokens else joining.characters
    kept = [_Kept(document, document.tokens if in_tokens else document.characters, gap) for document in documents]
    scores = np.concatenate([document.scores for document in documents])
    owners = [(place, number) for place, document in enumerate(documents) for number in range(len(document.spans))]
    taken, room = 0, math.inf if limit is None else limit
    for index in np.argsort(-scores, kind="stable").tolist():
        if scores[index] < least_score or taken == options.top_k:
            break
        place, number = owners[index]
        own = kept[place]
        if not _has_words(own.document, number):
            continue
        before = own.used
        if own.take(number, _beside(own, number, options), room) or own.take(number, {}, room):
            room -= own.used - before
            taken += 1
    return [{number: each.roles[number] for number in each.order} for each in kept]


def _beside(own: _Kept, sentence: int, options: EvidenceOptions) -> dict[int, Role]:
    """What is kept beside a sentence: its neighbours, and with the first of a document what it has of titles."""
    document = own.document
    beside: dict[int, Role] = {}
    if options.keep is not None and "evidence" not in own.roles.values():
        beside = dict.fromkeys(_always_kept(document, options.keep), "kept")
    near = range(max(0, sentence - options.context), min(len(document.spans), sentence + options.context + 1))
    every: dict[int, Role] = {**dict.fromkeys(near, "context"), **beside}
    return {number: role for number, role in every.items() if number != sentence}


def _always_kept(document: ScoredText, keep: KeepGiven) -> list[int]:
    """The sentences of a document that are kept if any of it is."""
    if callable(keep):
        return [number for number, (start, end) in enumerate(document.spans) if keep(document.text[start:end])]
    return [number for number in range(len(document.spans)) if _is_title(document, number)]


def _is_title(document: ScoredText, number: int) -> bool:
    """Whether a sentence is a heading of Markdown, or a first line that is short and ends like none."""
    start, end = document.spans[number]
    sentence = document.text[start:end]
    if _HEADING.match(sentence):
        return True
    ends_line = document.text[end : end + 1] in ("\n", "\r")
    return number == 0 and ends_line and end - start <= LONGEST_TITLE and not _ENDS_SENTENCE.search(sentence)


def _has_words(document: ScoredText, number: int) -> bool:
    return any(character.isalnum() for character in document.text[slice(*document.spans[number])])
