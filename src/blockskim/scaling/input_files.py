"""The input files of a run: which they are, in which format, and what tells that one has changed."""

import hashlib
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

from blockskim.checks import listing
from blockskim.data.files import GZIP_ERRORS, read_errors_named, unpacked
from blockskim.errors import ConfigError, DataError
from blockskim.scaling.csv_rows import csv_rows
from blockskim.scaling.json_lines import json_line_rows
from blockskim.scaling.parquet_rows import parquet_rows
from blockskim.scaling.rows import Columns, InputFile, RawRow
from blockskim.scaling.text_files import text_file_rows

logger = logging.getLogger(__name__)

RowReader: TypeAlias = Callable[[InputFile, int, Columns, int], Iterator[tuple[RawRow, int]]]

READERS: dict[str, RowReader] = {
    "jsonl": json_line_rows,
    "csv": csv_rows,
    "parquet": parquet_rows,
    "text": text_file_rows,
}
"""What reads a format."""

SUFFIXES = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".txt": "text",
    ".md": "text",
}
"""What a name tells of a format; ".gz" behind it is no matter."""

PARQUET_MAGIC = b"PAR1"
SAMPLES = 64
SAMPLE = 1 << 16
"""Bytes of each sample of a file, by which it is known again."""


def find_inputs(
    paths: Iterable[Path | str], format: str | None = None, delimiter: str | None = None
) -> list[InputFile]:
    """The files to read, in the order of the paths.

    Args:
        paths: files, and folders of which all files are read in the order of their names. What begins with a dot or an
            underscore is left out there, and so are links to folders, of which a warning tells.
        format: of all files; told by content and name when None.
        delimiter: between the fields of CSV; a tab in files called ".tsv" and else a comma when None.

    Raises:
        DataError: one is missing, can't be read or is no file, a link leads nowhere, a name is no UTF-8 text, or the
            format can't be told.
        ConfigError: the format is unknown, or the delimiter impossible.
    """
    if format is not None and format not in READERS:
        raise ConfigError(f"unknown format {format!r}; known are {listing(READERS)}")
    if delimiter is not None and (len(delimiter) != 1 or delimiter in '"\r\n'):
        raise ConfigError(f"the delimiter is {delimiter!r}; it must be one character, and no quote or line end")
    files = []
    for path in (file for given in paths for file in _files_of(Path(given))):
        shown = str(path).encode("utf-8", "backslashreplace").decode()
        if shown != str(path):
            raise DataError(f"{shown}: the name is not UTF-8 text, so no output can name it; rename the file")
        with read_errors_named(path):
            size = path.stat().st_size
            known = format or _format_of(path)
        tabs = _suffix(path) == ".tsv"
        files.append(InputFile(path, known, size, delimiter or ("\t" if tabs else ",")))
    if not files:
        raise DataError("there is no file to read in what was named")
    return files


def fingerprint(file: InputFile) -> str:
    """What tells a file from another one of the same size: a digest of samples from its beginning to its end.

    Of a text it is one of everything: its one row is not compared when a run goes on, as other rows are.
    """
    digest = hashlib.sha256(str(file.size).encode())
    with read_errors_named(file.path), file.path.open("rb") as raw:
        step = SAMPLE if file.format == "text" else max(SAMPLE, (file.size - SAMPLE) // (SAMPLES - 1))
        for place in range(0, max(1, file.size), step):
            raw.seek(place)
            digest.update(raw.read(SAMPLE))
        raw.seek(max(0, file.size - SAMPLE))
        digest.update(raw.read(SAMPLE))
    return digest.hexdigest()[:32]


def _files_of(path: Path) -> Iterator[Path]:
    """A file, or the files of a folder and of those in it."""
    if not os.path.lexists(path):
        raise DataError(f"{path}: no such file")
    if path.is_symlink() and not path.exists():
        raise DataError(f"{path}: is a link to {path.readlink()}, which is not there")
    if path.is_file():
        yield path
    elif path.is_dir():
        with read_errors_named(path):
            entries = sorted(entry for entry in path.iterdir() if not entry.name.startswith((".", "_")))
        for entry in entries:
            # A link to a folder may lead back to where it is.
            if entry.is_symlink() and entry.is_dir():
                logger.warning("%s is a link to a folder, which is left out; to read it, name it as an input", entry)
            # What is neither, such as a socket, is no data.
            elif entry.is_file() or entry.is_dir() or entry.is_symlink():
                yield from _files_of(entry)
    else:
        raise DataError(f"{path}: is no file that can be read twice, which going on with a run needs")


def _format_of(path: Path) -> str:
    """The format by the first bytes of a file, or else by its name.

    Raises:
        DataError: neither tells.
    """
    with path.open("rb") as raw:
        if raw.peek(len(PARQUET_MAGIC)).startswith(PARQUET_MAGIC):
            return "parquet"
        by_name = SUFFIXES.get(_suffix(path))
        if by_name in ("csv", "text", "parquet"):
            return by_name
        try:
            start = unpacked(raw).read(SAMPLE).removeprefix(b"\xef\xbb\xbf").lstrip()
        except GZIP_ERRORS:
            if by_name is None:
                raise
            # Told of when it is read, as of any file that ends too early: the others are done.
            return by_name
    if start.startswith(b"["):
        raise DataError(f"{path}: is a JSON list; JSON lines are needed, an object a line")
    if by_name is None and not start.startswith(b"{"):
        raise DataError(f"{path}: its format can't be told; give it (--input-format): {listing(READERS)}")
    return "jsonl"


def _suffix(path: Path) -> str:
    suffixes: Sequence[str] = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] == ".gz":
        suffixes = suffixes[:-1]
    return suffixes[-1] if suffixes else ""
