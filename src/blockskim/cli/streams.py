"""Standard streams that are closed or full."""

import io
import os
import sys
from contextlib import suppress
from typing import Any, TextIO

STANDARD_OUTPUT = "standard output"
"""What errors of printing name."""


def occupy_standard_files() -> None:
    """Open the null device in place of standard files that are closed.

    Otherwise the next file that is opened would get the number of standard output, and what libraries print would go
    into it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # The lowest number that is free is taken.
            os.open(os.devnull, os.O_RDWR)


class Lost(io.RawIOBase):
    """Stands for a stream that the process does not have.

    Attributes:
        lost: whether something was written to it.
    """

    lost = False

    def writable(self) -> bool:
        """It takes anything."""
        return True

    def write(self, data: Any) -> int:
        """Note that something was lost."""
        self.lost = True
        return len(data)


def replace_closed_streams() -> Lost | None:
    """Make streams to print to where the process has none, for which Python has None; return that of standard output.

    Returns:
        None where standard output is open.
    """
    streams: Any = sys
    if sys.stderr is None:
        streams.stderr = io.TextIOWrapper(Lost(), encoding="utf-8", write_through=True)
    if sys.stdout is not None:
        return None
    lost = Lost()
    streams.stdout = io.TextIOWrapper(lost, encoding="utf-8", write_through=True)
    return lost


def discard(stream: TextIO) -> None:
    """Have what a stream still holds, and all that follows, go nowhere."""
    # What stands for a stream, in a test or a notebook, may have no file.
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
