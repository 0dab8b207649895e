"""Rows of input files: as they are read, with what is needed to name them, and as question and context."""

import json
import os
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from blockskim.answering.request import check_text
from blockskim.data.files import read_errors_named, unpacked
from blockskim.errors import DataError, ReadError
from blockskim.scaling.arrow_values import Unreadable

FILE_COLUMN = "file"
"""The column of a text file's row that names it."""

MOST_LEVELS = 100
"""Lists and objects of a copied value that may lie in each other; Python can't follow many hundreds."""


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file to read.

    Attributes:
        path: as it was named.
        format: "jsonl", "csv", "parquet" or "text".
        size: its bytes.
        delimiter: between the fields of CSV.
        folder: that relative paths begin in, the file's own and others; the working directory if it is empty.
    """

    path: Path
    format: str
    size: int
    delimiter: str = ","
    folder: Path = Path()


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """What is taken from which column.

    Attributes:
        question: asked of every row; None where rows bring their own.
        question_column: holds the question of a row.
        context_column: holds the text to read.
        file_column: names the file to read in place of a text; None where texts stand in the rows.
        file_root: the folder that such files lie in; None for that of the input file. No name leads out of it.
        keep: columns that are copied into the output.
    """

    question: str | None = None
    question_column: str = "question"
    context_column: str = "context"
    file_column: str | None = None
    file_root: str | None = None
    keep: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Keep each column once."""
        object.__setattr__(self, "keep", tuple(dict.fromkeys(self.keep)))

    def needed(self) -> tuple[str, ...]:
        """The columns that are read, each once."""
        asked = () if self.question is not None else (self.question_column,)
        return tuple(dict.fromkeys((*asked, self.file_column or self.context_column, *self.keep)))


class RawRow(NamedTuple):
    """A row as a reader gives it; another process makes sense of it.

    Attributes:
        file: number of the input file.
        place: its first line, or its number in a Parquet file; both count from 1.
        content: a line of JSON, values by column, or None for a whole text file.
        error: what is wrong with it; there is no content then.
    """

    file: int
    place: int
    content: bytes | dict[str, Any] | None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """A row with a question to answer from a context.

    Attributes:
        question: the question.
        context: the text.
        kept: columns that are copied into the output.
        where: file and line, for messages.
        error: what is wrong with the row; it has no question and context then.
    """

    question: str
    context: str
    kept: Mapping[str, Any]
    where: str
    error: str = ""


def read_row(raw: RawRow, file: InputFile, columns: Columns, limit: int) -> Row:
    """Find question and context in a row.

    Args:
        raw: the row.
        file: where it comes from.
        columns: what is taken from which column.
        limit: bytes that a text file may have.

    Returns:
        The row. One that is wrong says so, with file and line.

    Raises:
        ReadError: the system failed to read a text file, or what holds it is away; another try may do.
    """
    where = _where(raw, file)
    names = (FILE_COLUMN,) if file.format == "text" else columns.keep
    kept: dict[str, Any] = dict.fromkeys(names)
    try:
        if raw.error:
            raise DataError(raw.error)
        record = _record(raw, file)
        kept = {name: record.get(name) for name in names}
        faults = {name: fault for name, value in kept.items() if (fault := _fault(value))}
        if faults:
            kept |= dict.fromkeys(faults)
            name, fault = next(iter(faults.items()))
            raise DataError(f"{name!r} {fault}")
        question = column_text(record, columns.question_column) if columns.question is None else columns.question
        return Row(question, _context(record, file, columns, limit), kept, where)
    except ReadError:
        raise
    except DataError as error:
        # Errors of files name them already.
        text = str(error) if str(error).startswith(f"{where}: ") else f"{where}: {error}"
        return Row("", "", kept, where, text)


def absent_columns(rows: Iterable[RawRow], files: Sequence[InputFile], names: Sequence[str]) -> list[str]:
    """Of some columns those that no row has; lines of JSON may lack one, and it is null there.

    Args:
        rows: what is looked at, as far as need be.
        files: where rows come from.
        names: of the columns.
    """
    absent = list(names)
    has_rows = False
    for row in rows:
        if not absent:
            break
        # What is wrong with it, it says itself.
        with suppress(DataError):
            record = _record(row, files[row.file])
            absent = [name for name in absent if name not in record]
            has_rows = True
    return absent if has_rows else []


def _where(raw: RawRow, file: InputFile) -> str:
    if file.format == "text":
        return str(file.path)
    return f"{file.path}: {'row' if file.format == 'parquet' else 'line'} {raw.place}"


