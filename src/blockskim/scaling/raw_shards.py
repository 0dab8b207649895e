"""The rows of all input files, cut into numbered shards that are the same in every run."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from blockskim.errors import DataError, ReadError
from blockskim.scaling.input_files import READERS
from blockskim.scaling.rows import Columns, InputFile, RawRow, num_bytes

MOST_BYTES = 8_000_000
"""A shard ends with the row that brings it to so many bytes, however few rows it has.

Files that a column names are not counted: they may change while a run goes on, and lie where others read them.
"""


@dataclass(frozen=True, slots=True)
class RawShard:
    """Rows that are answered and written together.

    Attributes:
        number: from 0.
        first: number of its first row among all, from 0.
        rows: the rows.
        span: bytes of the input that were read before it and with it.
        digest: of its rows.
    """

    number: int
    first: int
    rows: Sequence[RawRow]
    span: tuple[int, int]
    digest: str


def raw_shards(
    files: Sequence[InputFile],
    columns: Columns,
    shard_rows: int,
    row_limit: int,
    damaged: Callable[[DataError], None],
) -> Iterator[RawShard]:
    """Cut the rows of files into shards. Memory holds one at a time.

    Args:
        files: what to read, in this order; a shard may hold the end of one and the beginning of another.
        columns: which are needed.
        shard_rows: rows of a shard, but for those of many bytes and the last.
        row_limit: bytes that a row may have.
        damaged: told of a file that can't be read to its end; reading goes on with the next one.
    """
    rows: list[RawRow] = []
    digest = hashlib.blake2b(digest_size=16)
    number = first = size = start = place = 0
    for row, place in _all_rows(files, columns, row_limit, damaged):
        rows.append(row)
        size += _size(row, files[row.file])
        digest.update(repr(row[1:]).encode("utf-8", "surrogatepass"))
        if len(rows) == shard_rows or size >= MOST_BYTES:
            yield RawShard(number, first, rows, (start, place), digest.hexdigest())
            number, first, start = number + 1, first + len(rows), place
            rows, size, digest = [], 0, hashlib.blake2b(digest_size=16)
    if rows:
        yield RawShard(number, first, rows, (start, place), digest.hexdigest())


def _all_rows(
    files: Sequence[InputFile], columns: Columns, row_limit: int, damaged: Callable[[DataError], None]
) -> Iterator[tuple[RawRow, int]]:
    """Every row, and the bytes of all files that were read up to it."""
    before = 0
    for number, file in enumerate(files):
        try:
            # A file of nothing is one text, and no Parquet at all; elsewhere it has no rows.
            if file.size or file.format in ("text", "parquet"):
                for row, position in READERS[file.format](file, number, columns, row_limit):
                    yield row, before + min(position, file.size)
        # What a passing fault left out would be missing for good: shards are counted by rows.
        except ReadError:
            raise
        except DataError as error:
            damaged(error)
        before += file.size


def _size(row: RawRow, file: InputFile) -> int:
    if file.format == "text":
        return file.size
    return 0 if row.content is None else num_bytes(row.content)
