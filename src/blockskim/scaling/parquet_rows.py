"""Rows of Parquet files, a few at a time."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from blockskim.checks import listing
from blockskim.data.files import read_error
from blockskim.errors import BlockSkimError, DataError
from blockskim.extras import load_pyarrow
from blockskim.scaling.arrow_values import column_values
from blockskim.scaling.json_lines import too_large
from blockskim.scaling.rows import Columns, InputFile, RawRow, num_bytes

DECODED = 8
"""Rows that are decoded at a time, as nothing tells how large the next ones are."""

TOGETHER = 256
"""Rows that become values of Python at a time, where they are small."""

TOGETHER_BYTES = 1 << 20
"""With so many bytes they are no longer small."""

BUFFER = 1 << 20
"""Bytes of a column that are read at a time."""


def parquet_rows(file: InputFile, number: int, columns: Columns, limit: int) -> Iterator[tuple[RawRow, int]]:
    """The rows of a file: the columns that are needed, by name.

    Args:
        file: the file.
        number: of the file among all.
        columns: which are needed.
        limit: bytes that the values of a row may have.

    Yields:
        A row, and the bytes of the file that were read so far: as large a share of it as of its rows.

    Raises:
        DataError: the file can't be read, is damaged or lacks a column.
        ConfigError: pyarrow is not installed.
    """
    with open_parquet(file.path) as parquet:
        names = parquet.schema_arrow.names
        needed = list(columns.needed())
        for name in needed:
            if names.count(name) != 1:
                has = f"has columns called {name!r} twice" if name in names else f"has no column {name!r}"
                raise DataError(f"{file.path}: {has}; its columns are {listing(names)}")
        count = parquet.metadata.num_rows
        place = 0
        for batch in _batches(parquet, needed, limit):
            for content, size in _rows(batch, needed, limit):
                place += 1
                error = too_large(size, limit) if content is None else ""
                yield RawRow(number, place, content, error), file.size * place // count


def _batches(parquet: Any, needed: Sequence[str], limit: int) -> Iterator[Any]:
    """All rows of a file: many together where they are small, and else one by one."""
    pyarrow, _ = load_pyarrow()
    decoded = parquet.iter_batches(batch_size=DECODED, columns=needed)
    while held := _together(decoded):
        size = sum(batch.get_total_buffer_size() for batch in held)
        if size <= min(limit, DECODED * TOGETHER_BYTES):
            yield pyarrow.concat_batches(held)
        else:
            yield from (batch.slice(place, 1) for batch in held for place in range(batch.num_rows))
        # These are gone before the next ones are decoded.
        held.clear()


def _together(decoded: Iterator[Any]) -> list[Any]:
    held: list[Any] = []
    size = 0
    for batch in islice(decoded, TOGETHER // DECODED):
        held.append(batch)
        size += batch.get_total_buffer_size()
        if size >= TOGETHER_BYTES:
            break
    return held


def _rows(batch: Any, needed: Sequence[str], limit: int) -> Iterator[tuple[dict[str, Any] | None, int]]:
    """The values of each row by column, None if they are too large, and their bytes."""
    if batch.num_rows == 1 and (texts := _text_sizes(batch)) and sum(texts.values()) > limit:
        # Nobody needs such texts in a second copy.
        others = [column_values(batch.column(name)) for name in needed if name not in texts]
        yield None, sum(texts.values()) + num_bytes(others)
        return
    for row in zip(*(column_values(batch.column(name)) for name in needed), strict=True):
        size = num_bytes(row)
        yield (None if size > limit else dict(zip(needed, row, strict=True))), size


def _text_sizes(batch: Any) -> dict[str, int]:
    """The bytes of texts, and of what else is bytes, in a batch of one row, by column."""
    pyarrow, _ = load_pyarrow()
    values = {name: batch.column(name)[0] for name in batch.schema.names}
    return {
        name: value.as_buffer().size
        for name, value in values.items()
        if isinstance(value, pyarrow.BinaryScalar) and value.is_valid
    }


@contextmanager
def open_parquet(path: Path) -> Iterator[Any]:
    """An input file, of which columns are read piece by piece. The beginning of the run read it for its fingerprint.

    Raises:
        DataError: it is damaged.
        ReadError: the system failed to read it, or it is away.
        MemoryError: there is too little of it.
        ConfigError: pyarrow is not installed.
    """
    pyarrow, pq = load_pyarrow()
    try:
        with pq.ParquetFile(path, pre_buffer=False, buffer_size=BUFFER) as parquet:
            yield parquet
    except (BlockSkimError, MemoryError):
        raise
    except OSError as error:
        # Of damage pyarrow tells by this class, too, without a number.
        if error.errno is not None:
            raise read_error(path, error, was_read=True) from error
        raise _damaged(path, error) from error
    # It raises errors of its own and of the system, and others where a name is no Unicode.
    except (pyarrow.ArrowException, ValueError, OverflowError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(f"{path}: can't be read as Parquet: {' '.join(str(error).split())}")