def _record(raw: RawRow, file: InputFile) -> Mapping[str, Any]:
    """The values of a row by column."""
    if file.format == "text":
        return {FILE_COLUMN: str(file.path)}
    if isinstance(raw.content, dict):
        return raw.content
    try:
        record = json.loads((raw.content or b"").rstrip(b"\r\n").decode("utf-8"))
    except UnicodeDecodeError as error:
        raise DataError(f"is not UTF-8 text (byte 0x{error.object[error.start]:02x})") from error
    except json.JSONDecodeError as error:
        raise DataError(f"is not JSON: {error.msg} at column {error.colno}") from error
    except RecursionError as error:
        raise DataError("is nested too deeply") from error
    except ValueError as error:
        raise DataError("holds a number of too many digits") from error
    if not isinstance(record, dict):
        raise DataError(f"is {reprlib.repr(record)}; a JSON object is needed")
    return record


def _context(record: Mapping[str, Any], file: InputFile, columns: Columns, limit: int) -> str:
    if file.format == "text":
        # The beginning of the run read it for its fingerprint.
        return check_text(_file_text(file.folder / file.path, file.path, limit, was_read=True), "the file")
    if columns.file_column is None:
        return column_text(record, columns.context_column)
    name = column_text(record, columns.file_column)
    root = Path(columns.file_root) if columns.file_root is not None else file.path.parent
    folder = file.folder / root
    try:
        path = (folder / name).resolve()
        inside = path.is_relative_to(folder.resolve())
    except (OSError, ValueError, RuntimeError) as error:
        raise DataError(f"{columns.file_column!r} is {name!r:.200}, which is no path") from error
    if not inside:
        raise DataError(f"{columns.file_column!r} is {name!r:.200}, which leads out of {root}")
    try:
        text = _file_text(path, path, limit)
    except DataError:
        _check_is_there(folder)
        raise
    return check_text(text, name)


def _check_is_there(folder: Path) -> None:
    """See to it that a text in a folder is to blame and not the folder: of a share that is away an empty one is left.

    Raises:
        ReadError: it is away.
    """
    try:
        with os.scandir(folder) as entries:
            reason = "is empty" if next(entries, None) is None else ""
    except OSError as error:
        # Files can be read in a folder whose list can't.
        reason = "" if os.access(folder, os.X_OK) and folder.is_dir() else f"can't be read: {error.strerror}"
    if reason:
        raise ReadError(f"{folder}: {reason}; the texts that rows name must lie there")


def _file_text(path: Path, named: Path, limit: int, was_read: bool = False) -> str:
    """The text of a file, plain or gzip.

    Args:
        path: of the file.
        named: what errors call it.
        limit: bytes that it may have.
        was_read: whether this run read it before.

    Raises:
        DataError: it can't be read, is too large or no text.
        ReadError: the system failed to read it, or it was read before and is away.
    """
    with read_errors_named(named, was_read):
        if not was_read and not path.is_file():
            raise DataError(f"{named}: {'is no file' if os.path.lexists(path) else 'no such file'}")
        with path.open("rb") as raw:
            content = unpacked(raw).read(limit + 1)
        if len(content) > limit:
            raise DataError(f"{named}: is larger than {limit:,} bytes, which is row_limit (--max-row-bytes)")
        return content.decode("utf-8-sig")


def column_text(record: Mapping[str, Any], name: str) -> str:
    """The text in a column.

    Raises:
        DataError: there is none.
    """
    if name not in record:
        raise DataError(f"there is no {name!r}")
    value = record[name]
    if value is None:
        raise DataError(f"{name!r} is null")
    if isinstance(value, Unreadable):
        raise DataError(f"{name!r} {_fault(value)}")
    if not isinstance(value, str):
        raise DataError(f"{name!r} is {reprlib.repr(value)}; it must be text")
    return check_text(value, repr(name))


def num_bytes(value: Any) -> int:
    """How large a value is, whatever lies in it: texts as UTF-8, and eight bytes for what is neither text nor bytes."""
    if isinstance(value, str):
        return len(value) if value.isascii() else len(value.encode("utf-8", "surrogatepass"))
    if isinstance(value, bytes):
        return len(value)
    if isinstance(value, dict):
        return sum(num_bytes(name) + num_bytes(item) for name, item in value.items())
    if isinstance(value, list | tuple):
        return sum(map(num_bytes, value))
    return 8


def _fault(value: Any) -> str:
    """What is wrong with the value of a column that is copied; "" for nothing."""
    if isinstance(value, Unreadable):
        return f"can't be read: {value.reason}"
    return f"is nested too deeply; {MOST_LEVELS} levels are the most" if _is_too_deep(value) else ""


def _is_too_deep(value: Any) -> bool:
    """Whether lists and objects lie in each other more deeply than what writes them can follow, in any process."""
    level = [value]
    for _ in range(MOST_LEVELS + 1):
        level = [
            item
            for each in level
            if isinstance(each, dict | list | tuple)
            for item in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return False
    return True
