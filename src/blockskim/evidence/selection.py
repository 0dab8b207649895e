"""Which sentences are kept: the best ones above a threshold, as many as a budget holds, with what goes beside them."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from blockskim.data.tokens import FrozenTokenizer, tokenize
from blockskim.evidence.options import EvidenceOptions, KeepGiven
from blockskim.evidence.sentences import LINE_END

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
    """

    text: str
    spans: Sequence[tuple[int, int]]
    scores: NDArray[np.float64]

    def sentences(self) -> list[str]:
        """The text of each sentence."""
        return [self.text[start:end] for start, end in self.spans]

    def runs_on(self, number: int) -> bool:
        """Whether only white space, if anything, stands between a sentence and the next."""
        return not self.text[self.spans[number][1] : self.spans[number + 1][0]].strip()


@dataclass(frozen=True, slots=True)
class Room:
    """How much may be kept of some documents, and what their sentences take; in characters or tokens.

    Attributes:
        limit: the most that may be kept.
        sizes: what each sentence takes, by document.
        between: what stands between each sentence and the next where both are kept, by document.
        gap: what stands in place of what is cut out between two sentences; None where each is kept by itself, and
            nothing stands between them.
    """

    limit: int
    sizes: Sequence[Sequence[int]]
    between: Sequence[Sequence[int]]
    gap: int | None


def room_for(
    documents: Sequence[ScoredText], options: EvidenceOptions, tokenizer: FrozenTokenizer, gap: str | None = None
) -> Room | None:
    """The room that a budget leaves for documents; None where there is no budget.

    Tokens are those of a sentence that stands alone: in their text the first ones may be others.

    Args:
        documents: all of one question.
        options: has the budget.
        tokenizer: counts tokens.
        gap: what stands in place of what is cut out between two sentences; None where each is kept by itself.
    """
    if options.limit is None:
        return None
    in_tokens = options.limit.unit == "tokens"
    texts = [document.sentences() for document in documents]
    size_of_gap = None
    if gap is not None:
        size_of_gap = len(tokenize(tokenizer, [gap]).ids) if in_tokens else len(gap)
    return Room(
        limit=options.limit.limit(sum(len(document.text) for document in documents)),
        sizes=[_token_counts(tokenizer, own) if in_tokens else list(map(len, own)) for own in texts],
        between=[_between(document, in_tokens, size_of_gap or 0) for document in documents],
        gap=size_of_gap,
    )


def _token_counts(tokenizer: FrozenTokenizer, texts: Sequence[str]) -> list[int]:
    """Tokens of each text; at least one, so that a budget bounds how many are kept."""
    counts: list[int] = np.diff(tokenize(tokenizer, texts).bounds).clip(min=1).tolist()
    return counts


def _between(document: ScoredText, in_tokens: bool, gap: int) -> list[int]:
    """What stands between each sentence and the next where both are kept: white space, of no token, or a gap."""
    spans = document.spans
    spaces = [0 if in_tokens else spans[number + 1][0] - spans[number][1] for number in range(len(spans) - 1)]
    return [size if document.runs_on(number) else gap for number, size in enumerate(spaces)]


