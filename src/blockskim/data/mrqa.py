"""Reader for the JSON lines of the MRQA 2019 shared task.

Format: Fisch et al., "MRQA 2019 Shared Task: Evaluating Generalization in Reading Comprehension", MRQA 2019. The
first line may be a header; every other line is a context with its questions.
"""

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
    is_missing,
    optional_text,
    question_text,
    required,
    required_id,
    whole_number,
)
from blockskim.errors import DataError

_ID_KEYS = ("qid", "id")

_Object: TypeAlias = dict[str, object]


def read_mrqa(path: Path | str, skip_bad: bool = False, with_answers: bool = True) -> Iterator[Example]:
    """Reads an MRQA file, plain or gzip, a record at a time: memory holds one context and the ids so far.

    A record is a header, a context with its questions (``qas``) or, as the ``datasets`` library writes it, one question
    with its ``context``. Records are one per line, or lie in a list.

    Every span of every detected answer becomes an answer; MRQA counts the last character of a span in, an
    :class:`~blockskim.data.examples.Answer` does not. References are the ``answers``, which the official score
    compares with. A question with neither is not annotated; it may not stand in a file with others that are. The title
    is the context's ``id`` (most files leave it empty).

    Metadata: ``format`` is "mrqa"; ``dataset`` is what the header names, "" without.

    Args:
        path: the file to read.
        skip_bad: leave out what is wrong and count it, instead of stopping there.
        with_answers: whether to read answers; without, no question is annotated, and nothing is wrong with any answer.

    Returns:
        An iterator over the questions in the file's order.

    Raises:
        DataError: the file is not MRQA JSON; the message names the file, the line and what would be right.
    """
    dataset = ""

    def make(record: Record, read: ReadReport) -> Iterator[Example]:
        nonlocal dataset
        is_header = "header" in record.value and "context" not in record.value
        for about in (record.about, record.value if is_header else {}):
            if "header" in about:
                dataset = str(required(about, "header", dict, record.where).get("dataset", ""))
        if not is_header:
            yield from _record_examples(record, dataset, read)

    return read_file(path, make, skip_bad, with_answers)


def _record_examples(record: Record, dataset: str, read: ReadReport) -> Iterator[Example]:
    value, here = record.value, record.where
    context = context_text(required(value, "context", str, here), here)
    metadata = (("format", "mrqa"), ("dataset", dataset or str(value.get("subset") or "")))
    if "question" in value and "qas" not in value:
        title = optional_text(value, "title", here)
        yield _question_example(value, context, title, here, metadata, read)
        return
    title = str(value["id"]) if type(value.get("id")) in (str, int) else ""
    for item in required(value, "qas", list, here):
        with read.forgiving():
            question = checked(item, dict, f"{here}: each of 'qas'")
            yield _question_example(question, context, title, here, metadata, read)


def _question_example(
    question: _Object, context: str, title: str, here: str, metadata: tuple[tuple[str, object], ...], read: ReadReport
) -> Example:
    name = read.new_id(required_id(question, _ID_KEYS, here), here)
    read.where = f"{here}, question {brief(name)}"
    references: tuple[str, ...] = ()
    answers: tuple[Answer, ...] = ()
    if read.with_answers:
        references, answers = _answers(question, context, read.where, read)
    return Example(
        id=name,
        question=question_text(question, read.where),
        context=context,
        answers=answers,
        references=references,
        title=title,
        metadata=metadata,
        annotated=bool(references),
    )


def _answers(
    question: _Object, context: str, where: str, read: ReadReport
) -> tuple[tuple[str, ...], tuple[Answer, ...]]:
    """The texts of the answers and where they stand; both are empty where the file tells none."""
    if is_missing(question, "answers"):
        check_no_other_answers(question, "answers", where, known=("detected_answers",))
        texts = []
    else:
        texts = required(question, "answers", list, where)
    references = tuple(checked(text, str, f"{where}: each of 'answers'") for text in texts)
    detected = list(_detected(question, where))
    answers = tuple(answer for text, spans in detected for answer in _placed(text, spans, context, where, read))
    if not references:
        # MRQA knows no unanswerable questions. The context's own spelling stands in for the answer's.
        references = tuple(dict.fromkeys([answer.text for answer in answers] or [text for text, _ in detected]))
    return references, answers


def _detected(question: _Object, where: str) -> Iterator[tuple[str, list[object]]]:
    """Text and spans of each detected answer."""
    if is_missing(question, "detected_answers"):
        return
    value = question["detected_answers"]
    if isinstance(value, dict):
        here = f"{where}: 'detected_answers'"
        texts, spans = required(value, "text", list, here), required(value, "char_spans", list, here)
        check_parallel({"text": texts, "char_spans": spans}, here)
        items: list[object] = [{"text": text, "char_spans": span} for text, span in zip(texts, spans, strict=True)]
    else:
        items = checked(value, list, f"{where}: 'detected_answers'")
    for item in items:
        detected = checked(item, dict, f"{where}: each of 'detected_answers'")
        text = required(detected, "text", str, f"{where}: a detected answer")
        here = f"{where}: answer {brief(text)}"
        spans_of_text = detected.get("char_spans")
        if isinstance(spans_of_text, dict):
            starts, ends = required(spans_of_text, "start", list, here), required(spans_of_text, "end", list, here)
            check_parallel({"start": starts, "end": ends}, f"{here}: 'char_spans'")
            yield text, [[start, end] for start, end in zip(starts, ends, strict=True)]
        else:
            yield text, required(detected, "char_spans", list, here)


def _placed(text: str, spans: list[object], context: str, where: str, read: ReadReport) -> Iterator[Answer]:
    for span in spans:
        start, end = _span(span, f"{where}: answer {brief(text)}")
        found = context[start:end] if 0 <= start < end <= len(context) else ""
        # The span says the end, so it can be trusted where only case or spacing differ from the text.
        if not context.startswith(text, max(0, start)) and found.casefold().split() == text.casefold().split() != []:
            yield Answer(found, start)
            continue
        placed = place_answer(context, text, start, read)
        if placed is not None:
            yield placed


def _span(span: object, where: str) -> tuple[int, int]:
    if isinstance(span, dict) and span.keys() >= {"start", "end"}:
        span = [span["start"], span["end"]]
    whole = (int, float)
    if not isinstance(span, list) or len(span) != 2 or not all(type(offset) in whole for offset in span):
        raise DataError(f"{where}: each of 'char_spans' must be [first, last character], is {brief(span)}")
    first, last = (whole_number(offset, f"{where}: each of 'char_spans'") for offset in span)
    return first, last + 1
