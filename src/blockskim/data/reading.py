"""The front door of all readers: recognises a file's format by what it holds and reads it."""

from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Protocol

from blockskim.data.examples import Example
from blockskim.data.files import check_file
from blockskim.data.hotpotqa import read_hotpotqa, read_hotpotqa_pseudo
from blockskim.data.json_stream import stream
from blockskim.data.json_text import JsonError
from blockskim.data.mrqa import read_mrqa
from blockskim.data.record_source import contents
from blockskim.data.records import kind_of, names_of
from blockskim.data.squad import read_squad
from blockskim.errors import DataError


class Reader(Protocol):
    """What reads a file of one format."""

    def __call__(self, path: Path | str, skip_bad: bool = False, with_answers: bool = True) -> Iterator[Example]:
        """An iterator over the questions of a file; see ``read_examples`` for the parameters."""


READERS: dict[str, Reader] = {
    "squad": read_squad,
    "mrqa": read_mrqa,
    "hotpotqa": read_hotpotqa,
    "hotpotqa-pseudo": read_hotpotqa_pseudo,
}
"""The reader of every format, by the format's name."""

# Records without a question tell no format; after so many of them it is no use to look on.
_LOOK = 100

_KNOWN = (
    "known are SQuAD (an object with 'data', or questions with 'context' and 'answers'), MRQA (JSON lines with "
    "'context' and 'qas') and HotpotQA (a list of records with 'question' and 'context')"
)


def read_examples(
    paths: Path | str | Sequence[Path | str],
    format: str | None = None,
    skip_bad: bool = False,
    with_answers: bool = True,
) -> Generator[Example, None, None]:
    """Reads question-answering files of any known format, one after the other.

    All files are opened and recognised before this returns, so that a wrong one is known at once; their records are
    read as the iterator goes. Ids are unique within a file, not across files; ``source`` is the file's
    name, with its folders where two have the same.

    Args:
        paths: a file or several; plain or gzip.
        format: "squad" (1.1 and 2.0), "mrqa", "hotpotqa" or "hotpotqa-pseudo"; None recognises it for each file.
        skip_bad: leave out records that are wrong and, behind a place from which nothing can be read, the rest of the
            file; one warning per file counts them. Without, the first of them is an error.
        with_answers: whether to read what the files say of answers. Without, questions and contexts alone are read, as
            for predictions; no example is annotated then.

    Returns:
        An iterator over the questions, in the order of the files and within them. Where it is closed before its end,
        the warning of a file counts what was read of it.

    Raises:
        DataError: a file is missing, empty or of no known format, or there is no such format; while iterating, a
            record is not what it should be.

    Examples:
        >>> from blockskim import read_examples
        >>> example = next(read_examples("dev.json"))
        >>> answer = example.answers[0]
        >>> example.context[answer.start : answer.end] == answer.text
        True
    """
    if format is not None and format not in READERS:
        raise DataError(f"there is no format {format!r}; known are {', '.join(READERS)}")
    files = [check_file(path) for path in ([paths] if isinstance(paths, str | Path) else paths)]
    if not files:
        raise DataError("no data file is named; at least one is needed")
    readers = [READERS[format or detect_format(path)] for path in files]
    names = Counter(path.name for path in files)
    return (
        replace(example, source=path.name if names[path.name] == 1 else str(path))
        for path, reader in zip(files, readers, strict=True)
        for example in reader(path, skip_bad, with_answers)
    )


def detect_format(path: Path | str) -> str:
    """Recognises the format of a file by what its first records hold; the name does not matter.

    Args:
        path: the file; plain or gzip.

    Returns:
        "squad", "mrqa", "hotpotqa" or "hotpotqa-pseudo".

    Raises:
        DataError: the file can't be read, is not JSON, or is of no known format.
    """
    path = check_file(path)
    if not path.is_file():
        raise DataError(f"{path}: is a pipe, which can be read only once: name its format ({', '.join(READERS)})")
    wrong: list[DataError] = []
    seen: list[object] = []
    for value in islice(_values(path, wrong), _LOOK):
        found = _format_of(value) if isinstance(value, dict) else None
        if found is not None:
            return found
        seen.append(value)
    if any(isinstance(value, dict) and {"context", "qas"} <= value.keys() for value in seen):
        return "mrqa"
    raise DataError(_no_format(path, seen, wrong))


def _values(path: Path, wrong: list[DataError]) -> Iterator[object]:
    """What records may be among, as far as the file can be read; what can't be goes to ``wrong``."""
    try:
        for part in stream(path, "data", several=True):
            if part.error is not None:
                wrong.append(part.error)
            elif part.is_item or not part.key:
                yield from contents(part.value)
    except DataError as error:
        wrong.append(error)


def _format_of(record: dict[str, object]) -> str | None:
    """The format that a record is of; None where it can't be told."""
    if "header" in record and "context" not in record:
        return "mrqa"
    if "paragraphs" in record:
        return "hotpotqa-pseudo" if "question" in record else "squad"
    if "qas" in record:
        questions = record["qas"] if isinstance(record["qas"], list) else []
        return next((_format_of_question(item) for item in questions if isinstance(item, dict) and item), None)
    if "question" not in record or "context" not in record:
        return None
    context = record["context"]
    if isinstance(context, str):
        return _format_of_question(record)
    # Other sets have lists of plain texts there, or objects of another kind.
    native = isinstance(context, list) and not any(isinstance(item, str) for item in context)
    return "hotpotqa" if native or (isinstance(context, dict) and "sentences" in context) else None


def _format_of_question(question: dict[str, object]) -> str:
    """Whether a question with one plain context is of MRQA or SQuAD: both have "answers", which differ."""
    answers = question.get("answers")
    kinds = {type(answer) for answer in answers} if isinstance(answers, list) else {type(answers)}
    if dict in kinds:
        return "squad"
    return "mrqa" if str in kinds or "qid" in question or "detected_answers" in question else "squad"


def _no_format(path: Path, seen: list[object], wrong: list[DataError]) -> str:
    """Why a file is of no known format."""
    first = next((value for value in seen if isinstance(value, dict) and value), None)
    if first is None and wrong:
        return f"{wrong[0]}; {_KNOWN}" if isinstance(wrong[0], JsonError) else str(wrong[0])
    if first is None:
        empty = all(value in ([], {}) for value in seen)
        return f"{path}: holds no questions" if empty else f"{path}: is JSON without records; {_KNOWN}"
    if isinstance(first.get("question"), list | dict):
        kind = kind_of(first["question"])
        return f"{path}: is a table by columns: its 'question' is {kind}; a record per question is needed; {_KNOWN}"
    return f"{path}: is of no known format: its first object has {names_of(first)}; {_KNOWN}"
