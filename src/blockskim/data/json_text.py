"""The text of a JSON file, read on as needed and decoded value by value, with a bound on what one record may take."""

import json
import re
from pathlib import Path
from typing import NamedTuple, NoReturn

from blockskim.data.decoded_text import DecodedText
from blockskim.errors import DataError

CHUNK = 1 << 16
"""Characters read at a time; a record that is longer is read in pieces of twice the size each time."""

LARGEST = 64_000_000
"""Characters that one record may have; a small gzip file can hold a record that fills the memory."""

# What ends in the middle of a word or an escape looks like an error this near to the end of what was read.
_WORD = 16

# Of a line that is wrong this much is kept to tell where, and to read on behind it.
_LONG_LINE = 1 << 20

_BLANKS = re.compile(r"[ \t\n\r]*")


class JsonError(DataError):
    """The text is not JSON."""


class Mark(NamedTuple):
    """A place in a file: offset of the character, the line it is in, and the offset at which that line starts."""

    offset: int
    line: int
    line_start: int


class JsonText:
    """The unread part of a file, read on as needed; knows in which line it is."""

    def __init__(self, file: DecodedText, path: Path) -> None:
        """Read ``file``; ``path`` names it in errors."""
        self.path = path
        self.value_line = 1
        self._file = file
        self._buffer = ""
        self._place = 0
        self._dropped = 0
        self._ended = False
        self._counted = Mark(0, 1, 0)
        self._kept_from: Mark | None = None
        self._decoder = json.JSONDecoder()

    @property
    def offset(self) -> int:
        """Characters of the file before the next one."""
        return self._dropped + self._place

    def position(self) -> tuple[int, int]:
        """Line and column of the next character, both from 1."""
        mark = self.mark()
        return mark.line, mark.offset - mark.line_start + 1

    def mark(self) -> Mark:
        """The place of the next character."""
        counted, place = self._counted.offset - self._dropped, self._place
        feeds = self._buffer.count("\n", counted, place)
        line_start = self._counted.line_start
        if feeds:
            line_start = self._dropped + self._buffer.rfind("\n", counted, place) + 1
        self._counted = Mark(self.offset, self._counted.line + feeds, line_start)
        return self._counted

    def back_to(self, mark: Mark) -> bool:
        """Go back to a place if its text is still held; whether it was."""
        if mark.offset < self._dropped:
            return False
        self._place = mark.offset - self._dropped
        self._counted = mark
        return True

    def keep_from(self, mark: Mark | None) -> None:
        """Hold the text from a place on, so that ``back_to`` finds it; not if it gets long. None lets it go."""
        self._kept_from = mark

    def next_character(self) -> str:
        """The next character that is not blank, "" at the end; it is not consumed."""
        while True:
            blanks = _BLANKS.match(self._buffer, self._place)
            assert blanks is not None
            self._place = blanks.end()
            if self._place < len(self._buffer):
                return self._buffer[self._place]
            if not self._more(CHUNK):
                return ""

    def skip(self, count: int) -> None:
        """Consume characters that are there."""
        self._place += count

    def expect(self, marks: str, message: str) -> str:
        """Consume the next character if it is one of ``marks``.

        Raises:
            JsonError: it is none of them.
        """
        mark = self.next_character()
        if not mark or mark not in marks:
            self.fail(message)
        self.skip(1)
        return mark

    def value(self) -> object:
        """Decode and consume the next value; ``value_line`` is then the line it began in.

        Raises:
            JsonError: no JSON value stands here.
            DataError: the value is too large or too deep.
        """
        self.next_character()
        self.value_line = self.position()[0]
        size = CHUNK
        while True:
            size *= 2
            try:
                value, end = self._decoder.raw_decode(self._buffer, self._place)
            except json.JSONDecodeError as error:
                # An error far from the end is one; nearer, the value may only be cut off.
                cut = error.pos >= len(self._buffer) - _WORD or error.msg.startswith("Unterminated string")
                if not cut or not self._more(size):
                    if cut:
                        self.check_whole()
                    self._place = error.pos
                    self.fail(error.msg)
                continue
            except RecursionError as error:
                self._refuse("is nested too deeply to be question-answering data", error)
            except ValueError as error:
                self._refuse("holds a number of too many digits", error)
            # A number near the end may go on.
            if end >= len(self._buffer) - _WORD and self._buffer[end - 1] not in '"]}' and self._more(size):
                continue
            self._place = end
            return value

    def check_size(self, start: Mark) -> None:
        """Refuse what was read since ``start`` if it is larger than a record may be.

        Raises:
            DataError: it is.
        """
        if self.offset - start.offset > LARGEST:
            self._too_large(start.line)

    def object_on_line(self) -> bool:
        """Whether the rest of the line is an object and no more; it is not consumed, unless it is too long to tell."""
        start = self.mark()
        text = self.rest_of_line()
        if text is None or not self.back_to(start):
            return False
        try:
            return isinstance(json.loads(text), dict)
        except (ValueError, RecursionError):
            return False

    def rest_of_line(self) -> str | None:
        """Consume the line up to its line feed; returns its text, or None where it is too long to be held."""
        whole = True
        while (end := self._buffer.find("\n", self._place)) < 0:
            if len(self._buffer) - self._place > _LONG_LINE:
                self._place = len(self._buffer)
                whole = False
            if not self._more(CHUNK):
                end = len(self._buffer) - 1
                break
        text = self._buffer[self._place : end + 1]
        self._place = end + 1
        return text if whole else None

    def check_whole(self) -> None:
        """Refuse a text that ended at a damaged place; to be asked where it has ended.

        Raises:
            UnicodeDecodeError: a byte is not UTF-8.
            OSError: the file can't be read on, or is damaged gzip.
            EOFError: a gzip file is cut off.
            zlib.error: a gzip file is damaged.
        """
        if self._ended and self._file.error is not None:
            raise self._file.error

    def fail(self, message: str) -> NoReturn:
        """Say what is wrong at the present place; at the end of a damaged file it is that damage.

        Raises:
            JsonError: always, but for what ``check_whole`` raises.
        """
        if self._place >= len(self._buffer):
            self.check_whole()
        line, column = self.position()
        raise JsonError(f"{self.path}: is not JSON: {message} at line {line}, column {column}")

    def _refuse(self, what: str, cause: Exception) -> NoReturn:
        raise DataError(f"{self.path}: line {self.value_line} {what}") from cause

    def _too_large(self, line: int) -> NoReturn:
        raise DataError(
            f"{self.path}: line {line} begins a record of more than {LARGEST:,} characters, which is no "
            "question-answering data; split the text into records of a document each"
        )

    def _more(self, size: int) -> bool:
        """Drop what is consumed and read on; False at the end of the file, where all stays as it is."""
        held = len(self._buffer) - self._place
        if held > LARGEST:
            self._too_large(self.position()[0])
        new = "" if self._ended else self._file.read(min(size, LARGEST + 1 - held))
        if not new:
            self._ended = True
            return False
        self.mark()
        unused = self._place
        if self._kept_from is not None and self.offset - self._kept_from.offset <= _LONG_LINE:
            unused = max(0, self._kept_from.offset - self._dropped)
        self._dropped += unused
        self._buffer = self._buffer[unused:] + new
        self._place -= unused
        return True
