"""Rows of CSV with a header. A field in quotes may hold line feeds, so a row may have several lines."""

import csv
from collections.abc import Iterator
from contextlib import contextmanager

from blockskim.checks import listing
from blockskim.errors import DataError
from blockskim.scaling.json_lines import too_large
from blockskim.scaling.line_reader import Line, Lines, open_lines
from blockskim.scaling.rows import Columns, InputFile, RawRow


class _WrongRowError(Exception):
    """A row that can't be read; its text says why."""


class _Feed:
    """Gives Python's CSV reader the lines of a row, and knows where the row began and how large it is."""

    def __init__(self, lines: Lines, file: InputFile, limit: int) -> None:
        self._lines = lines
        self._file = file
        self._limit = limit
        self.begin()

    def begin(self) -> None:
        """The next line begins a row."""
        self.line = self.size = self.quotes = 0

    def __iter__(self) -> "_Feed":
        return self

    def __next__(self) -> str:
        line = self._take()
        if not line.is_whole or self.size > self._limit:
            raise _WrongRowError(too_large(self.size, self._limit))
        try:
            return line.content.decode("utf-8")
        except UnicodeDecodeError as error:
            raise _WrongRowError(f"is not UTF-8 text (byte 0x{error.object[error.start]:02x})") from error

    def skip_row(self) -> None:
        """Leave out what is left of a row: as long as the number of quotes is odd, a field goes on in the next line.

        Raises:
            DataError: the file ends before the row does.
        """
        while self.quotes % 2:
            try:
                self._take()
            except StopIteration:
                raise self.endless() from None

    def endless(self) -> DataError:
        """The error of a file that ends inside of a row."""
        return DataError(f"{self._file.path}: line {self.line} begins a row with a quoted field that does not end")

    def _take(self) -> Line:
        line = next(self._lines)
        self.line = self.line or line.number
        self.size += line.size
        self.quotes += line.quotes
        return line


def csv_rows(file: InputFile, number: int, columns: Columns, limit: int) -> Iterator[tuple[RawRow, int]]:
    """The rows of a file: the columns that are needed, by name.

    Args:
        file: the file, plain or gzip. Its first row names the columns.
        number: of the file among all.
        columns: which are needed.
        limit: bytes that a row may have.

    Yields:
        A row, and the bytes of the file that were read so far.

    Raises:
        DataError: the file can't be read, lacks a column, or ends inside of a quoted field.
    """
    with open_lines(file.path, limit) as lines, _fields_of(limit):
        feed = _Feed(lines, file, limit)
        reader = csv.reader(feed, delimiter=file.delimiter, strict=True)
        header: list[str] | None = None
        places: dict[str, int] = {}
        for line, fields, error in _records(reader, feed, limit):
            if header is None:
                if error:
                    raise DataError(f"{file.path}: line {line}, which should name the columns: {error}")
                header, places = fields, _places(fields, file, columns)
                continue
            if not error and len(fields) != len(header):
                error = f"has {len(fields)} fields, and the first row names {len(header)} columns"
            content = None if error else {name: fields[place] for name, place in places.items()}
            yield RawRow(number, line, content, error), lines.position()


def _records(reader: Iterator[list[str]], feed: _Feed, limit: int) -> Iterator[tuple[int, list[str], str]]:
    """First line, fields and error of each row; blank lines are none."""
    while True:
        feed.begin()
        try:
            fields = next(reader)
        except StopIteration:
            return
        except _WrongRowError as error:
            feed.skip_row()
            # Its size is known only now.
            text = too_large(feed.size, limit) if feed.size > limit else str(error)
            yield feed.line, [], text
            continue
        except csv.Error as error:
            if "unexpected end of data" in str(error):
                raise feed.endless() from error
            feed.skip_row()
            yield feed.line, [], f"is not CSV: {error}"
            continue
        if fields:
            yield feed.line, fields, ""


def _places(header: list[str], file: InputFile, columns: Columns) -> dict[str, int]:
    """Where the columns that are needed stand."""
    for name in columns.needed():
        if header.count(name) != 1:
            has = f"has columns called {name!r} twice" if name in header else f"has no column {name!r}"
            raise DataError(f"{file.path}: {has}; its columns are {listing(header)}")
    return {name: header.index(name) for name in columns.needed()}


@contextmanager
def _fields_of(limit: int) -> Iterator[None]:
    """Let Python's CSV reader take fields that are as large as rows may be; it has one limit for the process."""
    before = csv.field_size_limit()
    csv.field_size_limit(max(before, limit))
    try:
        yield
    finally:
        csv.field_size_limit(before)
