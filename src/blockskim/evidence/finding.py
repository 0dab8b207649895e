"""Reading documents for a question: every sentence with its score, and the answer that stands in it if there is one."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from blockskim.answering.reading import TextReader, TextRun, WindowCount
from blockskim.answering.request import AnswerOptions, check_questions, pair_with_all, warn_of_blank
from blockskim.answering.trace import (
    AnswerTrace,
    WindowTrace,
    add_windows,
    nothing_read,
    trace_answers,
    trace_unread,
)
from blockskim.answering.word_boundaries import align_to_words, trim_blanks
from blockskim.evidence.scoring import evidence_model, sentence_scores
from blockskim.evidence.selection import ScoredText
from blockskim.evidence.sentences import Splitter, checked_spans
from blockskim.evidence.signals import SentenceSignals, SignalCollector
from blockskim.inference.backend import Backend

LEAST_CONFIDENCE = 0.1
"""Of a span that is called an answer; in most sentences there is none."""


@dataclass(frozen=True, slots=True)
class SpanInSentence:
    """An answer that stands in a sentence.

    Attributes:
        start: its first character in the document.
        end: one past its last.
        confidence: the probability that it is right; of a model that was not calibrated for that, the share of the
            probability of all spans of its document.
    """

    start: int
    end: int
    confidence: float


@dataclass(frozen=True, slots=True)
class QuestionEvidence:
    """What documents hold for one question; sequences are in the order of the documents.

    Attributes:
        question: the question.
        names: of the documents.
        texts: their sentences, with scores.
        answers: the answer in each sentence, None where there is none.
        traces: what was read of each.
    """

    question: str
    names: Sequence[Any]
    texts: Sequence[ScoredText]
    answers: Sequence[Sequence[SpanInSentence | None]]
    traces: Sequence[AnswerTrace]

    def best_scores(self) -> list[float]:
        """The score of the best sentence of each document; 0 where there is none."""
        return [float(text.scores.max(initial=0.0)) for text in self.texts]


def find_evidence(
    reader: TextReader,
    questions: Sequence[str],
    documents: Mapping[Any, str],
    options: AnswerOptions,
    splitter: Splitter,
    progress: WindowCount | None = None,
) -> list[QuestionEvidence]:
    """Score every sentence of all documents for every question, in one run.

    What a document's sentences get does not depend on the other documents or questions.

    Args:
        reader: what texts are read with.
        questions: at least one.
        documents: texts by name; a blank one has no sentences, of which a warning tells.
        options: how to read.
        splitter: finds the sentences of a text.
        progress: called after each batch.

    Raises:
        ConfigError: an option is impossible for the model, or the splitter gives no spans.
        DataError: a question is blank, or a question or document holds no valid text.
    """
    check_questions(questions)
    warn_of_blank(documents)
    readable = {name: text for name, text in documents.items() if text.strip()}
    sentences = {name: checked_spans(splitter, text) for name, text in readable.items()}
    reader.check(options)
    started = time.perf_counter()
    pairs = pair_with_all(questions, readable)
    model = reader.model
    collector = SignalCollector(
        [sentences[name] for _ in questions for name in readable], model.skim_layers, options.max_answer_len
    )
    read: dict[int, tuple[WindowTrace, ...]] = {}
    if not pairs:
        return [_of_question(question, documents, {}, model.num_layers) for question in questions]
    run = reader.read(pairs, options, progress, score_all_layers=model.has_trained_predictors)
    for group, windows in run.groups(model):
        collector.add(group, windows)
        add_windows(read, group, windows)
    unread = trace_unread(run.reading, model.skim_config.block_size)
    scored = [_scored(run, number, signals, model) for number, signals in enumerate(collector.signals)]
    seconds = time.perf_counter() - started
    traces = trace_answers(pairs, read, [()] * len(pairs), model.num_layers, seconds, unread)
    found = []
    for number, question in enumerate(questions):
        part = range(number * len(readable), (number + 1) * len(readable))
        own = {name: (*scored[index], traces[index]) for name, index in zip(readable, part, strict=True)}
        found.append(_of_question(question, documents, own, model.num_layers))
    return found


def _of_question(
    question: str,
    documents: Mapping[Any, str],
    read: Mapping[Any, tuple[ScoredText, list[SpanInSentence | None], AnswerTrace]],
    layers: int,
) -> QuestionEvidence:
    """What was found for a question; of documents that were not read, nothing."""
    none = np.zeros(0)
    every = [
        read[name]
        if name in read
        else (
            ScoredText(text, [], none, none.astype(np.int64)),
            [],
            nothing_read(question, text, str(name), layers),
        )
        for name, text in documents.items()
    ]
    texts, answers, traces = zip(*every, strict=True)
    return QuestionEvidence(question, tuple(documents), texts, answers, traces)


def _scored(
    run: TextRun, number: int, signals: SentenceSignals, model: Backend
) -> tuple[ScoredText, list[SpanInSentence | None]]:
    """The sentences of one pair with their scores and answers."""
    windows = run.windows
    text = windows.examples[number].context
    starts = windows.contexts.offsets_of(int(windows.context_of[number]))[:, 0].astype(np.int64)
    spans = [(int(start), int(end)) for start, end in signals.spans]
    null, normalizer = float(signals.nulls.sum()), float(signals.log_normalizers.sum())
    answers = [
        _answer(text, span, float(score), tuple(answer), null, normalizer, model)
        for span, score, answer in zip(spans, signals.best, signals.answers.tolist(), strict=True)
    ]
    return ScoredText(text, spans, sentence_scores(signals, evidence_model(model.skim_config)), starts), answers


def _answer(
    text: str,
    sentence: tuple[int, int],
    score: float,
    span: tuple[int, int],
    null: float,
    normalizer: float,
    model: Backend,
) -> SpanInSentence | None:
    """The best answer inside of a sentence, in whole words, if it is likely enough.

    Args:
        text: the document.
        sentence: its first character and one past the last.
        score: of the best span inside of it; -inf where there is none.
        span: first character and one past the last of that.
        null: score of "no answer" in the document.
        normalizer: what makes scores of the document probabilities.
        model: whose scores they are.
    """
    if not np.isfinite(score):
        return None
    if model.confidence is not None:
        confidence = model.confidence.of_answer(score, null, normalizer)
    else:
        confidence = float(np.exp(min(0.0, score - normalizer)))
    if confidence < LEAST_CONFIDENCE:
        return None
    start, end = align_to_words(text, *trim_blanks(text, *span))
    start, end = max(start, sentence[0]), min(end, sentence[1])
    return SpanInSentence(start, end, confidence) if start < end else None
