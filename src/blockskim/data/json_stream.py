"""Reading a JSON document item by item, so that memory holds one record and not the file."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, NoReturn, TextIO

from blockskim.data.files import open_text
from blockskim.errors import DataError

CHUNK = 1 << 16
"""Characters read at a time; a record that is longer is read in pieces of twice the size each time."""

# What ends in the middle of a word or an escape looks like an error this near to the end of what was read.
_WORD = 16

_BLANKS = " \t\n\r"


class Part(NamedTuple):
    """A part of a document.

    Attributes:
        key: the member of the document that it is or belongs to; "" in a document that is no object.
        value: what it holds.
        line: the line it begins in.
        is_item: whether it is an item of a list, and not a whole value.
    """

    key: str
    value: object
    line: int
    is_item: bool


def stream(path: Path, key: str = "") -> Iterator[Part]:
    """The parts of a document, one after the other.

    Args:
        path: the file; plain or gzip.
        key: the member of an object whose items are to come one by one if it is a list; with "" it is the document.

    Yields:
        Items of the list at ``key``, and the other members of the object, or the document, whole.

    Raises:
        DataError: the file can't be read or is not JSON; the message gives line and column.
    """
    with open_text(path) as file:
        text = _Text(file, path)
        if key and text.next_character() == "{":
            text.skip(1)
            yield from _members(text, key)
        else:
            yield from _value(text, "", key == "")
        if text.next_character():
            text.fail("Extra data")


def _value(text: "_Text", key: str, by_item: bool) -> Iterator[Part]:
    """The next value: item by item if it is a list and that is wanted, else whole."""
    if not by_item or text.next_character() != "[":
        text.next_character()
        yield Part(key, text.value(), text.value_line, False)
        return
    text.skip(1)
    if text.next_character() == "]":
        yield Part(key, [], text.position()[0], False)
        text.skip(1)
        return
    mark = ","
    while mark == ",":
        yield Part(key, text.value(), text.value_line, True)
        mark = text.expect(",]", "Expecting ',' delimiter")


def _members(text: "_Text", key: str) -> Iterator[Part]:
    """Members of an object behind its opening brace."""
    if text.next_character() == "}":
        text.skip(1)
        return
    mark = ","
    while mark == ",":
        if text.next_character() != '"':
            text.fail("Expecting property name enclosed in double quotes")
        name = str(text.value())
        text.expect(":", "Expecting ':' delimiter")
        yield from _value(text, name, name == key)
        mark = text.expect(",}", "Expecting ',' delimiter")


class _Text:
    """The unread part of a file, read on as needed; knows in which line it is."""

    def __init__(self, file: TextIO, path: Path) -> None:
        """Read ``file``; ``path`` names it in errors."""
        self.file = file
        self.path = path
        self.buffer = ""
        self.place = 0
        self.ended = False
        self.line = 1
        self.value_line = 1
        # Columns count from the last line feed, which may have left the buffer.
        self.column = 0
        self.decoder = json.JSONDecoder()

    def next_character(self) -> str:
        """The next character that is not blank, "" at the end; it is not consumed."""
        while True:
            while self.place < len(self.buffer):
                if self.buffer[self.place] not in _BLANKS:
                    return self.buffer[self.place]
                self.place += 1
            if not self._more(CHUNK):
                return ""

    def skip(self, count: int) -> None:
        """Consume characters that are there."""
        self.place += count

    def expect(self, marks: str, message: str) -> str:
        """Consume the next character if it is one of ``marks``, or fail."""
        mark = self.next_character()
        if not mark or mark not in marks:
            self.fail(message)
        self.skip(1)
        return mark

    def value(self) -> object:
        """Decode and consume the next value; ``value_line`` is then the line it began in."""
        self.next_character()
        self.value_line = self.position()[0]
        size = CHUNK
        while True:
            try:
                value, end = self.decoder.raw_decode(self.buffer, self.place)
            except json.JSONDecodeError as error:
                # An error far from the end is one; nearer, the value may only be cut off.
                cut = error.pos >= len(self.buffer) - _WORD or error.msg.startswith("Unterminated string")
                size *= 2
                if not cut or not self._more(size):
                    self.place = error.pos
                    self.fail(error.msg)
                continue
            except RecursionError as error:
                raise DataError(f"{self.path}: is nested too deeply to be question-answering data") from error
            # A number near the end may go on.
            if end >= len(self.buffer) - _WORD and self.buffer[end - 1] not in '"]}' and self._more(size):
                continue
            self.place = end
            return value

    def fail(self, message: str) -> NoReturn:
        """Raise the error for the present place."""
        line, column = self.position()
        raise DataError(f"{self.path}: is not JSON: {message} at line {line}, column {column}")

    def _more(self, size: int) -> bool:
        """Drop what is consumed and read on; False at the end of the file, where all stays as it is."""
        new = "" if self.ended else self.file.read(size)
        if not new:
            self.ended = True
            return False
        line, column = self.position()
        self.line, self.column = line, column - 1
        self.buffer = self.buffer[self.place :] + new
        self.place = 0
        return True

    def position(self) -> tuple[int, int]:
        """Line and column of the next character, both from 1."""
        feeds = self.buffer.count("\n", 0, self.place)
        if not feeds:
            return self.line, self.column + self.place + 1
        return self.line + feeds, self.place - self.buffer.rfind("\n", 0, self.place)
