"""The subcommands of ``blockskim``.

Nothing here or in the modules of the commands imports torch or transformers before a command has checked its
arguments: help and usage errors come at once.
"""

from typing import Annotated

import typer

from blockskim import __version__
from blockskim.cli.answer import answer
from blockskim.cli.average import average
from blockskim.cli.benchmark import benchmark
from blockskim.cli.bulk import bulk
from blockskim.cli.calibrate import calibrate
from blockskim.cli.calibrate_confidence import calibrate_confidence
from blockskim.cli.calibrate_evidence import calibrate_evidence
from blockskim.cli.evaluate import evaluate
from blockskim.cli.export import export
from blockskim.cli.highlight import highlight
from blockskim.cli.info import info
from blockskim.cli.make_student import make_student
from blockskim.cli.predict import predict
from blockskim.cli.prune import prune
from blockskim.cli.prune_heads import prune_heads
from blockskim.cli.rank import rank
from blockskim.cli.serve import serve
from blockskim.cli.serve_environment import ServeCommand
from blockskim.cli.sweep import sweep
from blockskim.cli.train import train
from blockskim.cli.usage_errors import NamingGroup

app = typer.Typer(cls=NamingGroup, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
# A command is its file, an import and a line here.
for _command in (
    answer,
    highlight,
    prune,
    rank,
    train,
    evaluate,
    predict,
    benchmark,
    calibrate,
    calibrate_confidence,
    calibrate_evidence,
    sweep,
    make_student,
    prune_heads,
    average,
    export,
    serve,
    info,
):
    # A service is set up by its environment as well: BLOCKSKIM_PORT stands for --port.
    _context = {"auto_envvar_prefix": "BLOCKSKIM"} if _command is serve else None
    _kind = ServeCommand if _command is serve else None
    app.command(_command.__name__.replace("_", "-"), cls=_kind, context_settings=_context)(_command)
app.add_typer(bulk, name="bulk")


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
