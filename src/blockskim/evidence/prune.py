"""Pruned texts: documents cut to what matters for a question, with the way back to the originals."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from blockskim.answering.reading import TextReader, WindowCount
from blockskim.answering.request import AnswerOptions
from blockskim.answering.trace import AnswerTrace, skim_summary
from blockskim.checks import is_text
from blockskim.data.tokens import FrozenTokenizer, tokenize
from blockskim.errors import ConfigError
from blockskim.evidence.finding import Query, QuestionEvidence, find_evidence
from blockskim.evidence.options import EvidenceOptions
from blockskim.evidence.scoring import check_threshold
from blockskim.evidence.selection import ScoredText, room_for, select
from blockskim.evidence.sentences import Splitter, split_sentences

GAP = " […] "

ROUNDS = 4
"""In which texts that had too many tokens are made anew with more room, once they fit."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of characters of a pruned text that stands so in the original.

    Attributes:
        start: first character in the pruned text.
        end: one past the last.
        original: place of the first character in the original.
    """

    start: int
    end: int
    original: int


@dataclass(frozen=True, slots=True)
class PrunedTexts:
    """Documents cut to what matters for one question.

    Attributes:
        question: the question.
        documents: pruned text by name, in their order; documents of which nothing is left are not there.
        pieces: of each pruned text, in order; between two of them stands a gap.
        kept: share of the characters of all documents that is left, gaps not counted.
        traces: what was read of each document, those included of which nothing is left.
    """

    question: str
    documents: dict[Any, str]
    pieces: dict[Any, tuple[Piece, ...]]
    kept: float
    traces: tuple[AnswerTrace, ...]

    def values(self) -> dict[str, Any]:
        """As JSON has it, with what it cost; of each piece ``start``, ``end`` and ``original``."""
        pieces = {
            name: [[piece.start, piece.end, piece.original] for piece in own] for name, own in self.pieces.items()
        }
        return {
            "question": self.question,
            "documents": self.documents,
            "kept": self.kept,
            "pieces": pieces,
            "skim": skim_summary(self.traces),
        }

    def original_span(self, document: Any, start: int, end: int) -> tuple[int, int]:
        """Where characters of a pruned text stand in the original.

        Args:
            document: its name.
            start: first character in the pruned text.
            end: one past the last; what lies between pieces is left out at both ends.

        Returns:
            First character and one past the last. They hold what was cut out in between, too.

        Raises:
            ConfigError: there is no such document or no such place in it, or only a gap stands there.
        """
        if document not in self.pieces:
            raise ConfigError(f"nothing is left of a document {document!r:.80}")
        size = len(self.documents[document])
        if not 0 <= start < end <= size:
            raise ConfigError(f"({start}, {end}) is no span of the pruned text {document!r:.80}, of {size} characters")
        pieces = [piece for piece in self.pieces[document] if piece.start < end and piece.end > start]
        if not pieces:
            raise ConfigError(f"at ({start}, {end}) of the pruned text {document!r:.80} stands a gap alone")
        first, last = pieces[0], pieces[-1]
        return (
            first.original + max(0, start - first.start),
            last.original + min(end, last.end) - last.start,
        )

    def original_offset(self, document: Any, offset: int) -> int:
        """Where a character of a pruned text stands in the original; for one of a gap, where the next piece begins.

        Raises:
            ConfigError: there is no such document, or no such place in it.
        """
        if document not in self.pieces:
            raise ConfigError(f"nothing is left of a document {document!r:.80}")
        size = len(self.documents[document])
        if not 0 <= offset < size:
            raise ConfigError(f"{offset} is no place in the pruned text {document!r:.80}, of {size} characters")
        pieces = self.pieces[document]
        piece = pieces[bisect_right(pieces, offset, key=lambda each: each.start) - 1]
        if offset < piece.end:
            return piece.original + offset - piece.start
        return pieces[pieces.index(piece) + 1].original


def prune(
    reader: TextReader,
    queries: Sequence[Query],
    options: EvidenceOptions,
    reading: AnswerOptions,
    gap: str = GAP,
    splitter: Splitter = split_sentences,
    progress: WindowCount | None = None,
    trace: bool = True,
) -> list[PrunedTexts]:
    """Cut documents to the sentences that matter for each question, in one run.

    Args:
        reader: what texts are read with.
        queries: questions, each with its documents.
        options: how much may be left, of all documents of a query together. A budget counts what stands in the pruned
            texts, gaps included.
        reading: how to read.
        gap: what stands between two pieces.
        splitter: finds the sentences of a text.
        progress: called after each batch.
        trace: whether to keep what was read of each document.

    Raises:
        ConfigError: an option is impossible for the model, the gap is no text, or the splitter gives no spans.
        DataError: a question is blank, or a question or document holds no valid text.
    """
    check_gap(gap)
    check_threshold(options, reader.model)
    found = find_evidence(reader, queries, reading, splitter, progress, trace)
    return [pruned_to(evidence, options, gap, reader.tokenizer) for evidence in found]


def check_gap(gap: object) -> None:
    """Refuse what can't stand between two pieces.

    Raises:
        ConfigError: it is no text, or holds half of a surrogate pair.
    """
    if not isinstance(gap, str):
        raise ConfigError(f"gap is {gap!r:.80}; it must be a string")
    if not is_text(gap):
        raise ConfigError(f"gap is {gap!r:.80}; it holds half of a surrogate pair, which is no valid text")


def pruned_to(
    evidence: QuestionEvidence, options: EvidenceOptions, gap: str, tokenizer: FrozenTokenizer
) -> PrunedTexts:
    """The documents of a question, cut to the sentences that matter for it.

    Args:
        evidence: all sentences, with scores.
        options: how much may be left.
        gap: what stands between two pieces.
        tokenizer: counts tokens, where the budget is in tokens.
    """
    texts = _within_budget(evidence, options, gap, tokenizer)
    left = {name: text for name, text in zip(evidence.names, texts, strict=True) if text[1]}
    kept = sum(piece.end - piece.start for _, pieces in left.values() for piece in pieces)
    return PrunedTexts(
        question=evidence.question,
        documents={name: text for name, (text, _) in left.items()},
        pieces={name: pieces for name, (_, pieces) in left.items()},
        kept=kept / max(1, sum(len(text.text) for text in evidence.texts)),
        traces=tuple(evidence.traces),
    )


def _within_budget(
    evidence: QuestionEvidence, options: EvidenceOptions, gap: str, tokenizer: FrozenTokenizer
) -> list[tuple[str, tuple[Piece, ...]]]:
    """The pruned text and its pieces of each document.

    Tokens at a cut may be others than those of the sentences, and one more now and then. Where pruned texts have more
    than the budget, they are made anew with less room: with little less, so that what fits is kept.
    """
    room, least = room_for(evidence.texts, options, tokenizer, gap), options.least_score(evidence.model)

    def pruned(less: int) -> list[tuple[str, tuple[Piece, ...]]]:
        smaller = None if room is None else replace(room, limit=room.limit - less)
        chosen = select(evidence.texts, options, least, smaller)
        return [_joined(text, own, gap) for text, own in zip(evidence.texts, chosen, strict=True)]

    texts = pruned(0)
    if room is None or options.limit is None or options.limit.unit != "tokens":
        return texts
    less = enough = 0
    while (over := _tokens(tokenizer, texts) - room.limit) > 0:
        # Twice as much less at least, as a count that fell by one each time would take as many rounds as tokens.
        less, enough = enough, enough + max(over, enough)
        texts = pruned(enough)
    for _ in range(ROUNDS):
        if enough - less <= 1:
            break
        middle = (less + enough) // 2
        tried = pruned(middle)
        if _tokens(tokenizer, tried) <= room.limit:
            texts, enough = tried, middle
        else:
            less = middle
    return texts


def _tokens(tokenizer: FrozenTokenizer, texts: Sequence[tuple[str, tuple[Piece, ...]]]) -> int:
    """All tokens of some pruned texts."""
    return len(tokenize(tokenizer, [text for text, _ in texts if text]).ids)


def _joined(text: ScoredText, chosen: Mapping[int, Any], gap: str) -> tuple[str, tuple[Piece, ...]]:
    """The pruned text of some sentences, and its pieces; sentences with nothing but white space between are one."""
    runs: list[tuple[int, int]] = []
    for number in sorted(chosen):
        start, end = text.spans[number]
        if number - 1 in chosen and text.runs_on(number - 1):
            runs[-1] = runs[-1][0], end
        else:
            runs.append((start, end))
    pieces, length = [], 0
    for start, end in runs:
        pieces.append(Piece(length, length + end - start, start))
        length += end - start + len(gap)
    return gap.join(text.text[start:end] for start, end in runs), tuple(pieces)