class _Kept:
    """The sentences of one document that are kept so far."""

    def __init__(self, document: ScoredText, sizes: Sequence[int], between: Sequence[int], gap: int | None) -> None:
        """Keep nothing yet.

        Args:
            document: the document.
            sizes: what each sentence takes.
            between: what stands between each and the next where both are kept.
            gap: what stands in place of what is cut out; None where nothing stands between sentences.
        """
        self.document = document
        self.roles: dict[int, Role] = {}
        self.has_evidence = False
        self._sizes, self._between, self._gap = sizes, between, gap
        self._first, self._last = len(sizes), -1
        self._always: list[int] | None = None
        self._always_takes = 0

    def take(self, sentence: int, beside: Mapping[int, Role], room: float) -> int | None:
        """Keep a sentence as evidence with others beside it; what that takes, or None where there is no room for it."""
        added = sorted(number for number in {sentence, *beside} if number not in self.roles)
        needed = self._needed(added)
        if needed > room:
            return None
        for number in added:
            self.roles[number] = beside.get(number, "evidence")
        if added:
            self._first, self._last = min(self._first, added[0]), max(self._last, added[-1])
        self.roles[sentence] = "evidence"
        self.has_evidence = True
        return needed

    def always(self, keep: KeepGiven, more: int, room: float) -> list[int] | None:
        """The sentences that are kept if any of the document is; None where there is no room for them.

        Args:
            keep: which they are.
            more: how many others come with them at most.
            room: that is left.
        """
        if self._always is None:
            self._always = _always_kept(self.document, keep)
            self._always_takes = self._needed(self._always)
        # Each of the others may take nothing and save a gap.
        return None if self._always_takes - more * (self._gap or 0) > room else self._always

    def _needed(self, added: Sequence[int]) -> int:
        """What it takes to keep more sentences, given in ascending order.

        Only neighbours matter, and whether there is anything on a side, so it takes no longer the more is kept.
        """
        total = sum(self._sizes[number] for number in added)
        if self._gap is None:
            return total
        first, last, previous = self._first, self._last, -2
        for number in added:
            if first < number:
                near = number - 1 == previous or number - 1 in self.roles
                total += self._between[number - 1] if near else self._gap
            if number < last:
                total += self._between[number] if number + 1 in self.roles else self._gap
            if first < number < last:
                total -= self._gap
            first, last, previous = min(first, number), max(last, number), number
        return total


def select(
    documents: Sequence[ScoredText], options: EvidenceOptions, least_score: float, room: Room | None = None
) -> list[dict[int, Role]]:
    """Choose the sentences of some documents that are kept for a question.

    The best come first. One that does not fit into what is left of the room with what goes beside it is taken alone;
    if it does not fit even so it is left out, and worse ones that fit are taken.

    Args:
        documents: all of one question.
        options: what is wanted.
        least_score: of evidence.
        room: that there is; None for any amount.

    Returns:
        Of each document the kept sentences by number, in order, each with why it is kept.
    """
    kept = [_kept_of(document, place, room) for place, document in enumerate(documents)]
    scores = np.concatenate([document.scores for document in documents])
    owners = [(place, number) for place, document in enumerate(documents) for number in range(len(document.spans))]
    taken, left = 0, math.inf if room is None else room.limit
    for index in np.argsort(-scores, kind="stable").tolist():
        if scores[index] < least_score or taken == options.top_k:
            break
        place, number = owners[index]
        own = kept[place]
        if not has_words(own.document, number):
            continue
        beside = _beside(own, number, options, left)
        used = own.take(number, beside, left)
        if used is None and beside:
            used = own.take(number, {}, left)
        if used is not None:
            left -= used
            taken += 1
    return [{number: each.roles[number] for number in sorted(each.roles)} for each in kept]


def _kept_of(document: ScoredText, place: int, room: Room | None) -> _Kept:
    """Nothing yet of a document, which is at a place among the others."""
    if room is None:
        nothing = [0] * len(document.spans)
        return _Kept(document, nothing, nothing, None)
    return _Kept(document, room.sizes[place], room.between[place], room.gap)


def _beside(own: _Kept, sentence: int, options: EvidenceOptions, room: float) -> dict[int, Role]:
    """What is kept beside a sentence: its neighbours, and with the first of a document what it has of titles.

    It is nothing where there is no room for titles, which neighbours don't come without.
    """
    always: Sequence[int] = ()
    if options.keep is not None and not own.has_evidence:
        fitting = own.always(options.keep, 2 * options.context + 1, room)
        if fitting is None:
            return {}
        always = fitting
    count = len(own.document.spans)
    near = range(max(0, sentence - options.context), min(count, sentence + options.context + 1))
    every: dict[int, Role] = {**dict.fromkeys(near, "context"), **dict.fromkeys(always, "kept")}
    every.pop(sentence, None)
    return every


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
    if number != 0 or end - start > LONGEST_TITLE or not LINE_END.match(document.text, end):
        return False
    return not _ENDS_SENTENCE.search(sentence)


def has_words(document: ScoredText, number: int) -> bool:
    """Whether a sentence has a letter or digit; without, as a dash between two lines, it is no evidence."""
    return any(character.isalnum() for character in document.text[slice(*document.spans[number])])
