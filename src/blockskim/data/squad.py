"""Reader for SQuAD 1.1 and 2.0 JSON files.

Format: Rajpurkar et al., "SQuAD: 100,000+ Questions for Machine Comprehension of Text", EMNLP 2016; "Know What
You Don't Know: Unanswerable Questions for SQuAD", ACL 2018. Many other data sets are published in it.
"""

from collections.abc import Iterator
from pathlib import Path

from blockskim.data.examples import Answer, Example
from blockskim.data.files import check_file
from blockskim.data.json_stream import stream
from blockskim.data.records import (
    ReadReport,
    checked,
    context_text,
    new_id,
    note_example,
    place_answer,
    report,
    required,
)
from blockskim.errors import DataError


def read_squad(path: Path | str, skip_bad: bool = False) -> Iterator[Example]:
    """Reads a SQuAD file, plain or gzip, an article at a time: memory holds one article and the ids so far.

    A question without answers is unanswerable, as the official 2.0 score sees it. ``plausible_answers`` are wrong
    answers and not read; unknown keys are ignored. An answer whose offset does not match is moved if its text occurs
    exactly once in the context and is no span otherwise; its text stays a reference. One warning a file counts these.

    Metadata: ``format`` is "squad"; ``version`` is "2.0" if the file says so before its articles or the article has
    questions that may be unanswerable, else "1.1": it tells which official score applies.

    Args:
        path: the file to read.
        skip_bad: leave out what is wrong and count it, instead of stopping there.

    Yields:
        The questions in the file's order.

    Raises:
        DataError: the file is not SQuAD JSON; the message names the file, the record and what would be right.
    """
    path = check_file(path)
    read = ReadReport(skip_bad)
    version, number, found = "1.1", 0, False
    with read.forgiving():
        for part in stream(path, "data"):
            if part.key == "version" and str(part.value).lower().removeprefix("v").startswith("2"):
                version = "2.0"
            if part.key != "data":
                continue
            found = part.is_item or part.value == []
            if part.is_item:
                number += 1
                here = f"{path}: line {part.line}, article {number}"
                with read.forgiving():
                    yield from _article_examples(part.value, here, version, read)
        if not found:
            raise DataError(f"{path}: is not a SQuAD file: an object with a list 'data' of articles is needed")
    report(path, read)


def _article_examples(value: object, here: str, version: str, read: ReadReport) -> Iterator[Example]:
    article = checked(value, dict, here)
    title = required(article, "title", str, here) if "title" in article else ""
    here = f"{here} ({title!r})" if title else here
    metadata = (("format", "squad"), ("version", "2.0" if _has_unanswerable(article) else version))
    for index, entry in enumerate(required(article, "paragraphs", list, here), 1):
        with read.forgiving():
            paragraph = checked(entry, dict, f"{here}, paragraph {index}")
            yield from _paragraph_examples(paragraph, title, f"{here}, paragraph {index}", metadata, read)


def _paragraph_examples(
    paragraph: dict[str, object],
    title: str,
    here: str,
    metadata: tuple[tuple[str, object], ...],
    read: ReadReport,
) -> Iterator[Example]:
    context = context_text(required(paragraph, "context", str, here), here)
    for item in required(paragraph, "qas", list, here):
        with read.forgiving():
            question = checked(item, dict, f"{here}: each of 'qas'")
            name = new_id(required(question, "id", str, here), read, here)
            where = f"{here}, question {name!r}"
            references, answers = _answers(question, context, where, read)
            example = Example(
                id=name,
                question=required(question, "question", str, where),
                context=context,
                answers=answers,
                references=references,
                title=title,
                metadata=metadata,
            )
            note_example(example, read)
            yield example


def _answers(
    question: dict[str, object], context: str, where: str, read: ReadReport
) -> tuple[tuple[str, ...], tuple[Answer, ...]]:
    references: list[str] = []
    answers: list[Answer] = []
    for item in required(question, "answers", list, where):
        answer = checked(item, dict, f"{where}: each of 'answers'")
        text = required(answer, "text", str, f"{where}: an answer")
        start = required(answer, "answer_start", int, f"{where}: answer {text!r}")
        references.append(text)
        placed = place_answer(context, text, start, read)
        if placed is not None:
            answers.append(placed)
    impossible = "is_impossible" in question and required(question, "is_impossible", bool, where)
    if impossible and references:
        raise DataError(f"{where}: 'is_impossible' is true, but there are answers; either must go")
    return tuple(references), tuple(answers)


def _has_unanswerable(article: dict[str, object]) -> bool:
    # The version string alone is no proof: sets in SQuAD's format number themselves ("1.0" of SQuADShifts). What
    # counts is whether a question may lack answers. Damaged records don't matter here: reading them reports them.
    return any(
        "is_impossible" in question or question.get("answers") == []
        for paragraph in _dicts(article, "paragraphs")
        for question in _dicts(paragraph, "qas")
    )


def _dicts(record: dict[str, object], key: str) -> list[dict[str, object]]:
    items = record.get(key)
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []
