"""A whole run: from input files to a directory of shards, with as much of it done anew as is missing."""

import json
import logging
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

from blockskim.atomic import write_whole
from blockskim.checks import check_count, listing
from blockskim.cores import available_cores
from blockskim.errors import ConfigError, DataError
from blockskim.extras import load_ray
from blockskim.scaling.manifest import begin_or_go_on, check_output, describe_run
from blockskim.scaling.model_files import model_directory
from blockskim.scaling.output import SUMMARY, OutputDirectory, ShardReport
from blockskim.scaling.plan import BulkPlan
from blockskim.scaling.processes import run_in_processes, threads_of_each
from blockskim.scaling.raw_shards import RawShard, raw_shards
from blockskim.scaling.ray_shards import run_on_ray
from blockskim.scaling.resolved_choice import resolve_choice
from blockskim.scaling.rows import absent_columns
from blockskim.scaling.shard_files import shard_schema
from blockskim.scaling.shard_worker import ShardWorker

logger = logging.getLogger(__name__)

_SUMS = ("rows", "errors", "questions_cut", "tokens", "tokens_kept", "windows", "flops", "dense_flops", "model_seconds")
"""What a summary and the reports about shards have by the same names."""


@dataclass(slots=True)
class BulkProgress:
    """How far a run is.

    Attributes:
        rows: that are done, those of earlier runs included.
        errors: how many of them are wrong.
        num_bytes: of the input that are done.
        total_bytes: of the input.
        rows_before: rows that earlier runs did.
        bytes_before: bytes that earlier runs did.
    """

    rows: int = 0
    errors: int = 0
    num_bytes: int = 0
    total_bytes: int = 0
    rows_before: int = 0
    bytes_before: int = 0


