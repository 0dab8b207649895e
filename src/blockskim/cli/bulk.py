"""``blockskim bulk``: a job over every row of files of any size, in shards, going on after a kill."""

import logging
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from blockskim.cli import evidence_options, options
from blockskim.cli.answer import NoAnswer, TopK
from blockskim.cli.bulk_options import BulkGroup, InputRows, Inputs, Output, Writing, check_rows
from blockskim.cli.bulk_progress import bulk_progress
from blockskim.cli.highlight import InOrder
from blockskim.cli.option_groups import Computing, Printing, Windowing, takes_groups
from blockskim.cli.output import console, print_json
from blockskim.cli.prune import Gap
from blockskim.cli.session import model_choice

if TYPE_CHECKING:
    from blockskim.scaling.bulk import BulkSummary

logger = logging.getLogger(__name__)

bulk = typer.Typer(cls=BulkGroup, rich_markup_mode=None)


@bulk.callback()
def top() -> None:
    """Run a job over every row of files of any size, in shards; the same command goes on after a kill."""


@bulk.command("answer")
@takes_groups
def bulk_answer(
    inputs: Inputs,
    output: Output,
    rows: InputRows = InputRows(),
    writing: Writing = Writing(),
    top_k: TopK = 1,
    no_answer: NoAnswer = False,
    no_answer_threshold: options.NoAnswerThreshold = None,
    max_cost: options.MaxCost = None,
    threshold: options.Threshold = None,
    point: options.Point = None,
    dense: options.Dense = False,
    max_answer_len: options.MaxAnswerLength = 15,
    windowing: Windowing = Windowing(),
    computing: Computing = Computing(),
    backend: options.BackendName = options.Backend.AUTO,
    printing: Printing = Printing(),
) -> None:
    """Answer the question of every row from its text.

    Rows are objects of JSON lines, rows of CSV or Parquet, or text files. The output has a row for each, in their
    order; of one that is wrong it says what.
    """
    options.check_one_way(dense, threshold, point)
    call = {
        "top_k": top_k,
        "handle_impossible_answer": no_answer or no_answer_threshold is not None,
        "no_answer_threshold": no_answer_threshold,
        "max_cost": max_cost,
        "threshold": threshold,
        "point": point,
        "dense": dense,
        "max_answer_len": max_answer_len,
        **windowing.call(),
    }
    run_job("answer", call, inputs, output, rows, writing, windowing.batch_size, computing, backend, printing)


@bulk.command("highlight")
@takes_groups
def bulk_highlight(
    inputs: Inputs,
    output: Output,
    rows: InputRows = InputRows(),
    writing: Writing = Writing(),
    wanted: evidence_options.Wanted = evidence_options.Wanted(),
    in_order: InOrder = False,
    max_answer_len: options.MaxAnswerLength = 15,
    skimming: evidence_options.Skimming = evidence_options.Skimming(),
    computing: Computing = Computing(),
    printing: Printing = Printing(),
) -> None:
    """Find the sentences of every row's text that matter for its question, word for word.

    How much is wanted holds for each row by itself. The output has a row for each, in their order, with a list of
    sentences; of one that is wrong it says what.
    """
    options.check_one_way(skimming.dense, None, skimming.point)
    order = "text" if in_order else "score"
    call = {**wanted.settings(), "order": order, "max_answer_len": max_answer_len, **skimming.call()}
    backend = skimming.backend
    run_job("highlight", call, inputs, output, rows, writing, skimming.batch_size, computing, backend, printing)


@bulk.command("prune")
@takes_groups
def bulk_prune(
    inputs: Inputs,
    output: Output,
    rows: InputRows = InputRows(),
    writing: Writing = Writing(),
    wanted: evidence_options.Wanted = evidence_options.Wanted(),
    gap: Gap = " […] ",
    skimming: evidence_options.Skimming = evidence_options.Skimming(),
    computing: Computing = Computing(),
    printing: Printing = Printing(),
) -> None:
    """Cut every row's text to what matters for its question, for a language model to read.

    How much may be left holds for each row by itself. The output has a row for each, in their order, with the pruned
    text and the way back to the whole one; of one that is wrong it says what.
    """
    options.check_one_way(skimming.dense, None, skimming.point)
    call = {**wanted.settings(), "gap": gap, **skimming.call()}
    run_job("prune", call, inputs, output, rows, writing, skimming.batch_size, computing, skimming.backend, printing)


