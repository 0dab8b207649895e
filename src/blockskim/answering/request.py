"""What a caller asks for: pairs of a question and a text, how to answer them, and the checks of both."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from blockskim.answering.texts import as_texts, is_one_text
from blockskim.checks import check_count, check_flag
from blockskim.data.windows import STAND_IN, WindowSet
from blockskim.errors import ConfigError, DataError
from blockskim.inference.first_stage import check_max_cost
from blockskim.inference.operating_point import ThresholdsGiven
from blockskim.method.confidence import check_no_answer_threshold

logger = logging.getLogger(__name__)

DEFAULT_LENGTH = 384


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerOptions:
    """How to answer; checked when it is made, as far as that can be done without a model.

    Attributes:
        top_k: how many answers to give.
        doc_stride: tokens by which the windows of a long text overlap (at most half of what fits in one).
        max_answer_len: most tokens in an answer.
        max_seq_len: tokens in a window, question included.
        max_question_len: tokens of a question that are read.
        handle_impossible_answer: whether "no answer", the empty string, may be among the answers.
        no_answer_threshold: the confidence of "no answer" above which it comes first; None for the model's own.
        align_to_words: whether answers are extended to whole words.
        batch_size: windows that run together; None for the answerer's.
        threshold: keep probability under which a block is dropped, one for all layers or one per layer that has a
            predictor.
        dense: read everything, as a model without Block-Skim does.
        point: operating point of the model, by its name. ``threshold``, ``dense`` and ``point`` exclude each other;
            with none of them the answerer's own choice holds.
        max_cost: bound of the FLOPs for reading a text, as a share of the dense model's; None for no bound. The
            question and one block are read whatever they cost.

    Raises:
        ConfigError: a number is impossible, or a switch is neither true nor false.
    """

    top_k: int = 1
    doc_stride: int = 128
    max_answer_len: int = 15
    max_seq_len: int = DEFAULT_LENGTH
    max_question_len: int = 64
    handle_impossible_answer: bool = False
    no_answer_threshold: float | None = None
    align_to_words: bool = True
    batch_size: int | None = None
    threshold: ThresholdsGiven = None
    dense: bool = False
    point: str | None = None
    max_cost: float | None = None

    def __post_init__(self) -> None:
        """Refuse what is impossible for any model, and bring numbers and switches to Python's own."""
        for name in ("top_k", "max_answer_len", "max_seq_len", "max_question_len"):
            self._put(name, check_count(name, getattr(self, name)))
        self._put("doc_stride", check_count("doc_stride", self.doc_stride, least=0))
        if self.batch_size is not None:
            self._put("batch_size", check_count("batch_size", self.batch_size))
        if self.max_cost is not None:
            self._put("max_cost", check_max_cost(self.max_cost))
        if self.no_answer_threshold is not None:
            self._put("no_answer_threshold", check_no_answer_threshold(self.no_answer_threshold))
            if not self.handle_impossible_answer:
                raise ConfigError("no_answer_threshold is for handle_impossible_answer=True, which may give no answer")
        for name in ("handle_impossible_answer", "align_to_words", "dense"):
            self._put(name, check_flag(name, getattr(self, name)))

    def _put(self, name: str, value: object) -> None:
        """Set a value while the options are made, after which they are frozen."""
        object.__setattr__(self, name, value)


@dataclass(frozen=True, slots=True)
class TextPair:
    """A question and the text to answer it from.

    Attributes:
        question: the question.
        context: the text.
        document: the text's name; "" for none.
        question_name: what messages call the question.
        context_name: what messages call the text.
    """

    question: str
    context: str
    document: str = ""
    question_name: str = "the question"
    context_name: str = "the context"


@dataclass(frozen=True, slots=True)
class Unread:
    """What of some pairs is not read.

    Attributes:
        texts: numbers of the pairs of whose text the tokenizer leaves nothing.
        questions: numbers of the pairs whose question is not read to its end.
        question_length: tokens of a question that are read.
        empty_questions: numbers of the pairs of whose question the tokenizer leaves nothing.
    """

    texts: Sequence[int]
    questions: Sequence[int]
    question_length: int
    empty_questions: Sequence[int]