@dataclass(slots=True)
class BulkSummary:
    """What became of a run.

    Attributes:
        rows: in the output, those of earlier runs included.
        errors: how many of them are wrong.
        seconds: that this run took.
        rows_per_second: of this run.
        tokens: in all windows that were read.
        tokens_kept: of these, still there after the last layer.
        rows_before: rows that earlier runs did.
        shards: files of the output.
        windows: that were read.
        flops: operations spent.
        dense_flops: operations of the plain model on the same windows.
        model_seconds: of the model, over all processes and runs.
        worker_seconds: from reading rows to writing results, over all processes and runs.
        first_error: what is wrong with the first row of which something is; "" where nothing is.
        questions_cut: how many rows have a question that was not read to its end.
        damaged: what is wrong with files that could not be read to their ends.
    """

    rows: int = 0
    errors: int = 0
    seconds: float = 0.0
    rows_per_second: float = 0.0
    tokens: int = 0
    tokens_kept: int = 0
    rows_before: int = 0
    shards: int = 0
    windows: int = 0
    flops: int = 0
    dense_flops: int = 0
    model_seconds: float = 0.0
    worker_seconds: float = 0.0
    first_error: str = ""
    questions_cut: int = 0
    damaged: list[str] = field(default_factory=list)
    _first_shard: int = field(default=-1, repr=False)

    def add(self, report: ShardReport) -> None:
        """Count a shard."""
        self.shards += 1
        for name in _SUMS:
            setattr(self, name, getattr(self, name) + getattr(report, name))
        self.worker_seconds += report.seconds
        if report.first_error and (not self.first_error or report.number < self._first_shard):
            self.first_error, self._first_shard = report.first_error, report.number

    def values(self) -> dict[str, Any]:
        """As JSON has it."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__ if not name.startswith("_")}


def run_bulk(
    plan: BulkPlan,
    workers: int = 1,
    progress: Callable[[BulkProgress], None] | None = None,
    ray_address: str | None = None,
) -> BulkSummary:
    """Make the shards of a run that are not there yet.

    Args:
        plan: what is done.
        workers: processes with a model each; 1 for this process alone. On a cluster, actors with a model each.
        progress: called when a shard is done.
        ray_address: of the Ray cluster that does the work; "" for the one that Ray finds, or a new one on this machine.
            None for no cluster.

    Returns:
        What became of it. Rows that are wrong are in the output with an ``error``; of a file that can't be read to its
        end the summary tells, and everything else was done.

    Raises:
        ConfigError: a setting is impossible, or the output was begun with others.
        ModelError: the model can't be used.
        DataError: there are no rows, or one is wrong and the run is to stop there.
        BlockSkimError: a process died, or the model fails on every text.
        OSError: something can't be written; ``filename`` names it.
    """
    workers = check_count("workers", workers)
    if ray_address is not None:
        # Before anything is written.
        load_ray()
    started = time.perf_counter()
    model = model_directory(plan.model.name)
    threads = None if ray_address is not None else threads_of_each(plan.model.threads, workers, available_cores())
    output = OutputDirectory(plan.output, plan.output_format)
    if plan.output.exists() and not plan.output.is_dir():
        raise ConfigError(f"{plan.output} is a file; name a directory")
    plan = replace(plan, model=resolve_choice(plan.model, model, ray_address is not None))
    run = describe_run(plan, model)
    # A directory of something else stays as it is: without a lock in it, too.
    check_output(plan.output, run)
    with ExitStack() as stack:
        stack.enter_context(output.locked())
        begin_or_go_on(plan.output, run)
        stack.enter_context(output.without_leftovers())
        summary = BulkSummary()
        tally = BulkProgress(total_bytes=sum(file.size for file in plan.files))
        bounds: dict[int, int] = {}
        missing = _missing(plan, output, summary, tally, bounds)
        # Processes are to be ended before what they leave half written is removed.
        with closing(_made(plan, model, missing, workers, threads, ray_address)) as reports:
            for report in reports:
                summary.add(report)
                _count(tally, report, bounds.pop(report.number))
                if progress is not None:
                    progress(tally)
        summary.rows_before = tally.rows_before
        summary.seconds = time.perf_counter() - started
        summary.rows_per_second = (summary.rows - summary.rows_before) / summary.seconds
        if not summary.rows and not summary.damaged:
            raise DataError("there are no rows in the input")
        write_whole(plan.output / SUMMARY, json.dumps(summary.values(), ensure_ascii=False) + "\n")
    return summary


def _missing(
    plan: BulkPlan, output: OutputDirectory, summary: BulkSummary, tally: BulkProgress, bounds: dict[int, int]
) -> Iterator[RawShard]:
    """The shards that are not done, in their order; those that are done are counted."""

    def damaged(error: DataError) -> None:
        if plan.on_error == "stop":
            raise error
        logger.warning("%s; what was read of it is used, and the rest left out", error)
        summary.damaged.append(str(error))

    for shard in raw_shards(plan.files, plan.columns, plan.shard_rows, plan.row_limit, damaged):
        if not shard.number:
            _warn_of_absent(plan, shard)
        report = output.done(shard.number)
        size = shard.span[1] - shard.span[0]
        if report is None:
            bounds[shard.number] = size
            yield shard
            continue
        if report.digest != shard.digest:
            name = plan.files[shard.rows[0].file].path
            raise ConfigError(
                f"rows {shard.first:,} to {shard.first + len(shard.rows) - 1:,} (from {name} on) have changed since "
                f"{output.shard_path(shard.number)} was made of them; name a new output"
            )
        # An earlier run may have recorded what this one is to stop at.
        if report.first_error and plan.on_error == "stop":
            raise DataError(report.first_error)
        summary.add(report)
        _count(tally, report, size)
        tally.rows_before += report.rows
        tally.bytes_before += size


def _warn_of_absent(plan: BulkPlan, shard: RawShard) -> None:
    """Tell of columns to copy that no row of the first shard has, before hours of work: a name may be misspelt."""
    absent = absent_columns(shard.rows, plan.files, plan.columns.keep)
    if absent:
        rows = f"no row of the first {len(shard.rows):,} has" if len(shard.rows) > 1 else "the first row does not have"
        logger.warning("%s %s, to be copied into the output (--keep); it is null there", rows, listing(absent))


def _count(tally: BulkProgress, report: ShardReport, size: int) -> None:
    tally.rows += report.rows
    tally.errors += report.errors
    tally.num_bytes += size


def _made(
    plan: BulkPlan,
    model: Path,
    shards: Iterator[RawShard],
    workers: int,
    threads: int | None,
    ray_address: str | None,
) -> Generator[ShardReport]:
    """Reports about shards as they are made; no model is loaded where there are none."""
    first = next(shards, None)
    if first is None:
        return
    shards = chain([first], shards)
    if ray_address is not None:
        yield from run_on_ray(plan, model, shards, workers, ray_address)
        return
    if workers > 1:
        yield from run_in_processes(plan, model, shards, workers, threads)
        return
    worker = ShardWorker(plan, shard_schema(plan), model, threads)
    for shard in shards:
        yield worker.run(shard)
