"""Reading documents for questions: every sentence with its score, and the answer that stands in it if there is one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from blockskim.answering.reading import TextReader, WindowCount
from blockskim.answering.request import AnswerOptions, check_questions, pair_with_each, question_name, warn_of_blank
from blockskim.answering.trace import AnswerTrace, with_blank_documents
from blockskim.evidence.evidence_reading import EvidenceReading, SpanInSentence, TextEvidence
from blockskim.evidence.scoring import evidence_model
from blockskim.evidence.selection import ScoredText, has_words
from blockskim.evidence.sentences import Spans, Splitter, checked_spans, split_sentences
from blockskim.method.evidence import EvidenceModel
from blockskim.method.skim_trace import Asking


@dataclass(frozen=True, slots=True)
class Query:
    """A question, and where to look for evidence.

    Attributes:
        question: the question.
        documents: texts by name; a blank one has no sentences.
    """

    question: str
    documents: Mapping[Any, str]

    def readable(self) -> dict[Any, str]:
        """The documents that are not blank."""
        return {name: text for name, text in self.documents.items() if text.strip()}


def queries_over(questions: Sequence[str], documents: Mapping[Any, str]) -> list[Query]:
    """Several questions, each about all documents."""
    return [Query(question, documents) for question in questions]


@dataclass(frozen=True, slots=True)
class QuestionEvidence:
    """What documents hold for one question; sequences are in the order of the documents.

    Attributes:
        question: the question.
        names: of the documents.
        texts: their sentences, with scores.
        answers: the answer in each sentence, None where there is none.
        model: what scored the sentences.
        traces: what was read of each; nothing where that was not asked for.
    """

    question: str
    names: Sequence[Any]
    texts: Sequence[ScoredText]
    answers: Sequence[Sequence[SpanInSentence | None]]
    model: EvidenceModel
    traces: Sequence[AnswerTrace] = ()

    def best_scores(self) -> list[float]:
        """The score of the best sentence of each document that may be evidence; 0 where there is none."""
        return [
            max((float(score) for number, score in enumerate(text.scores) if has_words(text, number)), default=0.0)
            for text in self.texts
        ]


def start_evidence(
    reader: TextReader,
    queries: Sequence[Query],
    options: AnswerOptions,
    splitter: Splitter = split_sentences,
    progress: WindowCount | None = None,
    trace: bool = True,
) -> EvidenceReading:
    """Tokenise, split and plan, and run nothing: for whoever runs windows by itself, such as a server.

    Args:
        reader: what texts are read with.
        queries: what is asked; several may share documents. Of blank documents a warning tells.
        options: how to read.
        splitter: finds the sentences of a text.
        progress: called after each batch, where all of it runs at once.
        trace: whether to keep what was read of each document.

    Raises:
        ConfigError: an option is impossible for the model, or the splitter gives no spans.
        DataError: a question is blank, or a question or document holds no valid text.
    """
    check_questions([query.question for query in queries])
    for documents in {id(query.documents): query.documents for query in queries}.values():
        warn_of_blank(documents)
    pairs = [
        pair
        for number, query in enumerate(queries, start=1)
        for pair in pair_with_each(query.question, query.readable(), question_name(number, len(queries)))
    ]
    model = reader.model
    run = reader.read(pairs, options, progress, Asking(all_layers=model.has_trained_predictors))
    found: dict[str, Spans] = {}
    for pair in pairs:
        if pair.context not in found:
            found[pair.context] = checked_spans(splitter, pair.context)
    sentences = [found[pair.context] for pair in pairs]
    return EvidenceReading(model, run, pairs, sentences, options.max_answer_len, trace)


def evidence_by_question(
    reader: TextReader, queries: Sequence[Query], reading: EvidenceReading, seconds: float | None = None
) -> list[QuestionEvidence]:
    """What was found, when all windows were taken.

    Args:
        reader: what texts were read with.
        queries: what ``start_evidence`` was given.
        reading: what it gave.
        seconds: that reading took; those that went by since the texts came when None.
    """
    layers, scorer = reader.model.num_layers, evidence_model(reader.model.skim_config)
    found, traces = iter(reading.evidence()), iter(reading.traces(seconds))
    results = []
    for query in queries:
        every = [next(found) if text.strip() else _nothing(text) for text in query.documents.values()]
        own = list(islice(traces, len(query.readable())))
        read = with_blank_documents(query.question, query.documents, own, layers) if reading.traced else ()
        texts, answers = [each.text for each in every], [each.answers for each in every]
        results.append(QuestionEvidence(query.question, tuple(query.documents), texts, answers, scorer, read))
    return results


def find_evidence(
    reader: TextReader,
    queries: Sequence[Query],
    options: AnswerOptions,
    splitter: Splitter = split_sentences,
    progress: WindowCount | None = None,
    trace: bool = True,
) -> list[QuestionEvidence]:
    """Score every sentence of the documents of every query, in one run.

    What a document's sentences get does not depend on the other documents or questions.

    Args:
        reader: what texts are read with.
        queries: as ``start_evidence`` takes them.
        options: how to read.
        splitter: finds the sentences of a text.
        progress: called after each batch.
        trace: whether to keep what was read of each document.

    Raises:
        ConfigError: an option is impossible for the model, or the splitter gives no spans.
        DataError: a question is blank, or a question or document holds no valid text.
    """
    reading = start_evidence(reader, queries, options, splitter, progress, trace)
    reading.read()
    return evidence_by_question(reader, queries, reading)


def _nothing(text: str) -> TextEvidence:
    """What a blank text holds."""
    return TextEvidence(ScoredText(text, [], np.zeros(0)), [])