TellUnread: TypeAlias = Callable[[Unread, Sequence[TextPair]], None]
"""Told of what is not read of some pairs."""


def pair_up(question: object, context: object) -> list[TextPair]:
    """Questions and contexts side by side; one string beside a list goes with each of its items.

    Raises:
        ConfigError: something is neither a string nor a list of strings, or the lists differ in length.
    """
    one_question, one_context = is_one_text(question), is_one_text(context)
    questions, contexts = as_texts("question", question), as_texts("context", context)
    if one_question and one_context:
        return [TextPair(questions[0], contexts[0])]
    if one_question:
        questions = questions * len(contexts)
    elif one_context:
        contexts = contexts * len(questions)
    if len(questions) != len(contexts):
        raise ConfigError(f"{len(questions)} questions can't pair up with {len(contexts)} contexts")
    return [
        TextPair(asked, text, "", f"question {number}", f"context {number}")
        for number, (asked, text) in enumerate(zip(questions, contexts, strict=True), start=1)
    ]


def pair_with_all(questions: Sequence[str], documents: Mapping[Any, str]) -> list[TextPair]:
    """Every question with every document, the documents of a question side by side."""
    return [
        pair
        for number, question in enumerate(questions, start=1)
        for pair in pair_with_each(question, documents, question_name(number, len(questions)))
    ]


def pair_with_each(question: str, documents: Mapping[Any, str], name: str = "the question") -> list[TextPair]:
    """A question with each of some documents.

    Args:
        question: the question.
        documents: texts by name.
        name: what messages call the question.
    """
    return [TextPair(question, text, str(key), name, _document_name(key)) for key, text in documents.items()]


def question_name(number: int, count: int) -> str:
    """What messages call a question of several; numbers count from 1."""
    return "the question" if count == 1 else f"question {number}"


def check_questions(questions: Sequence[str]) -> None:
    """Refuse questions that are no text.

    Raises:
        DataError: a question is blank or holds half of a surrogate pair.
    """
    for number, question in enumerate(questions, start=1):
        check_text(question, question_name(number, len(questions)))


def check_texts(pairs: Sequence[TextPair]) -> None:
    """Refuse what is no text.

    Raises:
        DataError: a question or text is blank or holds half of a surrogate pair.
    """
    for pair in pairs:
        check_text(pair.question, pair.question_name)
        check_text(pair.context, pair.context_name)


def warn_of_blank(documents: Mapping[Any, str]) -> None:
    """Warn of documents that hold nothing but white space."""
    for name, text in documents.items():
        if not text.strip():
            logger.warning("%s is empty, so there is no answer in it", _document_name(name))


def find_unread(windows: WindowSet) -> Unread:
    """What is not read of the pairs that windows are of."""
    sizes = np.diff(windows.contexts.bounds)[windows.context_of]
    limit = windows.settings.max_question_length
    return Unread(np.flatnonzero(sizes == 0).tolist(), windows.cut_questions.tolist(), limit, windows.stand_ins)


def warn_of_unread(unread: Unread, pairs: Sequence[TextPair]) -> None:
    """Warn of texts and questions that the tokenizer leaves nothing of, and of questions not read to their end."""
    for index in unread.texts:
        name = pairs[index].context_name
        logger.warning("%s has no character that the model can read, so there is no answer in it", name)
    for name in dict.fromkeys(pairs[index].question_name for index in unread.empty_questions):
        logger.warning("%s has no character that the model can read; it is read as %r", name, STAND_IN)
    for name in dict.fromkeys(pairs[index].question_name for index in unread.questions):
        logger.warning("%s is longer than %d tokens; the rest of it is not read", name, unread.question_length)


def _document_name(name: object) -> str:
    """What messages call a document; "" is the name of one that has none."""
    return "the context" if name == "" else f"the document {name!r}"


def check_text(text: str, name: str) -> str:
    """Return a text, or raise DataError, under its name, when it is blank or holds half of a surrogate pair."""
    if not text.strip():
        raise DataError(f"{name} is empty")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataError(
            f"{name} holds half of a surrogate pair at character {error.start}, which is no valid text"
        ) from error
    return text
