"""The ``blockskim`` command: its subcommands, and what becomes of errors.

Nothing here or in the modules of the commands imports torch or transformers before a command has checked its
arguments: help and usage errors come at once.
"""

import errno
import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from blockskim import __version__
from blockskim.cli.answer import answer
from blockskim.cli.average import average
from blockskim.cli.benchmark import benchmark
from blockskim.cli.calibrate import calibrate
from blockskim.cli.evaluate import evaluate
from blockskim.cli.info import info
from blockskim.cli.make_student import make_student
from blockskim.cli.predict import predict
from blockskim.cli.prune_heads import prune_heads
from blockskim.cli.sweep import sweep
from blockskim.cli.train import train
from blockskim.errors import BlockSkimError, ConfigError

INTERRUPTED = 130
# What a path or a full disk can be blamed for.
_USERS_FAULT = {
    errno.EACCES,
    errno.EISDIR,
    errno.ENAMETOOLONG,
    errno.ENOENT,
    errno.ENOSPC,
    errno.ENOTDIR,
    errno.EPERM,
    errno.EROFS,
}

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
# A command is one line here and one file.
app.command("answer")(answer)
app.command("train")(train)
app.command("evaluate")(evaluate)
app.command("predict")(predict)
app.command("benchmark")(benchmark)
app.command("calibrate")(calibrate)
app.command("sweep")(sweep)
app.command("make-student")(make_student)
app.command("prune-heads")(prune_heads)
app.command("average")(average)
app.command("info")(info)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"blockskim {__version__}")
        raise typer.Exit


@app.callback()
def top(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Extractive question answering that skips what does not matter."""


def main() -> None:
    """Run the command line and leave the process with its exit code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run the command line.

    Returns:
        0; 1 for data or a model that can't be used; 2 for options that can't be; 130 when interrupted. Errors that
        are not the user's pass through, with their traceback.
    """
    for stream in (sys.stdout, sys.stderr):
        # A terminal that can't show a character gets a substitute, not a traceback.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        app(args=list(arguments), prog_name="blockskim")
        code = 0
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else int(left.code is not None)
    except KeyboardInterrupt:
        code = INTERRUPTED
    except BlockSkimError as error:
        code = 2 if isinstance(error, ConfigError) else 1
        _complain(str(error))
    except OSError as error:
        if error.errno not in _USERS_FAULT or error.filename is None:
            raise
        code = 1
        _complain(f"{error.filename}: {error.strerror}")
    if code == INTERRUPTED:
        _complain("interrupted")
    return _flush(code)


def _complain(message: str) -> None:
    typer.echo(f"error: {' '.join(message.split())}", err=True)


def _flush(code: int) -> int:
    """Write out what is buffered; a reader that went away is no error to report."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes once more on its way out, which must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code
