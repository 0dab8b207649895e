"""How far a run over large files is: a bar if standard error is a terminal, lines for logs if it is not.

The number of rows is not known before the end, so what is left is told by the bytes of the input.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from blockskim.cli import progress
from blockskim.cli.progress import duration, plain_lines, progress_console

if TYPE_CHECKING:
    from blockskim.scaling.bulk import BulkProgress

Tell = Callable[["BulkProgress"], None]


@contextmanager
def bulk_progress(quiet: bool, start: str) -> Iterator[Tell | None]:
    """A function that shows how far a run is; None if ``quiet``.

    Args:
        quiet: show nothing.
        start: what is done, for the first line where standard error is no terminal.
    """
    if quiet:
        yield None
        return
    lines = plain_lines(quiet)
    began = told = progress.CLOCK()
    if lines is not None:
        lines.print(start)

        def tell(state: "BulkProgress") -> None:
            nonlocal told
            now = progress.CLOCK()
            if now - told >= progress.EVERY:
                told = now
                lines.print(", ".join((*counted(state), *pace(state, now - began))))

        yield tell
        return
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    columns = (BarColumn(), TaskProgressColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=progress_console(), transient=True) as bar:
        task = bar.add_task(start, total=None)

        def draw(state: "BulkProgress") -> None:
            seconds = progress.CLOCK() - began
            text = ", ".join((counted(state)[0], *pace(state, seconds)))
            bar.update(task, completed=state.num_bytes, total=state.total_bytes, description=text)

        yield draw


def counted(state: "BulkProgress") -> tuple[str, str]:
    """Rows that are done, and the share of the input."""
    wrong = f" ({state.errors:,} wrong)" if state.errors else ""
    return f"{state.rows:,} rows{wrong}", f"{state.num_bytes / max(1, state.total_bytes):.0%} of the input"


def pace(state: "BulkProgress", seconds: float) -> Iterator[str]:
    """Rows a second and time left, for what this run did in so many seconds."""
    rows, done = state.rows - state.rows_before, state.num_bytes - state.bytes_before
    if rows > 0 and seconds > 0:
        yield f"{rows / seconds:.3g} rows/s"
    if done > 0 and seconds > 0:
        yield f"{duration((state.total_bytes - state.num_bytes) / done * seconds)} left"
