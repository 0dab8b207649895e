"""The front door of all readers: recognises a file's format by what it holds and reads it."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from blockskim.data.examples import Example
from blockskim.data.files import check_file, open_text
from blockskim.data.hotpotqa import read_hotpotqa, read_hotpotqa_pseudo
from blockskim.data.mrqa import read_mrqa
from blockskim.data.squad import read_squad
from blockskim.errors import DataError

READERS: dict[str, Callable[[Path, bool], Iterator[Example]]] = {
    "squad": read_squad,
    "mrqa": read_mrqa,
    "hotpotqa": read_hotpotqa,
    "hotpotqa-pseudo": read_hotpotqa_pseudo,
}
"""The reader of every format, by the format's name."""

_FIRST_LOOK = 1 << 20
_LAST_LOOK = 1 << 25

# A string, or a character that gives the structure; a quote alone is a string cut off by the end of the text.
_TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"|["{}\[\]:]', re.DOTALL)


def read_examples(
    paths: Path | str | Sequence[Path | str], format: str | None = None, skip_bad: bool = False
) -> Iterator[Example]:
    """Reads question-answering files of any known format, one after the other.

    All files are opened and recognised before this returns, so that a wrong one is known at once; their records are
    read as the iterator goes. Ids are unique within a file, not across files; ``source`` is the file's
    name, with its folders where two have the same.

    Args:
        paths: a file or several; plain or gzip.
        format: "squad" (1.1 and 2.0), "mrqa", "hotpotqa" or "hotpotqa-pseudo"; None recognises it for each file.
        skip_bad: leave out records that are wrong and, behind a place from which nothing can be read, the rest of the
            file; a warning a file counts them. Without, the first of them is an error.

    Returns:
        An iterator over the questions, in the order of the files and within them.

    Raises:
        DataError: a file is missing, empty or of no known format, or there is no such format; while iterating, a
            record is not what it should be.
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
        for example in reader(path, skip_bad)
    )


def detect_format(path: Path | str) -> str:
    """Recognises the format of a file by the keys of its first object; the name does not matter.

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
    with open_text(path) as text:
        head = text.read(_FIRST_LOOK)
        more = text.read(1)
        while (found := _format_of(head)) is None and more and len(head) < _LAST_LOOK:
            head += more + text.read(len(head))
            more = text.read(1)
    if found is not None:
        return found
    raise DataError(f"{path}: {_what_it_is(head, complete=not more)}")


def _format_of(head: str) -> str | None:
    keys, whole = _first_keys(head)
    in_list = head.lstrip().startswith("[")
    if not in_list:
        if "data" in keys:
            return "squad"
        return "mrqa" if "header" in keys or "qas" in keys else None
    # Both list formats share most keys: decide when the first record has been seen to its end.
    if whole and "question" in keys and "context" in keys:
        return "hotpotqa"
    return "hotpotqa-pseudo" if whole and "question" in keys and "paragraphs" in keys else None


def _first_keys(head: str) -> tuple[list[str], bool]:
    """The keys of the first object, which may be the document or the first item of a list; whether it was complete.

    Parsing would need the whole document; this needs only its beginning.
    """
    keys: list[str] = []
    depth = 0
    level = 2 if head.lstrip().startswith("[") else 1
    last = ""
    for match in _TOKEN.finditer(head):
        token = match.group()
        if token == '"':
            return keys, False
        if token in "{[":
            depth += 1
        elif token in "}]":
            depth -= 1
            if depth < level:
                return keys, True
        elif token == ":":
            if depth == level:
                keys.append(last)
        else:
            last = token[1:-1]
    return keys, False


def _what_it_is(head: str, complete: bool) -> str:
    """Why the beginning of a file is of no known format, for the error message."""
    needed = (
        "known are SQuAD (an object with 'data'), MRQA (JSON lines with 'context' and 'qas') and HotpotQA (a list of "
        "records with 'question' and 'context')"
    )
    body = head.lstrip()
    if not body:
        return "the file is empty but for white space"
    try:
        document, _ = json.JSONDecoder().raw_decode(head, len(head) - len(body))
    except json.JSONDecodeError as error:
        # In a part of a document only an error right at its beginning says something about the file.
        if complete or error.pos <= len(head) - len(body):
            return f"is not JSON: {error.msg} at line {error.lineno}, column {error.colno}; {needed}"
        document = None
    except RecursionError:
        return "is nested too deeply to be question-answering data"
    if document == [] or document == {}:
        return "holds no questions"
    keys, _ = _first_keys(head)
    if not keys:
        return f"is JSON without records; {needed}"
    names = ", ".join(repr(key) for key in dict.fromkeys(keys[:12]))
    return f"is of no known format: its first object has {names}; {needed}"
