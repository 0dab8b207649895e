"""Highlights: the sentences of documents that matter for a question, each a citation."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypedDict

from blockskim.answering.reading import TextReader, WindowCount
from blockskim.answering.request import AnswerOptions
from blockskim.answering.trace import AnswerTrace, skim_summary
from blockskim.data.tokens import FrozenTokenizer
from blockskim.evidence.evidence_reading import SpanInSentence
from blockskim.evidence.finding import Query, QuestionEvidence, find_evidence
from blockskim.evidence.kept_sentences import Role
from blockskim.evidence.options import EvidenceOptions
from blockskim.evidence.scoring import check_threshold
from blockskim.evidence.selection import ScoredText, room_for, select
from blockskim.evidence.sentences import Splitter, split_sentences


class SentenceAnswer(TypedDict):
    """An answer inside of a sentence; ``start`` and ``end`` count characters of the document."""

    text: str
    start: int
    end: int
    confidence: float


class Sentence(TypedDict):
    """A sentence of a document that matters; ``document[start:end] == text``.

    ``role`` says why it is there: "evidence", "context" of it, or "kept" as a title or at the caller's wish.
    """

    document: Any
    text: str
    start: int
    end: int
    score: float
    role: Role
    answer: SentenceAnswer | None


class RankedDocument(TypedDict):
    """A document and how likely it is that it holds evidence: the score of its best sentence."""

    document: Any
    score: float


@dataclass(frozen=True, slots=True)
class Highlights:
    """What matters for one question.

    Attributes:
        question: the question.
        sentences: in the order that was asked for.
        kept: their share of the characters of all documents.
        traces: what was read of each document; the spans of a trace are its evidence, ranked over all documents.
    """

    question: str
    sentences: list[Sentence]
    kept: float
    traces: tuple[AnswerTrace, ...]

    def values(self) -> dict[str, Any]:
        """As JSON has it, with what it cost."""
        return {
            "question": self.question,
            "sentences": self.sentences,
            "kept": self.kept,
            "skim": skim_summary(self.traces),
        }


def highlight(
    reader: TextReader,
    queries: Sequence[Query],
    options: EvidenceOptions,
    reading: AnswerOptions,
    splitter: Splitter = split_sentences,
    progress: WindowCount | None = None,
    trace: bool = True,
) -> list[Highlights]:
    """Find the sentences that matter for each question, in one run.

    Args:
        reader: what texts are read with.
        queries: questions, each with its documents.
        options: how much is wanted, of all documents of a query together.
        reading: how to read.
        splitter: finds the sentences of a text.
        progress: called after each batch.
        trace: whether to keep what was read of each document.

    Raises:
        ConfigError: an option is impossible for the model, or the splitter gives no spans.
        DataError: a question is blank, or a question or document holds no valid text.
    """
    check_threshold(options, reader.model)
    found = find_evidence(reader, queries, reading, splitter, progress, trace)
    return [highlights_of(evidence, options, reader.tokenizer) for evidence in found]


def rank(evidence: QuestionEvidence, top_k: int | None) -> list[RankedDocument]:
    """Documents, likeliest first to hold evidence; among equals in their order."""
    ranked = [
        RankedDocument(document=name, score=score)
        for name, score in zip(evidence.names, evidence.best_scores(), strict=True)
    ]
    return sorted(ranked, key=lambda each: -each["score"])[:top_k]


def highlights_of(evidence: QuestionEvidence, options: EvidenceOptions, tokenizer: FrozenTokenizer) -> Highlights:
    """The sentences of documents that matter for a question.

    Args:
        evidence: all sentences, with scores.
        options: how much is wanted.
        tokenizer: counts tokens, where the budget is in tokens.
    """
    room = room_for(evidence.texts, options, tokenizer)
    chosen = select(evidence.texts, options, options.least_score(evidence.model), room)
    rows = zip(evidence.names, evidence.texts, evidence.answers, chosen, strict=True)
    by_document = [
        [_sentence(name, text, number, role, answers[number]) for number, role in roles.items()]
        for name, text, answers, roles in rows
    ]
    sentences = [sentence for own in by_document for sentence in own]
    if options.order == "score":
        sentences.sort(key=lambda each: -each["score"])
    total = sum(len(text.text) for text in evidence.texts)
    kept = sum(each["end"] - each["start"] for each in sentences) / max(1, total)
    return Highlights(evidence.question, sentences, kept, _marked(evidence.traces, by_document))


def _sentence(name: Any, text: ScoredText, number: int, role: Role, answer: SpanInSentence | None) -> Sentence:
    start, end = text.spans[number]
    return Sentence(
        document=name,
        text=text.text[start:end],
        start=start,
        end=end,
        score=float(text.scores[number]),
        role=role,
        answer=_answer(text.text, answer),
    )


def _marked(traces: Sequence[AnswerTrace], by_document: Sequence[Sequence[Sentence]]) -> tuple[AnswerTrace, ...]:
    """What was read of each document, with its evidence as what was found, and what is kept beside it."""
    spans: list[list[tuple[int, int, float]]] = [[] for _ in traces]
    ranks: list[list[int]] = [[] for _ in traces]
    own = [(place, each) for place in range(len(traces)) for each in by_document[place]]
    evidence = sorted((one for one in own if one[1]["role"] == "evidence"), key=lambda one: -one[1]["score"])
    for rank, (place, each) in enumerate(evidence, start=1):
        spans[place].append((each["start"], each["end"], each["score"]))
        ranks[place].append(rank)
    beside = [
        tuple((each["start"], each["end"], each["role"]) for each in sentences if each["role"] != "evidence")
        for sentences in by_document
    ]
    return tuple(
        replace(trace, spans=tuple(spans[place]), ranks=tuple(ranks[place]), beside=beside[place])
        for place, trace in enumerate(traces)
    )


def _answer(text: str, found: SpanInSentence | None) -> SentenceAnswer | None:
    if found is None:
        return None
    start, end = found.start, found.end
    return SentenceAnswer(text=text[start:end], start=start, end=end, confidence=found.confidence)
