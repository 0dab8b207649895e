"""Rows of CSV with a header. A field in quotes may hold line feeds, so a row may have several lines."""

import codecs
import csv
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from itertools import chain

from blockskim.checks import listing
from blockskim.errors import DataError
from blockskim.scaling.json_lines import too_large
from blockskim.scaling.line_reader import Line, Lines, open_lines
from blockskim.scaling.rows import Columns, InputFile, RawRow


class _TooLargeError(Exception):
    """A row has more bytes than it may have."""


class _Feed:
    """Gives Python's CSV reader the lines of a row; knows where it began, how large it is and what is wrong with it."""

    def __init__(self, lines: Lines, file: InputFile, limit: int) -> None:
        self._lines = lines
        self._file = file
        self._limit = limit
        self.begin()

    def begin(self) -> None:
        """The next line begins a row."""
        self.line = self.size = 0
        self.error = ""
        self._last = b""
        self._starts_quoted = False

    def __iter__(self) -> "_Feed":
        return self

    def __next__(self) -> str:
        # The reader asks for another line of the same row only inside of a field in quotes.
        self._starts_quoted = bool(self.line)
        line = self._take()
        if not line.is_whole or self.size > self._limit:
            raise _TooLargeError
        try:
            return line.content.decode("utf-8")
        except UnicodeDecodeError as error:
            self.error = self.error or f"is not UTF-8 text (byte 0x{error.object[error.start]:02x})"
            # The reader has to see the row to its end, as only it knows where that is.
            return line.content.decode("utf-8", "replace")

    def skip_row(self) -> None:
        """Leave out what is left of a row that the reader gave up in its last line.

        Raises:
            DataError: the file ends before the row does.
        """
        is_open = self._ends_quoted(self._last, self._starts_quoted)
        while is_open:
            try:
                line = self._take()
            except StopIteration:
                raise self.endless() from None
            is_open = self._ends_quoted(line.content, True)

    def endless(self) -> DataError:
        """The error of a file that ends inside of a row."""
        return DataError(f"{self._file.path}: line {self.line} begins a row with a quoted field that does not end")

    def _take(self) -> Line:
        line = next(self._lines)
        self.line = self.line or line.number
        self.size += len(line.content)
        self._last = line.content
        return line

    def _ends_quoted(self, content: bytes, starts_quoted: bool) -> bool:
        """Whether a field in quotes goes on behind the last line, of which ``content`` is the first piece."""
        place = _Place.QUOTED if starts_quoted else _Place.START
        # A character may be cut in two where a piece ends.
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        for piece in chain([content], self._counted_rest()):
            place = _place_after(place, decoder.decode(piece), self._file.delimiter)
        return place is _Place.QUOTED

    def _counted_rest(self) -> Iterator[bytes]:
        for piece in self._lines.rest():
            self.size += len(piece)
            yield piece


class _Place(Enum):
    """Where in a row a text ends."""

    START = "at the start of a field"
    PLAIN = "in a field without quotes"
    QUOTED = "in a field in quotes"
    QUOTE = "behind a quote in such a field, which ends it, or is one of two that stand for one"


def _place_after(place: _Place, text: str, delimiter: str) -> _Place:
    """Where a piece of a line ends, given where the one before ended.

    It is where Python's reader would be, but that this one reads on where a field goes on behind its closing quote:
    as a field without quotes, in which a quote is a character as any other.
    """
    at = 0
    while at < len(text):
        if place is _Place.QUOTED:
            found = text.find('"', at)
            if found < 0:
                return place
            at, place = found + 1, _Place.QUOTE
        elif place is not _Place.PLAIN and text[at] == '"':
            at, place = at + 1, _Place.QUOTED
        elif place is _Place.QUOTE and text[at] == delimiter:
            at, place = at + 1, _Place.START
        else:
            # Only a quote behind a delimiter opens the next field in quotes.
            found = text.find(f'{delimiter}"', at)
            if found < 0:
                return _Place.START if text.endswith(delimiter) else _Place.PLAIN
            at, place = found + 2, _Place.QUOTED
    return place


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
        except _TooLargeError:
            feed.skip_row()
            # Its size is known only now.
            yield feed.line, [], too_large(feed.size, limit)
            continue
        except csv.Error as error:
            if "unexpected end of data" in str(error):
                raise feed.endless() from error
            feed.skip_row()
            yield feed.line, [], feed.error or f"is not CSV: {error}"
            continue
        if fields:
            yield feed.line, fields, feed.error


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
