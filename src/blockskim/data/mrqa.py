"""Reader for the JSON lines of the MRQA 2019 shared task.

Format: Fisch et al., "MRQA 2019 Shared Task: Evaluating Generalization in Reading Comprehension", MRQA 2019. The
first line may be a header; every other line is a context with its questions.
"""

from collections.abc import Iterator
from pathlib import Path

from blockskim.data.examples import Answer, Example
from blockskim.data.files import check_file, open_text, parse_json
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


def read_mrqa(path: Path | str, skip_bad: bool = False) -> Iterator[Example]:
    """Reads an MRQA file, plain or gzip, a line at a time: memory holds one context and the ids so far.

    Every span of every detected answer becomes an answer; MRQA counts the last character of a span in, an
    :class:`~blockskim.data.examples.Answer` does not. References are the ``answers``, which the official score
    compares with. The title is the context's ``id`` (most files leave it empty).

    Metadata: ``format`` is "mrqa"; ``dataset`` is what the header names, "" without.

    Args:
        path: the file to read.
        skip_bad: leave out what is wrong and count it, instead of stopping there.

    Yields:
        The questions in the file's order.

    Raises:
        DataError: the file is not MRQA JSON lines; the message names the file, the line and what would be right.
    """
    path = check_file(path)
    read = ReadReport(skip_bad)
    metadata: tuple[tuple[str, object], ...] = (("format", "mrqa"), ("dataset", ""))
    with read.forgiving(), open_text(path) as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            with read.forgiving():
                record = checked(parse_json(line.rstrip(), str(path), line=number), dict, f"{path}: line {number}")
                if number == 1 and "header" in record:
                    header = required(record, "header", dict, f"{path}: line 1")
                    metadata = (("format", "mrqa"), ("dataset", str(header.get("dataset", ""))))
                    continue
                yield from _line_examples(record, path, number, metadata, read)
    report(path, read)


def _line_examples(
    record: dict[str, object], path: Path, number: int, metadata: tuple[tuple[str, object], ...], read: ReadReport
) -> Iterator[Example]:
    here = f"{path}: line {number}"
    context = context_text(required(record, "context", str, here), here)
    name_of_context = record.get("id")
    title = name_of_context if isinstance(name_of_context, str) else ""
    for item in required(record, "qas", list, here):
        with read.forgiving():
            question = checked(item, dict, f"{here}: each of 'qas'")
            name = new_id(required(question, "qid", str, here), read, here)
            where = f"{here}, question {name!r}"
            texts = required(question, "answers", list, where)
            references = tuple(checked(text, str, f"{where}: each of 'answers'") for text in texts)
            answers = tuple(_spans(question, context, where, read))
            if answers and not references:
                # Without this the question would count as unanswerable, which MRQA doesn't know.
                references = tuple(dict.fromkeys(answer.text for answer in answers))
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


def _spans(question: dict[str, object], context: str, where: str, read: ReadReport) -> Iterator[Answer]:
    for item in required(question, "detected_answers", list, where):
        detected = checked(item, dict, f"{where}: each of 'detected_answers'")
        text = required(detected, "text", str, f"{where}: a detected answer")
        for span in required(detected, "char_spans", list, f"{where}: answer {text!r}"):
            start, end = _span(span, f"{where}: answer {text!r}")
            found = context[start:end] if 0 <= start < end <= len(context) else ""
            # The span says the end, so it can be trusted where only case or spacing differ from the text.
            if found != text and found.casefold().split() == text.casefold().split() != []:
                yield Answer(found, start)
                continue
            placed = place_answer(context, text, start, read)
            if placed is not None:
                yield placed


def _span(span: object, where: str) -> tuple[int, int]:
    if not isinstance(span, list) or len(span) != 2 or not all(type(offset) is int for offset in span):
        raise DataError(f"{where}: each of 'char_spans' must be [first, last character], is {span!r}")
    first, last = span
    return first, last + 1