def run_job(
    job: str,
    call: Mapping[str, Any],
    inputs: list[Path],
    output: Path,
    rows: InputRows,
    writing: Writing,
    batch_size: int,
    computing: Computing,
    backend: options.Backend,
    printing: Printing,
) -> None:
    """Run a job over files and print what became of it.

    Args:
        job: its name.
        call: its options.
        inputs: files and folders to read.
        output: the directory to write.
        rows: what is read of the input.
        writing: how it is written.
        batch_size: windows that run together.
        computing: which model runs, and on what.
        backend: what computes.
        printing: what is printed.

    Raises:
        DataError: a file could not be read to its end, or every row is wrong; what could be done is done.
    """
    options.set_up(printing.quiet)
    check_rows(rows)
    options.check_output_folder(output)
    for path in inputs:
        # The next run would read what this one wrote.
        if path.is_dir() and output.resolve().is_relative_to(path.resolve()):
            raise typer.BadParameter(f"{output} lies in {path}, which is read", param_hint="--output")

    from blockskim.scaling.bulk import run_bulk
    from blockskim.scaling.input_files import find_inputs
    from blockskim.scaling.plan import BulkPlan
    from blockskim.scaling.rows import Columns

    plan = BulkPlan(
        job=job,
        files=tuple(find_inputs(inputs, rows.input_format, rows.delimiter)),
        output=output,
        columns=Columns(
            question=rows.question,
            question_column=rows.question_column or "question",
            context_column=rows.context_column or "context",
            file_column=rows.file_column,
            file_root=rows.file_root,
            keep=tuple(rows.keep or ()),
        ),
        options=call,
        # An empty name is that of the working directory here.
        model=replace(model_choice(computing, backend), name=computing.model),
        batch_size=batch_size,
        output_format=writing.output_format.value,
        shard_rows=writing.shard_rows,
        row_limit=rows.max_row_bytes,
        on_error=writing.on_error.value,
    )
    size = sum(file.size for file in plan.files)
    counts = ((len(plan.files), "file"), (size, "byte"), (writing.workers, "worker"))
    start = f"{job}: {', '.join(several(count, name) for count, name in counts)}"
    # Ray prints what goes wrong on its machines to standard output, which is for the summary.
    elsewhere = nullcontext() if writing.ray is None else redirect_stdout(sys.stderr)
    with termination_as_interrupt(), elsewhere, bulk_progress(printing.quiet, start) as tell:
        summary = run_bulk(plan, writing.workers, tell, writing.ray)
    report(summary, output, printing)


def report(summary: "BulkSummary", output: Path, printing: Printing) -> None:
    """Print what became of a run.

    Raises:
        DataError: a file could not be read to its end, or every row is wrong.
    """
    from blockskim.errors import DataError

    if printing.as_json:
        print_json(summary.values())
    elif not printing.quiet:
        speed = f"{summary.seconds:.1f} s, {summary.rows_per_second:,.1f} rows/s"
        kept = f"{summary.tokens_kept / max(1, summary.tokens):.0%} of {summary.tokens:,} tokens kept"
        counted = f"{several(summary.rows, 'row')} in {several(summary.shards, 'shard')}, {summary.errors:,} wrong"
        console().print(f"{counted}, {speed}, {kept}; they are in {output}", markup=False)
    if summary.rows and summary.errors == summary.rows:
        raise DataError(f"every one of {summary.rows:,} rows is wrong; the first: {summary.first_error}")
    if summary.errors:
        logger.warning("%s of %s rows are wrong; the first: %s", summary.errors, summary.rows, summary.first_error)
    if summary.questions_cut:
        text = "the questions of %s of %s rows have more tokens than --max-question-len; the rest of each is not read"
        logger.warning(text, summary.questions_cut, summary.rows)
    if summary.damaged:
        more = f" ({len(summary.damaged)} such files)" if len(summary.damaged) > 1 else ""
        raise DataError(f"{summary.damaged[0]}{more}; everything else is done")


def several(count: int, name: str) -> str:
    """A number of things, for people."""
    return f"{count:,} {name}{'s' * (count != 1)}"


@contextmanager
def termination_as_interrupt() -> Iterator[None]:
    """Let what ends a service or a batch job end a run as an interrupt does: nothing is left half written."""

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:
        # Signals are a matter of the main thread.
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
