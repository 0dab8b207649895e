"""Lines of a file as bytes, plain or gzip, of which none takes more memory than it may."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

from blockskim.data.files import read_errors_named, unpacked

CHUNK = 1 << 20
"""Bytes that are read at a time of a line that is too long."""

BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Line(NamedTuple):
    """A line.

    Attributes:
        number: from 1.
        content: its bytes, line feed included; of a line that is too long, the first of them.
        is_whole: whether the line is no longer than it may be.
    """

    number: int
    content: bytes
    is_whole: bool


class Lines:
    """The lines of a file that is open, one after the other."""

    def __init__(self, raw: BinaryIO, limit: int) -> None:
        """Read a file; lines of more than ``limit`` bytes come without their ends, which ``rest`` gives."""
        self._raw = raw
        self._file = unpacked(raw)
        self._limit = limit
        self._number = 0
        self._has_rest = False

    def position(self) -> int:
        """Bytes of the file, as it lies on the disk, that were read so far."""
        return self._raw.tell()

    def __iter__(self) -> Iterator[Line]:
        """The lines, to which this is the only iterator."""
        return self

    def __next__(self) -> Line:
        """The next line; what was not read of the one before is passed over."""
        for _ in self.rest():
            pass
        # A byte-order mark is none of the first line's bytes, and must not be cut in two.
        mark = 0 if self._number else len(BYTE_ORDER_MARK)
        # One more than it may have, so that a line without an end is not taken for whole.
        content = self._file.readline(self._limit + 1 + mark)
        if not content:
            raise StopIteration
        self._number += 1
        if self._number == 1:
            content = content.removeprefix(BYTE_ORDER_MARK)
        is_whole = len(content) <= self._limit
        self._has_rest = not is_whole and not content.endswith(b"\n")
        return Line(self._number, content, is_whole)

    def rest(self) -> Iterator[bytes]:
        """What follows the content of the last line, piece by piece; nothing if that is whole."""
        while self._has_rest:
            piece = self._file.readline(CHUNK)
            self._has_rest = bool(piece) and not piece.endswith(b"\n")
            yield piece


@contextmanager
def open_lines(path: Path, limit: int) -> Iterator[Lines]:
    """The lines of an input file, which the beginning of the run read for its fingerprint.

    Args:
        path: the file; gzip is recognised by its content.
        limit: bytes of a line that are held.

    Raises:
        DataError: it is damaged gzip.
        ReadError: the system failed to read it, or it is away.
    """
    with read_errors_named(path, was_read=True), path.open("rb") as raw:
        yield Lines(raw, limit)
