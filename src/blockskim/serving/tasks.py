"""What a request asks for and what answers it, as plain JSON: pairs to answer, documents to search or to rank.

The forms of the routes are elsewhere; here is what they come down to, and what crosses from one process to another.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from blockskim.answering.explain_page import runs_of_blocks
from blockskim.answering.ranking import answers_in_text, answers_over_documents
from blockskim.answering.request import AnswerOptions, TextPair, check_questions, pair_with_all
from blockskim.answering.trace import AnswerTrace, skim_summary, with_blank_documents
from blockskim.errors import DataError
from blockskim.evidence.question_answerer import QuestionAnswerer
from blockskim.inference.answers import ExampleAnswers
from blockskim.inference.no_answer import NoAnswerRule
from blockskim.method.confidence import ConfidenceModel

Json = dict[str, Any]
Finish = Callable[[Sequence[ExampleAnswers], Sequence[AnswerTrace]], Json]


@dataclass(frozen=True, slots=True)
class Task:
    """What a request comes down to.

    Attributes:
        pairs: to read; none where all texts are blank.
        options: how to answer.
        trace: whether what was read is needed.
        finish: makes the result of the answers and traces of the pairs.
    """

    pairs: Sequence[TextPair]
    options: AnswerOptions
    trace: bool
    finish: Finish

    @property
    def characters(self) -> int:
        """Characters of its texts."""
        return sum(len(pair.context) + len(pair.question) for pair in self.pairs)


def make_task(answerer: QuestionAnswerer, asked: Mapping[str, Any]) -> Task:
    """What a request comes down to.

    Args:
        answerer: whose model is to answer.
        asked: ``kind`` is "answer", "search" or "rerank"; the rest is what ``answer_task``, ``search_task`` and
            ``rerank_task`` take.

    Raises:
        ConfigError: an option is impossible.
        DataError: a question is empty, or there is no document.
    """
    given = dict(asked)
    kinds: dict[str, Callable[..., Task]] = {"answer": answer_task, "search": search_task, "rerank": rerank_task}
    return kinds[given.pop("kind")](answerer, **given)


def answer_task(answerer: QuestionAnswerer, pairs: Sequence[Sequence[str]], options: Json) -> Task:
    """Answer each question from its own context.

    Args:
        answerer: whose model is to answer.
        pairs: questions with their contexts.
        options: of ``AnswerOptions``.
    """
    chosen = AnswerOptions(**options)
    several = len(pairs) > 1
    texts = [
        TextPair(
            question,
            context,
            "",
            f"question {number}" if several else "the question",
            f"context {number}" if several else "the context",
        )
        for number, (question, context) in enumerate(pairs, start=1)
    ]

    def finish(answers: Sequence[ExampleAnswers], traces: Sequence[AnswerTrace]) -> Json:
        confidence = answerer.model.confidence
        found = [
            answers_in_text(each, pair.context, chosen, confidence) for each, pair in zip(answers, texts, strict=True)
        ]
        return {"answers": [each[0] if chosen.top_k == 1 else each for each in found]}

    return Task(texts, chosen, False, finish)


def search_task(
    answerer: QuestionAnswerer, question: str, documents: Sequence[tuple[str, str]], options: Json, explain: bool
) -> Task:
    """Find the best answers over several documents.

    Args:
        answerer: whose model is to answer.
        question: the question.
        documents: names, each one's own, with texts.
        options: of ``AnswerOptions``.
        explain: whether to tell what was read of each document.
    """
    chosen, texts = AnswerOptions(**options), dict(documents)
    check_questions([question])
    _check_documents(documents)
    readable = {name: text for name, text in texts.items() if text.strip()}

    def finish(answers: Sequence[ExampleAnswers], traces: Sequence[AnswerTrace]) -> Json:
        found = answers_over_documents(answers, readable, chosen, answerer.model.confidence)
        every = with_blank_documents(question, texts, traces, answerer.model.num_layers)
        result = {"question": question, "answers": found, "skim": skim_summary(every)}
        return result | ({"documents": [_explained(trace) for trace in every]} if explain else {})

    return Task(pair_with_all([question], readable), chosen, True, finish)


def rerank_task(
    answerer: QuestionAnswerer, query: str, documents: Sequence[str], top_n: int | None, options: Json
) -> Task:
    """Rank documents by how likely they are to hold an answer; that of one does not depend on the others.

    Args:
        answerer: whose model is to judge.
        query: the question.
        documents: the texts.
        top_n: how many to give; all when None.
        options: of ``AnswerOptions``.
    """
    chosen = AnswerOptions(**options)
    check_questions([query])
    _check_documents(documents)
    readable = {str(number): text for number, text in enumerate(documents) if text.strip()}

    def finish(answers: Sequence[ExampleAnswers], traces: Sequence[AnswerTrace]) -> Json:
        scores = dict.fromkeys(range(len(documents)), 0.0)
        for name, each in zip(readable, answers, strict=True):
            scores[int(name)] = relevance(each, answerer.model.confidence)
        ranked = sorted(scores, key=lambda number: (-scores[number], number))[:top_n]
        return {"results": [{"index": number, "relevance_score": scores[number]} for number in ranked]}

    return Task(pair_with_all([query], readable), chosen, False, finish)


def relevance(answers: ExampleAnswers, confidence: ConfidenceModel | None = None) -> float:
    """The chance that a text holds an answer, from 0 to 1."""
    return 1.0 - NoAnswerRule(confidence).chance(answers)


def _check_documents(documents: Sequence[object]) -> None:
    """Refuse to search nothing.

    Raises:
        DataError: there is no document.
    """
    if not documents:
        raise DataError("there is no document to search")


def _explained(trace: AnswerTrace) -> Json:
    """What was read of a document: runs of characters, each with the layer that dropped it.

    0 stands for text that was not read at all, None for text that was read to the end. Text that belongs to no block is
    in no run.
    """
    return {
        "name": trace.document,
        "layers": trace.layers,
        "runs": [[start, end, block.dropped_in] for start, end, block in runs_of_blocks(trace.passage())],
    }
