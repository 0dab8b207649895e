"""Which sentences are kept: the best ones above a threshold, as many as a budget holds, with what goes beside them."""

import math
import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from blockskim.data.tokens import FrozenTokenizer, tokenize
from blockskim.evidence.kept_sentences import KeptSentences, Role
from blockskim.evidence.options import EvidenceOptions, KeepGiven
from blockskim.evidence.sentences import LINE_END, fenced

_HEADING = re.compile(r"#{1,6}\s")
_LINE_BEGINS = re.compile(rf"(?:\A|{LINE_END.pattern}) {{0,3}}\Z")
"""What stands before a heading; a line that is indented further is code."""

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
    kept = [_nothing_of(document, place, room) for place, document in enumerate(documents)]
    scores = np.concatenate([document.scores for document in documents])
    owners = [(place, number) for place, document in enumerate(documents) for number in range(len(document.spans))]
    taken, left = 0, math.inf if room is None else room.limit
    for index in np.argsort(-scores, kind="stable").tolist():
        if scores[index] < least_score or taken == options.top_k:
            break
        place, number = owners[index]
        document = documents[place]
        if not has_words(document, number):
            continue
        used = _take(kept[place], document, number, options, left)
        if used is not None:
            left -= used
            taken += 1
    return [{number: each.roles[number] for number in sorted(each.roles)} for each in kept]


def _nothing_of(document: ScoredText, place: int, room: Room | None) -> KeptSentences:
    """Nothing yet of a document, which is at a place among the others."""
    nothing = [0] * len(document.spans)
    if room is None:
        return KeptSentences(nothing, nothing, 0)
    between = nothing if room.gap is None else room.between[place]
    return KeptSentences(room.sizes[place], between, room.gap or 0)


def _take(
    kept: KeptSentences, document: ScoredText, sentence: int, options: EvidenceOptions, room: float
) -> int | None:
    """Keep a sentence with what goes beside it, or alone; what that takes, or None where there is no room for it."""
    alone = range(sentence, sentence + 1)
    near = range(max(0, sentence - options.context), min(len(document.spans), sentence + options.context + 1))
    always: list[int] = []
    if not kept.roles:
        if kept.needed(alone) > room:
            # Nor is there room for more; what is always kept is looked for once.
            return None
        always = [] if options.keep is None else _always_kept(document, options.keep)
    needed = kept.needed_at_first(sorted({*near, *always})) if always else kept.needed(near)
    if needed <= room:
        kept.add(always, "kept")
        kept.add_row(near, "context")
    else:
        needed = kept.needed(alone)
        if needed > room:
            return None
        kept.add_row(alone, "evidence")
    kept.roles[sentence] = "evidence"
    return needed


def _always_kept(document: ScoredText, keep: KeepGiven) -> list[int]:
    """The sentences of a document that are kept if any of it is."""
    if callable(keep):
        return [number for number, (start, end) in enumerate(document.spans) if keep(document.text[start:end])]
    blocks = fenced(document.text)
    ends = [end for _, end in blocks]
    titles = []
    for number, (start, _) in enumerate(document.spans):
        block = bisect_right(ends, start)
        in_code = block < len(blocks) and blocks[block][0] <= start
        if not in_code and _is_title(document, number):
            titles.append(number)
    return titles


def _is_title(document: ScoredText, number: int) -> bool:
    """Whether a sentence is a heading of Markdown, or a first line that is short and ends like none."""
    start, end = document.spans[number]
    sentence = document.text[start:end]
    if _HEADING.match(sentence) and _LINE_BEGINS.search(document.text[max(0, start - 4) : start]):
        return True
    if number != 0 or end - start > LONGEST_TITLE or not LINE_END.match(document.text, end):
        return False
    return not _ENDS_SENTENCE.search(sentence)


def has_words(document: ScoredText, number: int) -> bool:
    """Whether a sentence has a letter or digit; without, as a dash between two lines, it is no evidence."""
    return any(character.isalnum() for character in document.text[slice(*document.spans[number])])
