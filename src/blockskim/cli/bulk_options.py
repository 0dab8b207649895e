"""Options that all jobs over large files share: what is read, from which columns, and how it is written."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from blockskim.checks import MOST_ROW_BYTES
from blockskim.cli import options
from blockskim.cli.usage_errors import NamingGroup


class InputFormat(StrEnum):
    """How rows lie in the input."""

    JSONL = "jsonl"
    CSV = "csv"
    PARQUET = "parquet"
    TEXT = "text"


class OutputFormat(StrEnum):
    """How rows are written."""

    JSONL = "jsonl"
    PARQUET = "parquet"


class OnError(StrEnum):
    """What becomes of a row that is wrong."""

    RECORD = "record"
    STOP = "stop"


MOST_WORKERS = 256

Inputs = Annotated[
    list[Path],
    typer.Argument(metavar="IN", help="Files to read, plain or gzip, or folders of them.", show_default=False),
]
Output = Annotated[
    Path,
    typer.Option("--output", parser=options.output_path, metavar="DIR", help="Directory of the output, in shards."),
]
Question = Annotated[
    str | None,
    typer.Option("--question", "-q", metavar="QUESTION", help="One question for all rows.  [default: one a row]"),
]
QuestionColumn = Annotated[
    str | None,
    typer.Option("--question-column", metavar="NAME", help="Column of the questions.  [default: question]"),
]
ContextColumn = Annotated[
    str | None, typer.Option("--context-column", metavar="NAME", help="Column of the texts.  [default: context]")
]
FileColumn = Annotated[
    str | None,
    typer.Option("--file-column", metavar="NAME", help="Column that names a text file to read in place of a text."),
]
FileRoot = Annotated[
    str | None,
    typer.Option(
        "--file-root",
        metavar="DIR",
        help="Folder in which the text files of --file-column lie.  [default: that of the input file]",
    ),
]
Keep = Annotated[
    list[str] | None,
    typer.Option("--keep", metavar="NAME", help="Column to copy into the output; may be repeated."),
]
Format = Annotated[
    InputFormat | None,
    typer.Option("--input-format", help="Format of all files.  [default: told by content and name]"),
]
Delimiter = Annotated[
    str | None,
    typer.Option("--delimiter", metavar="C", help="Between fields of CSV.  [default: a tab in .tsv, else a comma]"),
]
MaxRowBytes = Annotated[
    int, typer.Option("--max-row-bytes", min=1, max=MOST_ROW_BYTES, metavar="N", help="Larger rows are wrong.")
]
WrittenFormat = Annotated[OutputFormat, typer.Option("--output-format", help="Format of the output.")]
ShardRows = Annotated[
    int,
    typer.Option(
        "--shard-rows",
        min=1,
        metavar="N",
        help="Rows in each file of the output; of a killed run, each worker loses so many at most.",
    ),
]
Workers = Annotated[
    int,
    typer.Option(
        "--workers", min=1, max=MOST_WORKERS, metavar="N", help="Processes with a model each; threads are shared out."
    ),
]
RayAddress = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="[ADDRESS]",
        help="Run the workers as actors on a Ray cluster: this one, or else one that Ray finds or starts here.",
    ),
]
WrongRows = Annotated[
    OnError, typer.Option("--on-error", help="record: tell of a wrong row in its place; stop: end at the first one.")
]


@dataclass(frozen=True, slots=True)
class InputRows:
    """What is read of the input."""

    question: Question = None
    question_column: QuestionColumn = None
    context_column: ContextColumn = None
    file_column: FileColumn = None
    file_root: FileRoot = None
    keep: Keep = None
    input_format: Format = None
    delimiter: Delimiter = None
    max_row_bytes: MaxRowBytes = 10_000_000


@dataclass(frozen=True, slots=True)
class Writing:
    """How the output is made."""

    output_format: WrittenFormat = OutputFormat.JSONL
    shard_rows: ShardRows = 1000
    workers: Workers = 1
    on_error: WrongRows = OnError.RECORD
    ray: RayAddress = None


class BulkGroup(NamingGroup):
    """The jobs, of which each takes ``--ray`` with an address or without one."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the command line."""
        return super().parse_args(ctx, with_ray_address(args))


def with_ray_address(arguments: list[str]) -> list[str]:
    """The arguments, with an empty address behind a ``--ray`` that has none."""
    given = []
    for place, argument in enumerate(arguments):
        following = arguments[place + 1 : place + 2]
        has_none = argument == "--ray" and (not following or following[0].startswith("-"))
        given.append("--ray=" if has_none else argument)
    return given


def check_rows(rows: InputRows) -> None:
    """Refuse options that exclude each other.

    Raises:
        BadParameter: two of them do.
    """
    if rows.question is not None and not rows.question.strip():
        raise typer.BadParameter("the question is empty", param_hint="--question")
    if rows.question is not None and rows.question_column is not None:
        raise typer.BadParameter("--question is one for all rows, so it can't go with --question-column")
    if rows.context_column is not None and rows.file_column is not None:
        raise typer.BadParameter("--context-column and --file-column both say what to read; give one of them")
    if rows.file_root is not None and rows.file_column is None:
        raise typer.BadParameter("--file-root is for the files that --file-column names")
