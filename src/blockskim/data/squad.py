"""Reader for SQuAD 1.1 and 2.0 JSON files.

Format: Rajpurkar et al., "SQuAD: 100,000+ Questions for Machine Comprehension of Text", EMNLP 2016; "Know What
You Don't Know: Unanswerable Questions for SQuAD", ACL 2018. Many other data sets are published in it.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

from blockskim.data.answer_places import place_answer
from blockskim.data.examples import Answer, Example
from blockskim.data.read_report import ReadReport
from blockskim.data.record_source import Record, read_file
from blockskim.data.records import (
    brief,
    check_no_other_answers,
    check_parallel,
    checked,
    context_text,
    flag,
    is_missing,
    names_of,
    optional_text,
    question_text,
    required,
    required_id,
    required_number,
)
from blockskim.errors import DataError

# Tools for annotating write the question's id under these names, too.
_ID_KEYS = ("id", "qid", "question_id", "_id")

# "2.0" and "v2.0", and no year: files are dated, too.
_VERSION_2 = re.compile(r"v?2(\.\d+)?", re.IGNORECASE)

_Metadata: TypeAlias = tuple[tuple[str, object], ...]
_Object: TypeAlias = dict[str, object]

# Whether the file tells the answers to a question, their texts, and where they stand.
_Found: TypeAlias = tuple[bool, tuple[str, ...], tuple[Answer, ...]]


def read_squad(path: Path | str, skip_bad: bool = False, with_answers: bool = True) -> Iterator[Example]:
    """Reads a SQuAD file, plain or gzip, a record at a time: memory holds one record and the ids so far.

    A record is an article (``title``, ``paragraphs``), a paragraph (``context``, ``qas``) or, as the ``datasets``
    library writes it, one question with its ``context``. Records lie in a list, in a list "data", or one per line.
    ``answers`` is a list of objects, one of them, or an object of two lists ``text`` and ``answer_start``.

    A question with an empty list of answers is unanswerable, as the official 2.0 score sees it, and so is one without
    any whose ``is_impossible`` is true. A question that says nothing of answers is not annotated; it may not stand in
    a file with others that are. ``plausible_answers`` are wrong answers and not read; unknown keys are ignored. An
    answer whose offset does not match is moved to the only place of its text in the context, or to the nearest, and is
    no span if there is no such place; its text stays a reference. One warning per file counts these.

    Metadata: ``format`` is "squad"; ``version`` is "2.0" if the file says so ("2.0", "v2.0", "2") before its articles
    or, where answers are read, the record has questions that may be unanswerable, else "1.1": it tells which official
    score applies.

    Args:
        path: the file to read.
        skip_bad: leave out what is wrong and count it, instead of stopping there.
        with_answers: whether to read answers; without, no question is annotated, and nothing is wrong with any answer.

    Returns:
        An iterator over the questions in the file's order.

    Raises:
        DataError: the file is not SQuAD JSON; the message names the file, the record and what would be right.
    """
    return read_file(path, _record_examples, skip_bad, with_answers, "article")


def _record_examples(record: Record, read: ReadReport) -> Iterator[Example]:
    value = record.value
    flat = "context" in value or "question" in value
    if "paragraphs" in value or ("title" in value and "qas" not in value and not flat):
        yield from _article_examples(value, record, read)
    elif "qas" in value:
        here = record.named("paragraph")
        title = optional_text(value, "title", here)
        yield from _paragraph_examples(value, title, here, _metadata(_dicts(value, "qas"), record, read), read)
    elif flat:
        here = record.named("record")
        context = context_text(required(value, "context", str, here), here)
        title = optional_text(value, "title", here)
        yield _question_example(value, context, title, here, _metadata([value], record, read), read)
    else:
        raise DataError(
            f"{record.where}: this is not a SQuAD file: an object with a list 'data' of articles is needed, or a list "
            f"of articles or of questions with their 'context'; it has {names_of(value)}"
        )


def _article_examples(article: _Object, record: Record, read: ReadReport) -> Iterator[Example]:
    here = record.named("article")
    title = optional_text(article, "title", here)
    here = f"{here} ({brief(title)})" if title else here
    questions = [question for paragraph in _dicts(article, "paragraphs") for question in _dicts(paragraph, "qas")]
    metadata = _metadata(questions, record, read)
    for index, entry in enumerate(required(article, "paragraphs", list, here), 1):
        with read.forgiving():
            paragraph = checked(entry, dict, f"{here}, paragraph {index}")
            yield from _paragraph_examples(paragraph, title, f"{here}, paragraph {index}", metadata, read)


def _paragraph_examples(
    paragraph: _Object, title: str, here: str, metadata: _Metadata, read: ReadReport
) -> Iterator[Example]:
    context = context_text(required(paragraph, "context", str, here), here)
    for item in required(paragraph, "qas", list, here):
        with read.forgiving():
            question = checked(item, dict, f"{here}: each of 'qas'")
            yield _question_example(question, context, title, here, metadata, read)


def _question_example(
    question: _Object, context: str, title: str, here: str, metadata: _Metadata, read: ReadReport
) -> Example:
    name = read.new_id(required_id(question, _ID_KEYS, here), here)
    read.where = f"{here}, question {brief(name)}"
    nothing: _Found = (False, (), ())
    annotated, references, answers = _answers(question, context, read.where, read) if read.with_answers else nothing
    return Example(
        id=name,
        question=question_text(question, read.where),
        context=context,
        answers=answers,
        references=references,
        title=title,
        metadata=metadata,
        annotated=annotated,
    )


def _answers(question: _Object, context: str, where: str, read: ReadReport) -> _Found:
    impossible = flag(question, "is_impossible", where)
    if is_missing(question, "answers"):
        check_no_other_answers(question, "answers", where)
        read.impossible += impossible is True
        return impossible is True, (), ()
    references: list[str] = []
    answers: list[Answer] = []
    for answer in _answer_objects(question["answers"], where):
        text = required(answer, "text", str, f"{where}: an answer")
        start = required_number(answer, "answer_start", f"{where}: answer {brief(text)}")
        references.append(text)
        placed = place_answer(context, text, start, read)
        if placed is not None:
            answers.append(placed)
    if impossible and references:
        raise DataError(f"{where}: 'is_impossible' is true, but there are answers; either must go")
    read.impossible += impossible is True
    read.unmarked += impossible is False and not references
    return True, tuple(references), tuple(answers)


def _answer_objects(value: object, where: str) -> list[_Object]:
    """The answers of a question as objects, however the file lays them out."""
    if not isinstance(value, dict):
        answers = checked(value, list, f"{where}: 'answers'")
        return [checked(answer, dict, f"{where}: each of 'answers'") for answer in answers]
    if not isinstance(value.get("text"), list) and not isinstance(value.get("answer_start"), list):
        return [value]
    here = f"{where}: 'answers'"
    texts, starts = required(value, "text", list, here), required(value, "answer_start", list, here)
    check_parallel({"text": texts, "answer_start": starts}, here)
    return [{"text": text, "answer_start": start} for text, start in zip(texts, starts, strict=True)]


def _metadata(questions: list[_Object], record: Record, read: ReadReport) -> _Metadata:
    # The version string alone is no proof: sets in SQuAD's format number themselves ("1.0" of SQuADShifts). What
    # counts is whether a question may lack answers. Damaged records don't matter here: reading them reports them.
    is_version_2 = _VERSION_2.fullmatch(str(record.about.get("version", "")).strip()) is not None
    # Predictions must not depend on what a file says of answers, so there the version has to do.
    if read.with_answers:
        is_version_2 = is_version_2 or any(map(_may_lack_answers, questions))
    return (("format", "squad"), ("version", "2.0" if is_version_2 else "1.1"))


def _may_lack_answers(question: _Object) -> bool:
    answers = question.get("answers")
    none = answers == [] or (isinstance(answers, dict) and answers.get("text") == [])
    return none or not is_missing(question, "is_impossible")


def _dicts(record: _Object, key: str) -> list[_Object]:
    items = record.get(key)
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []
