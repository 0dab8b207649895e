"""Opening of data files: text or gzip, with errors that say which file is wrong and how."""

import errno
import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from blockskim.data.decoded_text import DecodedText
from blockskim.errors import DataError, ReadError

GZIP_MAGIC = b"\x1f\x8b"

NAMED_WRONG = frozenset(
    {
        errno.EACCES,
        errno.EINVAL,
        errno.EISDIR,
        errno.ELOOP,
        errno.ENAMETOOLONG,
        errno.ENOENT,
        errno.ENOTDIR,
        errno.ENXIO,
        errno.EPERM,
    }
)
"""Numbers of errors of reading for which the path that was given is to blame. All others may pass."""


def check_file(path: Path | str, may_be_empty: bool = False) -> Path:
    """Returns ``path`` as a Path if it names a file that is not empty.

    Args:
        path: the file to check.
        may_be_empty: whether an empty file is one, too.

    Raises:
        DataError: the file is missing, empty, or not a file.
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise DataError(f"{path}: is a directory; name a data file in it")
        if not path.exists():
            raise DataError(f"{path}: no such file")
        # Pipes and devices have size 0 but can be read; only a plain file can be known to be empty.
        if not may_be_empty and path.is_file() and path.stat().st_size == 0:
            raise DataError(f"{path}: the file is empty")
    except OSError as error:
        raise read_error(path, error) from error
    return path


@contextmanager
def open_text(path: Path) -> Iterator[DecodedText]:
    """Opens a UTF-8 file for reading; gzip is recognised by its first two bytes, not by the name.

    Args:
        path: the file to open.

    Yields:
        The decoded text; a byte-order mark is dropped. Its ``error`` is to be raised in the block.

    Raises:
        DataError: the file can't be read, is damaged gzip, or is not UTF-8 text.
    """
    check_file(path)
    with read_errors_named(path), path.open("rb") as raw, unpacked(raw) as file:
        yield DecodedText(file)  # type: ignore[arg-type] # a plain and a packed file both have `read1`


GZIP_ERRORS = (EOFError, zlib.error, gzip.BadGzipFile)
"""What reading a damaged or cut-off gzip file raises."""


def unpacked(raw: BinaryIO) -> BinaryIO:
    """What a file that is open at its beginning holds, which gzip may have packed."""
    packed = raw.peek(len(GZIP_MAGIC)).startswith(GZIP_MAGIC)  # type: ignore[attr-defined] # open gives a buffer
    return gzip.GzipFile(fileobj=raw) if packed else raw  # type: ignore[return-value] # it reads as any file


@contextmanager
def read_errors_named(path: Path, was_read: bool = False) -> Iterator[None]:
    """Have errors of reading say which file is wrong and how.

    Args:
        path: what is read.
        was_read: whether it could be read before, so that its path is right.

    Raises:
        DataError: the path is wrong, or the file is damaged gzip or not UTF-8 text.
        ReadError: the system failed to read the file.
    """
    try:
        yield
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise DataError(
            f"{path}: is not UTF-8 text (byte 0x{byte:02x}): a binary file or another encoding; UTF-8 is needed"
        ) from error
    except GZIP_ERRORS as error:
        raise DataError(f"{path}: damaged or cut-off gzip file: {error}") from error
    except OSError as error:
        raise read_error(path, error, was_read) from error


def read_error(path: Path, error: OSError, was_read: bool = False) -> DataError:
    """What is told of a file that the system did not read: a ``ReadError`` where another try may do.

    Args:
        path: of the file.
        error: what the system said.
        was_read: whether it could be read before. It is away then, and will be back.
    """
    passes = error.errno is not None and (was_read or error.errno not in NAMED_WRONG)
    kind = ReadError if passes else DataError
    return kind(f"{path}: can't be read: {error.strerror or error}")
