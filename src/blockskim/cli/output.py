"""How the commands print: JSON on standard output, and text for people that can't steer their terminal."""

import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import Any

from rich.console import Console

from blockskim.atomic import write_errors_named
from blockskim.cli.streams import STANDARD_OUTPUT

NO_LIMIT = 1_000_000
"""Characters in a line where nobody looks at a screen."""

_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_LINE_ENDS = re.compile("\r\n?|[\v\f\x85]")
_SURROGATES = re.compile("[\ud800-\udfff]")


def print_json(value: Any) -> None:
    """One line of JSON; numbers that don't exist are null."""
    text = json.dumps(_finite(value), ensure_ascii=not _writes_unicode(), allow_nan=False)
    # Halves of pairs, of which names of files that are not UTF-8 have some, can only be escaped.
    text = _SURROGATES.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
    with write_errors_named(Path(STANDARD_OUTPUT)):
        sys.stdout.write(text + "\n")
        sys.stdout.flush()


def console() -> Console:
    """Where people read; never wraps or cuts what goes into a file or pipe, and shows text as it stands.

    Brackets in it are no markup.
    """
    screen = sys.stdout.isatty()
    return _StandardOutput(
        highlight=False, markup=False, emoji=False, soft_wrap=not screen, width=None if screen else NO_LIMIT
    )


class _StandardOutput(Console):
    """A console on standard output whose errors say that it is that."""

    def print(self, *objects: Any, **options: Any) -> None:
        """Print as any console."""
        with write_errors_named(Path(STANDARD_OUTPUT)):
            super().print(*objects, **options)


@contextmanager
def printing_beside(path: Path | None) -> Iterator[None]:
    """While it lasts, what is printed goes to standard error if this file, which a command writes, is standard output.

    Nothing else is to be in the file then.
    """
    taken = False
    # What stands for a stream, in a test or a notebook, may have no file.
    with suppress(OSError, ValueError):
        taken = path is not None and os.path.samestat(path.stat(), os.fstat(sys.stdout.fileno()))
    if not taken:
        yield
        return
    with redirect_stdout(sys.stderr):
        yield


@contextmanager
def printing_and_writing(path: Path | None, write: Callable[[Path], None]) -> Iterator[None]:
    """While it lasts a command prints; behind that it writes a file, if one is wanted, whatever became of the printing.

    Neither is lost should there be no room for the other, or nobody who reads it.
    """
    try:
        with printing_beside(path):
            yield
    finally:
        if path is not None:
            write(path)


def print_text(text: str) -> None:
    """A text as it stands; on a terminal without what would steer that."""
    if sys.stdout.isatty():
        text = _CONTROLS.sub("\ufffd", _LINE_ENDS.sub("\n", text))
    with write_errors_named(Path(STANDARD_OUTPUT)):
        sys.stdout.write(text + "\n")
        sys.stdout.flush()


def printable(text: str) -> str:
    """Text of a document without what would steer the terminal, on one line."""
    return " ".join(_CONTROLS.sub("\ufffd", " ".join(text.split())).split())


def inline(text: str) -> str:
    """Printable text that keeps a blank at either end."""
    shown = printable(text)
    return (" " if text[:1].isspace() else "") + shown + (" " if shown and text[-1:].isspace() else "")


def _writes_unicode() -> bool:
    return (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "") == "utf8"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and (value != value or abs(value) == float("inf")) else value
