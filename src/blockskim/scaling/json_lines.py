"""Rows of JSON lines: an object a line."""

from collections.abc import Iterator

from blockskim.scaling.line_reader import open_lines
from blockskim.scaling.rows import Columns, InputFile, RawRow


def json_line_rows(file: InputFile, number: int, columns: Columns, limit: int) -> Iterator[tuple[RawRow, int]]:
    """The rows of a file, not decoded yet; blank lines are none.

    Args:
        file: the file, plain or gzip.
        number: of the file among all.
        columns: not looked at here.
        limit: bytes that a row may have.

    Yields:
        A row, and the bytes of the file that were read so far.

    Raises:
        DataError: the file can't be read, or is damaged gzip.
    """
    with open_lines(file.path, limit) as lines:
        for line in lines:
            if not line.is_whole:
                size = len(line.content) + sum(map(len, lines.rest()))
                yield RawRow(number, line.number, None, too_large(size, limit)), lines.position()
            elif not line.content.isspace():
                yield RawRow(number, line.number, line.content), lines.position()


def too_large(size: int, limit: int) -> str:
    """What is said of a row that is larger than it may be."""
    return f"the row has {size:,} bytes, and row_limit is {limit:,} (--max-row-bytes)"
