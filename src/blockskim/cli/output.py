"""How the commands print: JSON on standard output, and text for people that can't steer their terminal."""

import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console

_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def print_json(value: Any) -> None:
    """One line of JSON; numbers that don't exist are null."""
    text = json.dumps(_finite(value), ensure_ascii=not _writes_unicode(), allow_nan=False)
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def console() -> Console:
    """Where people read; never wraps what goes into a file or pipe."""
    return Console(highlight=False, soft_wrap=not sys.stdout.isatty())


def progress_console() -> Console:
    """Where progress is drawn."""
    return Console(stderr=True, highlight=False)


class WindowBar:
    """A bar that counts windows, or nothing at all."""

    def __init__(self, bar: Any = None, total: int | None = None) -> None:
        """Count on a progress bar of rich; without one, show nothing."""
        self.bar = bar
        self.task = None if bar is None else bar.add_task("windows", total=total)

    def advance(self, done: int) -> None:
        """Add to the number of windows that are done."""
        if self.bar is not None:
            self.bar.advance(self.task, done)

    def update(self, done: int, total: int) -> None:
        """Set the number of windows that are done, and that of all."""
        if self.bar is not None:
            self.bar.update(self.task, completed=done, total=total)


@contextmanager
def window_progress(quiet: bool, total: int | None = None) -> Iterator[WindowBar]:
    """A bar on standard error if that is a terminal, unless ``quiet``."""
    out = progress_console()
    if quiet or not out.is_terminal:
        yield WindowBar()
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("windows"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=out, transient=True) as bar:
        yield WindowBar(bar, total)


@contextmanager
def status_line(quiet: bool) -> Iterator[Callable[[str], None]]:
    """A function that shows, on a line of standard error, what is going on; it does nothing outside of a terminal."""
    out = progress_console()
    if quiet or not out.is_terminal:
        yield lambda message: None
        return
    with out.status("") as status:
        yield status.update


def printable(text: str) -> str:
    """Text of a document without what would steer the terminal, on one line."""
    return " ".join(_CONTROLS.sub("\ufffd", " ".join(text.split())).split())


def _writes_unicode() -> bool:
    return (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "") == "utf8"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and (value != value or abs(value) == float("inf")) else value
