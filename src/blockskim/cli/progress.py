"""What long commands tell of their progress: a bar if standard error is a terminal, lines for logs if it is not."""

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from rich.console import Console
from rich.text import Text

from blockskim.cli.output import printable

EVERY = 60.0
"""Seconds from one line about a long run to the next, where no terminal shows a bar."""

CLOCK = time.monotonic
"""Gives seconds."""


def progress_console() -> Console:
    """Where progress is drawn."""
    return Console(stderr=True, highlight=False, markup=False, emoji=False)


class PlainLines:
    """Lines about a long run on standard error where it is no terminal: for logs of services, containers and CI.

    What is counted gets a line now and then, with rate and time left.
    """

    def __init__(self, clock: Callable[[], float] | None = None, every: float | None = None) -> None:
        """Tell of what is counted every so many seconds, by a clock that gives seconds."""
        self._clock = clock or CLOCK
        self._every = EVERY if every is None else every
        self.begin("")

    def print(self, line: str) -> None:
        """Write a line at once. A log that can't be written is no reason to end a run."""
        with suppress(OSError):
            sys.stderr.write(f"{printable(line)}\n")
            sys.stderr.flush()

    def begin(self, unit: str, total: int | None = None, done: int = 0) -> None:
        """Start to count anew: ``done`` of ``total``, None where that is not known."""
        self.unit, self.total, self.done, self._first = unit, total, done, done
        self._started = self._told = self._clock()

    def advance(self, more: int, note: str = "") -> None:
        """So many more are done."""
        self.reach(self.done + more, note)

    def reach(self, done: int, note: str = "") -> None:
        """So many are done; ``note`` is told beside, on the line that is written if it is time for one."""
        self.done = done
        now = self._clock()
        if now - self._told >= self._every:
            self._told = now
            self.print(", ".join(part for part in (self._count(), note, *self._pace(now)) if part))

    def end(self) -> None:
        """Tell what was done since ``begin``, and how long it took."""
        self.print(f"{self.done - self._first:,} {self.unit} in {duration(self._clock() - self._started)}")

    def _count(self) -> str:
        return f"{self.done:,}{'' if self.total is None else f' of {self.total:,}'} {self.unit}"

    def _pace(self, now: float) -> Iterator[str]:
        rate = (self.done - self._first) / max(now - self._started, 1e-9)
        if rate > 0:
            yield f"{rate:.3g} {self.unit}/s"
            if self.total is not None:
                yield f"{duration(max(0, self.total - self.done) / rate)} left"


def duration(seconds: float) -> str:
    """A time for people: 45 s, 12 min, 3 h 20 min."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60:,} h {minutes % 60} min"


def plain_lines(quiet: bool) -> PlainLines | None:
    """Lines about a long run, if standard error is no terminal; None if it is one, or ``quiet``."""
    return None if quiet or progress_console().is_terminal else PlainLines()


class WindowBar:
    """A bar that counts windows, or lines that do, or nothing at all."""

    def __init__(self, bar: Any = None, total: int | None = None, lines: PlainLines | None = None) -> None:
        """Count on a progress bar of rich, or by lines; without either, show nothing."""
        self.bar = bar
        self.task = None if bar is None else bar.add_task("windows", total=total)
        self.lines = lines

    def advance(self, done: int) -> None:
        """Add to the number of windows that are done."""
        if self.bar is not None:
            self.bar.advance(self.task, done)
        if self.lines is not None:
            self.lines.advance(done)

    def update(self, done: int, total: int) -> None:
        """Set the number of windows that are done, and that of all."""
        if self.bar is not None:
            self.bar.update(self.task, completed=done, total=total)
        if self.lines is not None:
            if done < self.lines.done:
                # What was read is read once more, and counted anew.
                self.lines.end()
                self.lines.begin("windows")
            self.lines.total = total
            self.lines.reach(done)

    def say(self, line: str) -> None:
        """A line for logs, of something that is finished."""
        if self.lines is not None:
            self.lines.print(line)


@contextmanager
def window_progress(quiet: bool, total: int | None = None, start: str | None = None) -> Iterator[WindowBar]:
    """A bar on standard error if that is a terminal, lines if it is not.

    Args:
        quiet: show nothing.
        total: number of windows.
        start: what is done, for the first line where standard error is no terminal; None for no lines there.
    """
    lines = plain_lines(quiet)
    if quiet or (lines is not None and start is None):
        yield WindowBar()
        return
    if lines is not None:
        lines.print(start or "")
        lines.begin("windows", total)
        yield WindowBar(lines=lines)
        lines.end()
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("windows"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=progress_console(), transient=True) as bar:
        yield WindowBar(bar, total)


@contextmanager
def task_progress(
    quiet: bool, start: str, total_of: Callable[[str], tuple[str, int | None]]
) -> Iterator[Callable[[str, int], None] | None]:
    """A function that counts what is done of one task after the other; None if ``quiet``.

    Args:
        quiet: show nothing.
        start: what is done, for the first line.
        total_of: what is counted in a task, and how many of it there are.
    """
    if quiet:
        yield None
        return
    lines = plain_lines(quiet)
    if lines is None:
        with progress_console().status(Text(start)) as status:
            counts: Counter[str] = Counter()

            def show(task: str, done: int) -> None:
                counts[task] += done
                status.update(Text(f"{task}: {counts[task]:,} {total_of(task)[0]}"))

            yield show
        return
    lines.print(start)
    yield _task_lines(lines, total_of)


def _task_lines(lines: PlainLines, total_of: Callable[[str], tuple[str, int | None]]) -> Callable[[str, int], None]:
    """A function that writes a line when a task begins, when it ends, and now and then."""
    current = ""

    def tell(task: str, done: int) -> None:
        nonlocal current
        if task != current:
            if current:
                lines.end()
            current = task
            lines.print(task)
            lines.begin(*total_of(task))
        lines.advance(done, task)

    return tell


@contextmanager
def status_line(quiet: bool, start: str, unit: str, total: int) -> Iterator[Callable[[str, int], None]]:
    """A function that shows, on a line of standard error, what is going on and counts what was just done.

    Where standard error is no terminal, messages with which nothing was done are written out, others now and then.

    Args:
        quiet: show nothing.
        start: what is done, for the first line where standard error is no terminal.
        unit: what is counted.
        total: how many of it there will be.
    """
    lines = plain_lines(quiet)
    if quiet:
        yield lambda message, done: None
    elif lines is None:
        with progress_console().status("") as status:
            yield lambda message, done: status.update(Text(message))
    else:
        lines.print(start)
        lines.begin(unit, total)
        yield lambda message, done: lines.advance(done, message) if done else lines.print(message)
        lines.end()
