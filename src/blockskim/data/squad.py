"""Reader for SQuAD 1.1 and 2.0 JSON files.

Format: Rajpurkar et al., "SQuAD: 100,000+ Questions for Machine Comprehension of Text", EMNLP 2016; "Know What
You Don't Know: Unanswerable Questions for SQuAD", ACL 2018. Many other data sets are published in it.
"""

from collections.abc import Iterator
from pathlib import Path

from blockskim.data.examples import Answer, Example
from blockskim.data.files import check_file, load_json
from blockskim.data.records import Tally, checked, context_text, new_id, note_spans, place_answer, report, required
from blockskim.errors import DataError


def read_squad(path: Path | str) -> Iterator[Example]:
    """Reads a SQuAD file, plain or gzip.

    A question without answers is unanswerable, as the official 2.0 score sees it. ``plausible_answers`` are wrong
    answers and not read; unknown keys are ignored. An answer whose offset does not match is moved if its text occurs
    exactly once in the context and is no span otherwise; its text stays a reference. One warning a file counts these.

    Metadata: ``format`` is "squad"; ``version`` is "2.0" if the file says so or has unanswerable questions, else "1.1":
    it tells which official score applies.

    Args:
        path: the file to read.

    Yields:
        The questions in the file's order.

    Raises:
        DataError: the file is not SQuAD JSON; the message names the file, the record and what would be right.
    """
    path = check_file(path)
    document = load_json(path)
    if not isinstance(document, dict) or not isinstance(document.get("data"), list):
        raise DataError(f"{path}: is not a SQuAD file: an object with a list 'data' of articles is needed")
    articles: list[object] = document["data"]
    metadata = (("format", "squad"), ("version", _version(document, articles)))
    tally = Tally()
    for number, item in enumerate(articles, 1):
        article = checked(item, dict, f"{path}: article {number}")
        title = required(article, "title", str, f"{path}: article {number}") if "title" in article else ""
        here = f"{path}: article {number} ({title!r})" if title else f"{path}: article {number}"
        for index, entry in enumerate(required(article, "paragraphs", list, here), 1):
            paragraph = checked(entry, dict, f"{here}, paragraph {index}")
            yield from _paragraph_examples(paragraph, title, path, f"{here}, paragraph {index}", metadata, tally)
    report(path, tally)


def _paragraph_examples(
    paragraph: dict[str, object],
    title: str,
    path: Path,
    here: str,
    metadata: tuple[tuple[str, object], ...],
    tally: Tally,
) -> Iterator[Example]:
    context = context_text(required(paragraph, "context", str, here), here)
    for item in required(paragraph, "qas", list, here):
        question = checked(item, dict, f"{here}: each of 'qas'")
        name = new_id(required(question, "id", str, here), tally, here)
        where = f"{path}: question {name!r}"
        references, answers = _answers(question, context, where, tally)
        note_spans(references, answers, tally)
        yield Example(
            id=name,
            question=required(question, "question", str, where),
            context=context,
            answers=answers,
            references=references,
            title=title,
            metadata=metadata,
        )


def _answers(
    question: dict[str, object], context: str, where: str, tally: Tally
) -> tuple[tuple[str, ...], tuple[Answer, ...]]:
    references: list[str] = []
    answers: list[Answer] = []
    for item in required(question, "answers", list, where):
        answer = checked(item, dict, f"{where}: each of 'answers'")
        text = required(answer, "text", str, f"{where}: an answer")
        start = required(answer, "answer_start", int, f"{where}: answer {text!r}")
        references.append(text)
        placed = place_answer(context, text, start, tally)
        if placed is not None:
            answers.append(placed)
    impossible = "is_impossible" in question and required(question, "is_impossible", bool, where)
    if impossible and references:
        raise DataError(f"{where}: 'is_impossible' is true, but there are answers; either must go")
    return tuple(references), tuple(answers)


def _version(document: dict[str, object], articles: list[object]) -> str:
    # The version string alone is no proof: sets in SQuAD's format number themselves ("1.0" of SQuADShifts). What
    # counts is whether a question may lack answers. Damaged records don't matter here: reading them reports them.
    if str(document.get("version", "")).lower().removeprefix("v").startswith("2"):
        return "2.0"
    for article in articles:
        for paragraph in _dicts(article, "paragraphs"):
            for question in _dicts(paragraph, "qas"):
                if "is_impossible" in question or question.get("answers") == []:
                    return "2.0"
    return "1.1"


def _dicts(record: object, key: str) -> list[dict[str, object]]:
    items = record.get(key) if isinstance(record, dict) else None
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []
