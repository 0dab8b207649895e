"""What a request asks for and what answers it, as plain JSON: pairs to answer, documents to search.

The forms of the routes are elsewhere; here is what they come down to, and what crosses from one process to another.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from blockskim.answering.explain_page import runs_of_blocks
from blockskim.answering.pair_reading import PairReading
from blockskim.answering.ranking import answers_over_documents
from blockskim.answering.request import AnswerOptions, TextPair, check_questions, pair_with_each
from blockskim.answering.text_reading import TextReading
from blockskim.answering.trace import AnswerTrace, skim_summary, with_blank_documents
from blockskim.errors import ConfigError, DataError
from blockskim.evidence.question_answerer import QuestionAnswerer

MOST_CHARACTERS = 5_000_000
"""Of an answer: a long answer may stand in it many times, and a name with each sentence of its document."""

Json = dict[str, Any]
Reading = TypeVar("Reading", bound=TextReading)


@dataclass(frozen=True, slots=True)
class Task(Generic[Reading]):
    """What a request comes down to.

    Attributes:
        start: tokenises its texts and plans what of them is run.
        finish: makes the result of what was read, given the seconds that this took.
        characters: of its texts.
    """

    start: Callable[[], Reading]
    finish: Callable[[Reading, float], Json]
    characters: int


def answer_task(answerer: QuestionAnswerer, pairs: Sequence[Sequence[str]], options: Json) -> Task[PairReading]:
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
    size = characters_of(texts)

    def start() -> PairReading:
        return answerer.start(texts, chosen)

    def finish(reading: PairReading, seconds: float) -> Json:
        answers = reading.results()
        check_size([each["answer"] for own in answers for each in (own if isinstance(own, list) else [own])], size)
        return {"answers": answers}

    return Task(start, finish, size)


def search_task(
    answerer: QuestionAnswerer, question: str, documents: Sequence[tuple[str, str]], options: Json, explain: bool
) -> Task[PairReading]:
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
    check_documents(documents)
    readable = {name: text for name, text in texts.items() if text.strip()}
    pairs = pair_with_each(question, readable)
    asked = len(question) + sum(map(len, texts.values()))

    def start() -> PairReading:
        return answerer.start(pairs, chosen, trace=True)

    def finish(reading: PairReading, seconds: float) -> Json:
        answers = reading.answers()
        found = answers_over_documents(answers, readable, chosen, answerer.model.confidence)
        check_size([text for each in found for text in (each["answer"], each.get("document", ""))], asked)
        every = with_blank_documents(question, texts, reading.traces(seconds), answerer.model.num_layers)
        result = {"question": question, "answers": found, "skim": skim_summary(every)}
        return result | ({"documents": [_explained(trace) for trace in every]} if explain else {})

    return Task(start, finish, characters_of(pairs))


def characters_of(pairs: Sequence[TextPair]) -> int:
    """Characters of questions and texts, which are read once for each pair."""
    return sum(len(pair.context) + len(pair.question) for pair in pairs)


def characters_asked(asked: Mapping[str, Any]) -> int:
    """Characters of the texts of a task as it goes to a worker, whatever its kind."""
    if "pairs" in asked:
        return sum(len(context) for _, context in asked["pairs"])
    # Texts alone, or behind their names.
    return sum(len(text if isinstance(text, str) else text[1]) for text in asked["documents"])


def check_documents(documents: Collection[object]) -> None:
    """Refuse to search nothing.

    Raises:
        DataError: there is no document.
    """
    if not documents:
        raise DataError("there is no document to search")


def check_size(texts: Iterable[str], asked: int, fewer: str = "top_k") -> None:
    """Refuse an answer that is far larger than its request, before it is sent anywhere.

    Args:
        texts: of the answer, names of documents included.
        asked: characters of the texts of the request; as many are always allowed.
        fewer: parameters by which less can be asked for.

    Raises:
        ConfigError: it is too large.
    """
    size, most = sum(map(len, texts)), max(MOST_CHARACTERS, asked)
    if size > most:
        raise ConfigError(
            f"{size:,} characters of texts and names are more than the {most:,} that an answer may have; ask for "
            f"less with {fewer}"
        )


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
