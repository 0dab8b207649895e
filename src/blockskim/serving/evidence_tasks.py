"""Requests for evidence in documents, as plain JSON: sentences to cite, texts cut to them, documents in order."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from blockskim.answering.request import AnswerOptions, check_questions
from blockskim.errors import ConfigError
from blockskim.evidence.evidence_reading import EvidenceReading
from blockskim.evidence.finding import Query, QuestionEvidence, evidence_by_question, start_evidence
from blockskim.evidence.highlight import highlights_of, rank
from blockskim.evidence.options import evidence_and_reading
from blockskim.evidence.prune import GAP, pruned_to
from blockskim.evidence.question_answerer import QuestionAnswerer
from blockskim.evidence.scoring import check_threshold
from blockskim.serving.tasks import Json, Task, check_documents, check_size

MOST_SENTENCES = 10_000
"""Of an answer, each of which is a record, however short it is."""


def highlight_task(
    answerer: QuestionAnswerer, question: str, documents: Sequence[tuple[str, str]], options: Json
) -> Task[EvidenceReading]:
    """Find the sentences that matter for a question.

    Args:
        answerer: whose model scores the sentences.
        question: the question.
        documents: names, each one's own, with texts.
        options: of ``QuestionAnswerer.highlight``.
    """
    wanted, reading = evidence_and_reading(options)
    check_threshold(wanted, answerer.model)
    characters = len(question) + sum(len(text) for _, text in documents)

    def result(evidence: QuestionEvidence) -> Json:
        found = highlights_of(evidence, wanted, answerer.reader.tokenizer)
        if len(found.sentences) > MOST_SENTENCES:
            raise ConfigError(
                f"{len(found.sentences):,} sentences are more than the {MOST_SENTENCES:,} that an answer may have; ask "
                "for fewer with top_k, budget or threshold"
            )
        answers = [each["answer"]["text"] for each in found.sentences if each["answer"] is not None]
        texts = [text for each in found.sentences for text in (each["document"], each["text"])]
        check_size([*answers, *texts], characters, "top_k, budget or threshold")
        return found.values()

    return _evidence_task(answerer, question, dict(documents), reading, result)


def prune_task(
    answerer: QuestionAnswerer, question: str, documents: Sequence[tuple[str, str]], options: Json
) -> Task[EvidenceReading]:
    """Cut documents to the sentences that matter for a question.

    Args:
        answerer: whose model scores the sentences.
        question: the question.
        documents: names, each one's own, with texts.
        options: of ``QuestionAnswerer.prune``.
    """
    gap = options.get("gap", GAP)
    wanted, reading = evidence_and_reading({name: value for name, value in options.items() if name != "gap"})
    check_threshold(wanted, answerer.model)
    characters = len(question) + sum(len(text) for _, text in documents)

    def result(evidence: QuestionEvidence) -> Json:
        cut = pruned_to(evidence, wanted, gap, answerer.reader.tokenizer)
        check_size(cut.documents.values(), characters, "a shorter gap, top_k, budget or threshold")
        return cut.values()

    return _evidence_task(answerer, question, dict(documents), reading, result)


def rerank_task(
    answerer: QuestionAnswerer, query: str, documents: Sequence[str], top_n: int | None, options: Json
) -> Task[EvidenceReading]:
    """Order documents by how likely they hold evidence, as ``QuestionAnswerer.rank`` does.

    Args:
        answerer: whose model scores the sentences.
        query: the question.
        documents: the texts.
        top_n: how many to give; all when None.
        options: of ``AnswerOptions``.
    """

    def result(evidence: QuestionEvidence) -> Json:
        ranked = rank(evidence, top_n)
        return {"results": [{"index": each["document"], "relevance_score": each["score"]} for each in ranked]}

    return _evidence_task(answerer, query, dict(enumerate(documents)), AnswerOptions(**options), result, trace=False)


def _evidence_task(
    answerer: QuestionAnswerer,
    question: str,
    documents: Mapping[Any, str],
    options: AnswerOptions,
    result: Callable[[QuestionEvidence], Json],
    trace: bool = True,
) -> Task[EvidenceReading]:
    """A request for evidence of one question.

    Args:
        answerer: whose model scores the sentences.
        question: the question.
        documents: texts by name.
        options: how to read.
        result: makes the answer of what was found.
        trace: whether what was read is part of it.
    """
    check_questions([question])
    check_documents(documents)
    reader, queries = answerer.reader, [Query(question, documents)]

    def start() -> EvidenceReading:
        return start_evidence(reader, queries, options, trace=trace)

    def finish(reading: EvidenceReading, seconds: float) -> Json:
        (evidence,) = evidence_by_question(reader, queries, reading, seconds)
        return result(evidence)

    return Task(start, finish, sum(len(question) + len(text) for text in documents.values()))
