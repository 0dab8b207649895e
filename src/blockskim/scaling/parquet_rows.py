"""Rows of Parquet files, a few at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from blockskim.checks import listing
from blockskim.data.files import read_error
from blockskim.errors import BlockSkimError, DataError
from blockskim.extras import load_pyarrow
from blockskim.scaling.arrow_values import column_values
from blockskim.scaling.json_lines import too_large
from blockskim.scaling.rows import Columns, InputFile, RawRow, num_bytes

BATCH = 256
"""Rows that are decoded at a time."""

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
        for batch in parquet.iter_batches(batch_size=BATCH, columns=needed):
            values = [column_values(batch.column(name)) for name in needed]
            for row in zip(*values, strict=True):
                place += 1
                size = num_bytes(row)
                if size > limit:
                    raw = RawRow(number, place, None, too_large(size, limit))
                else:
                    raw = RawRow(number, place, dict(zip(needed, row, strict=True)))
                yield raw, file.size * place // count


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
