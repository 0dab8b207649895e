"""Which sentences are kept: the best ones above a threshold, as many as a budget holds, with what goes beside them."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
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

ROUNDS = 4
"""In which a choice under a budget of tokens is made anew with more room, once it fits."""


@dataclass(frozen=True, slots=True)
class ScoredText:
    """A document with its sentences and their scores.

    Attributes:
        text: the document.
        spans: first character and one past the last of each sentence, in order.
        scores: from 0 to 1. Shape: (sentences,)
        token_ends: one past the last character of each token of the text, in order; of some tokenizers tokens begin at
            the blank before a word, so a token stands where it ends. Shape: (tokens,)
    """

    text: str
    spans: Sequence[tuple[int, int]]
    scores: NDArray[np.float64]
    token_ends: NDArray[np.int64]

    def sizes(self, in_tokens: bool) -> tuple[list[int], list[int]]:
        """What each sentence takes, and what lies between each and the next: characters, or tokens that end there."""
        bounds = np.array(self.spans, dtype=np.int64).reshape(-1, 2)
        if in_tokens:
            bounds = np.searchsorted(self.token_ends, bounds, side="right")
        return (bounds[:, 1] - bounds[:, 0]).tolist(), (bounds[1:, 0] - bounds[:-1, 1]).tolist()

    def runs_on(self, number: int) -> bool:
        """Whether only white space, if anything, stands between a sentence and the next."""
        return not self.text[self.spans[number][1] : self.spans[number + 1][0]].strip()


@dataclass(frozen=True, slots=True)
class Joining:
    """How kept sentences are put together, where that takes room.

    Attributes:
        characters: of what stands in place of what was cut out between two sentences.
        tokens: of the same.
    """

    characters: int
    tokens: int


class _Kept:
    """The sentences of one document that are kept so far."""

    def __init__(self, document: ScoredText, in_tokens: bool, joining: Joining | None) -> None:
        """Keep nothing yet.

        Args:
            document: the document.
            in_tokens: whether room is counted in tokens.
            joining: how sentences are put together, if what stands between them counts, too.
        """
        self.document = document
        self.roles: dict[int, Role] = {}
        self.has_evidence = False
        self._sizes, self._between = document.sizes(in_tokens)
        self._gap = None if joining is None else joining.tokens if in_tokens else joining.characters
        if self._gap is not None:
            gap = self._gap
            self._between = [size if document.runs_on(number) else gap for number, size in enumerate(self._between)]
        self._first, self._last = len(self._sizes), -1
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


def select_counted(
    documents: Sequence[ScoredText],
    options: EvidenceOptions,
    least_score: float,
    count: Callable[[Sequence[dict[int, Role]]], int],
    joining: Joining | None = None,
) -> list[dict[int, Role]]:
    """As ``select``; under a budget of tokens what is chosen is counted as it will be given.

    A sentence that is taken out of its text may have other tokens than it had there, and one more now and then. Where
    that is over the budget, it is chosen anew with less room: with little less, so that what fits is taken.

    Args:
        documents: all of one question.
        options: what is wanted.
        least_score: of evidence.
        count: the tokens of what was chosen.
        joining: how sentences are put together, if what stands between them counts, too.
    """
    chosen = select(documents, options, least_score, joining)
    if options.limit is None or options.limit.unit != "tokens":
        return chosen
    most, less, enough = int(options.limit.amount), 0, 0
    while (over := count(chosen) - most) > 0:
        # Twice as much less at least, as a count that fell by one each time would take as many rounds as tokens.
        less, enough = enough, enough + max(over, enough)
        chosen = select(documents, options, least_score, joining, enough)
    for _ in range(ROUNDS):
        if enough - less <= 1:
            break
        middle = (less + enough) // 2
        tried = select(documents, options, least_score, joining, middle)
        if count(tried) <= most:
            chosen, enough = tried, middle
        else:
            less = middle
    return chosen


def select(
    documents: Sequence[ScoredText],
    options: EvidenceOptions,
    least_score: float,
    joining: Joining | None = None,
    less: int = 0,
) -> list[dict[int, Role]]:
    """Choose the sentences of some documents that are kept for a question.

    The best come first. One that does not fit into what is left of the budget with what goes beside it is taken alone;
    if it does not fit even so it is left out, and worse ones that fit are taken.

    Args:
        documents: all of one question.
        options: what is wanted.
        least_score: of evidence.
        joining: how sentences are put together, if what stands between them counts, too.
        less: how much of the budget is not to be used.

    Returns:
        Of each document the kept sentences by number, in order, each with why it is kept.
    """
    limit, in_tokens = None, False
    if options.limit is not None:
        in_tokens = options.limit.unit == "tokens"
        limit = options.limit.limit(sum(len(document.text) for document in documents))
    kept = [_Kept(document, in_tokens, joining) for document in documents]
    scores = np.concatenate([document.scores for document in documents])
    owners = [(place, number) for place, document in enumerate(documents) for number in range(len(document.spans))]
    taken, room = 0, math.inf if limit is None else limit - less
    for index in np.argsort(-scores, kind="stable").tolist():
        if scores[index] < least_score or taken == options.top_k:
            break
        place, number = owners[index]
        own = kept[place]
        if not has_words(own.document, number):
            continue
        beside = _beside(own, number, options, room)
        used = own.take(number, beside, room)
        if used is None and beside:
            used = own.take(number, {}, room)
        if used is not None:
            room -= used
            taken += 1
    return [{number: each.roles[number] for number in sorted(each.roles)} for each in kept]


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


def token_counter(tokenizer: FrozenTokenizer) -> Callable[[str], int]:
    """Counts the tokens of a text that stands alone, special ones left out."""
    return lambda text: len(tokenize(tokenizer, [text]).ids) if text else 0
