"""The ``blockskim`` command as a process: its streams, what becomes of errors, and its exit code.

Little is imported here, and the commands only in ``run``, so that an interrupt in the first moments is no traceback.
"""

import errno
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress

from blockskim.cli.launcher import is_first_process
from blockskim.cli.streams import (
    STANDARD_OUTPUT,
    discard,
    occupy_standard_files,
    replace_closed_streams,
)
from blockskim.errors import DISK_FAULTS, BlockSkimError, ConfigError
from blockskim.extras import torch_needed

INTERRUPTED = 130

LONGEST_LINE = 1000
"""Characters of a message; what was given on the command line, or stands in a file, may be of any length."""


def main() -> None:
    """Run the command line and leave the process with its exit code."""
    threading.excepthook = tell_of_thread
    try:
        occupy_standard_files()
        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        # While the code was worked out: there is nothing more to say.
        code = INTERRUPTED
    sys.exit(code)


def tell_of_thread(failed: threading.ExceptHookArgs) -> None:
    """Show the traceback of a thread that died, unless a disk is to blame, of which the command tells on a line.

    TensorBoard writes in a thread.
    """
    error = failed.exc_value
    if not (isinstance(error, OSError) and error.errno in DISK_FAULTS):
        threading.__excepthook__(failed)


def app(arguments: Sequence[str]) -> None:
    """Run a command; it leaves by SystemExit where it does not end well."""
    from blockskim.cli.commands import app as commands

    commands(args=list(arguments), prog_name="blockskim")


def run(arguments: Sequence[str]) -> int:
    """Run the command line.

    Returns:
        0; 1 for data or a model that can't be used, or a file that can't be written; 2 for options that can't be; 130
        when interrupted. Errors that are not the user's pass through, with their traceback.
    """
    closed = replace_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        # A terminal that can't show a character gets a substitute, not a traceback.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        with torch_needed():
            app(list(arguments))
        code = 0
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else int(left.code is not None)
    except KeyboardInterrupt:
        code = INTERRUPTED
    except BlockSkimError as error:
        code = 2 if isinstance(error, ConfigError) else 1
        _complain(str(error))
    except OSError as error:
        if not _is_users_fault(error):
            raise
        code = 1
        if error.filename is not None:
            _complain(f"{error.filename}: {error.strerror}")
            if error.filename == STANDARD_OUTPUT:
                discard(sys.stdout)
        elif _flush(0) == 0:
            # Every writer names its file, so this is of something that is read, or of a stream of another kind.
            _complain(f"{error.strerror}")
    except (MemoryError, RuntimeError) as error:
        if not _lacks_memory(error):
            raise
        code = 1
        _complain("there is not enough memory; smaller batches (--batch-size), shorter windows or a smaller model help")
    if code == INTERRUPTED:
        _complain("interrupted")
    if closed is not None and closed.lost and code == 0:
        code = 1
        _complain(f"{STANDARD_OUTPUT} is closed; what was printed is lost")
    code = _flush(code)
    try:
        sys.stderr.flush()
    except OSError:
        discard(sys.stderr)
    return code


# What a path can be blamed for.
_USERS_FAULT = {
    errno.EACCES,
    errno.EEXIST,
    errno.EISDIR,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.ENOTEMPTY,
    errno.EPERM,
    errno.EROFS,
}


# What PyTorch says on a CPU.
_NO_MEMORY = ("can't allocate memory", "not enough memory")


def _is_users_fault(error: OSError) -> bool:
    """Whether a path or the disk can be blamed for an error."""
    return error.errno in DISK_FAULTS or (error.filename is not None and error.errno in _USERS_FAULT)


def _lacks_memory(error: BaseException) -> bool:
    """Whether memory ran out; PyTorch, which need not be imported by now, has errors of its own for that."""
    said = isinstance(error, RuntimeError) and any(words in str(error) for words in _NO_MEMORY)
    return said or isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"


def _complain(message: str) -> None:
    if not is_first_process():
        return  # The first one says the same.
    from blockskim.cli.output import printable

    # Names and values from files may hold what steers a terminal.
    line = printable(message)
    if len(line) > LONGEST_LINE:
        line = f"{line[:LONGEST_LINE]}…"
    # There may be no room for it either.
    with suppress(OSError):
        print(f"error: {line}", file=sys.stderr, flush=True)


def _flush(code: int) -> int:
    """Write out what is buffered; a reader that went away is no error to report."""
    try:
        sys.stdout.flush()
    except OSError as error:
        # Python flushes once more on its way out, which must not fail again.
        discard(sys.stdout)
        if not isinstance(error, BrokenPipeError):
            _complain(f"{STANDARD_OUTPUT}: {error.strerror}")
        return code or 1
    return code
