"""The text of a UTF-8 file up to its end or a damaged place, of which nothing is lost that stands before that."""

import codecs
import zlib
from typing import Protocol

PIECE = 1 << 13
"""Bytes read at a time: what zlib unpacked in a read that fails is lost, so reads are small."""


class Bytes(Protocol):
    """A binary file that is open for reading."""

    def read1(self, size: int, /) -> bytes:
        """At most so many bytes, of one read of the system; b"" at the end."""


class DecodedText:
    """Decodes a file as it is read; a place from which nothing can be read is an end, too.

    ``io.TextIOWrapper`` throws away what it had decoded in a read that fails.

    Attributes:
        error: why the text ended before the file did: a byte that is not UTF-8, damaged or cut-off gzip, an error of
            the system; None otherwise.
    """

    def __init__(self, file: Bytes) -> None:
        """Read UTF-8 from ``file``; a byte-order mark is dropped."""
        self.error: Exception | None = None
        self._file = file
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._held = ""
        self._ended = False

    def read(self, count: int) -> str:
        """At most so many characters, fewer at the end alone; "" behind that."""
        parts, length = [self._held], len(self._held)
        while length < count and not self._ended:
            parts.append(self._next())
            length += len(parts[-1])
        text = "".join(parts)
        self._held = text[count:]
        return text[:count]

    def _next(self) -> str:
        """What the next bytes say, as far as they can be read."""
        try:
            piece = self._file.read1(PIECE)
            self._ended = not piece
            return self._decoder.decode(piece, final=self._ended)
        except UnicodeDecodeError as error:
            self.error, self._ended = error, True
            return error.object[: error.start].decode()
        except (OSError, EOFError, zlib.error) as error:
            self.error, self._ended = error, True
            return ""
