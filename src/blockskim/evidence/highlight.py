"""Highlights: the sentences of documents that matter for a question, each a citation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypedDict

from blockskim.answering.reading import TextReader, WindowCount
from blockskim.answering.request import AnswerOptions
from blockskim.answering.trace import AnswerTrace
from blockskim.evidence.finding import QuestionEvidence, SpanInSentence, find_evidence
from blockskim.evidence.options import EvidenceOptions
from blockskim.evidence.scoring import evidence_model
from blockskim.evidence.selection import Role, select
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
        traces: what was read of each document; the spans of a trace are those of its sentences.
    """

    question: str
    sentences: list[Sentence]
    kept: float
    traces: tuple[AnswerTrace, ...]


def highlight(
    reader: TextReader,
    questions: Sequence[str],
    documents: Mapping[Any, str],
    options: EvidenceOptions,
    reading: AnswerOptions,
    splitter: Splitter = split_sentences,
    progress: WindowCount | None = None,
) -> list[Highlights]:
    """Find the sentences that matter for each question, in one run over all documents.

    Args:
        reader: what texts are read with.
        questions: at least one.
        documents: texts by name.
        options: how much is wanted.
        reading: how to read.
        splitter: finds the sentences of a text.
        progress: called after each batch.

    Raises:
        ConfigError: an option is impossible for the model, or the splitter gives no spans.
        DataError: a question is blank, or a question or document holds no valid text.
    """
    least = options.least_score(evidence_model(reader.model.skim_config))
    found = find_evidence(reader, questions, documents, reading, splitter, progress)
    return [_highlights(evidence, options, least) for evidence in found]


def rank(evidence: QuestionEvidence, top_k: int | None) -> list[RankedDocument]:
    """Documents, likeliest first to hold evidence; among equals in their order."""
    ranked = [
        RankedDocument(document=name, score=score)
        for name, score in zip(evidence.names, evidence.best_scores(), strict=True)
    ]
    return sorted(ranked, key=lambda each: -each["score"])[:top_k]


def _highlights(evidence: QuestionEvidence, options: EvidenceOptions, least: float) -> Highlights:
    sentences: list[Sentence] = []
    traces = []
    chosen = select(evidence.texts, options, least)
    rows = zip(evidence.names, evidence.texts, evidence.answers, evidence.traces, chosen, strict=True)
    for name, text, answers, trace, roles in rows:
        own = []
        for number, role in roles.items():
            start, end = text.spans[number]
            sentence = Sentence(
                document=name,
                text=text.text[start:end],
                start=start,
                end=end,
                score=float(text.scores[number]),
                role=role,
                answer=_answer(text.text, answers[number]),
            )
            own.append(sentence)
        sentences += own
        marked = sorted(own, key=lambda each: -each["score"])
        traces.append(replace(trace, spans=tuple((each["start"], each["end"], each["score"]) for each in marked)))
    if options.order == "score":
        sentences.sort(key=lambda each: -each["score"])
    total = sum(len(text.text) for text in evidence.texts)
    kept = sum(each["end"] - each["start"] for each in sentences) / max(1, total)
    return Highlights(evidence.question, sentences, kept, tuple(traces))


def _answer(text: str, found: SpanInSentence | None) -> SentenceAnswer | None:
    if found is None:
        return None
    start, end = found.start, found.end
    return SentenceAnswer(text=text[start:end], start=start, end=end, confidence=found.confidence)
