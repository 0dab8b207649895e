"""What makes the output of a shard of its rows: one model, in whatever process."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

from blockskim.answering.loading import load_backend
from blockskim.answering.model_choice import ModelChoice
from blockskim.errors import BlockSkimError, ConfigError, DataError
from blockskim.evidence.question_answerer import QuestionAnswerer
from blockskim.scaling.jobs import results_of
from blockskim.scaling.meter import Meter, MeteredBackend
from blockskim.scaling.output import OutputDirectory, ShardReport
from blockskim.scaling.plan import ERROR, ROW, BulkPlan
from blockskim.scaling.raw_shards import RawShard
from blockskim.scaling.rows import Row, read_row
from blockskim.scaling.shard_files import check_kept, shard_bytes

MOST_CHARACTERS = 8_000_000
"""Texts that are held at a time, beside one of any length that is allowed. A shard of more runs in several calls."""

TRIAL = Row("What is it?", "It is a text.", {}, "")

Call: TypeAlias = Callable[[Sequence[Row]], Sequence[dict[str, Any] | DataError]]


class ShardWorker:
    """Makes shards of a run, with one model."""

    def __init__(self, plan: BulkPlan, schema: Any, model: Path, threads: int | None) -> None:
        """Load the model, and try it.

        Args:
            plan: of the run.
            schema: as ``shard_schema`` gives it where the input lies.
            model: directory of the model.
            threads: processor threads; None for what the backend takes by itself.

        Raises:
            ModelError: the model can't be used.
            ConfigError: an option is impossible or does not fit the model, or it can't read the question for all rows.
        """
        self._plan = plan
        self._output = OutputDirectory(plan.output, plan.output_format)
        self._schema = schema
        choice = replace(plan.model, name=model, threads=threads)
        self._answerer, self._backend = load_answerer(choice, plan.batch_size)
        self._questions_cut = 0
        # Refuses impossible options, and a question for all rows that can't be read, now and not once for every row.
        question = plan.columns.question
        (tried,) = self._call([TRIAL if question is None else replace(TRIAL, question=question)])
        if isinstance(tried, DataError):
            raise ConfigError(str(tried))

    def run(self, shard: RawShard) -> ShardReport:
        """Do what is to be done with the rows of a shard and write what comes of it.

        Raises:
            DataError: a row is wrong, and the run is to stop there.
            BlockSkimError: the model fails on every text.
            OSError: the shard can't be written; ``filename`` is its file.
        """
        return self._output.write(*self.make(shard))

    def make(self, shard: RawShard) -> tuple[ShardReport, bytes]:
        """Do what is to be done with the rows of a shard: a report, and the content of its file.

        Raises:
            DataError: a row is wrong, and the run is to stop there.
            BlockSkimError: the model fails on every text.
        """
        started = time.perf_counter()
        self._backend.meter = meter = Meter()
        self._questions_cut = 0
        written: list[dict[str, Any]] = []
        errors, first_error = 0, ""
        for rows in self._groups(shard):
            for row, values, error in self._results(rows):
                if error and self._plan.on_error == "stop":
                    raise DataError(error)
                first_error = first_error or error
                errors += bool(error)
                number = shard.first + len(written)
                empty = {field.name: None for field in self._plan.fields}
                written.append({ROW: number, **row.kept, **(values or empty), ERROR: error or None})
        content = shard_bytes(written, self._plan.output_format, self._schema)
        report = ShardReport(
            number=shard.number,
            digest=shard.digest,
            rows=len(written),
            errors=errors,
            first_error=first_error,
            questions_cut=self._questions_cut,
            windows=meter.windows,
            tokens=meter.tokens,
            tokens_kept=meter.tokens_kept,
            flops=meter.flops,
            dense_flops=meter.dense_flops,
            seconds=time.perf_counter() - started,
            model_seconds=meter.seconds,
            num_bytes=len(content),
        )
        return report, content

    def _groups(self, shard: RawShard) -> Iterator[list[Row]]:
        """The rows of a shard, as many at a time as may be in memory."""
        rows: list[Row] = []
        size = 0
        plan = self._plan
        for raw in shard.rows:
            row = read_row(raw, plan.files[raw.file], plan.columns, plan.row_limit)
            rows.append(row)
            size += len(row.context)
            if size >= MOST_CHARACTERS:
                yield check_kept(rows, plan, self._schema)
                rows, size = [], 0
        yield check_kept(rows, plan, self._schema)

    def _results(self, rows: Sequence[Row]) -> Iterator[tuple[Row, dict[str, Any] | None, str]]:
        """Each row, what was made of it, and what is wrong with it."""
        good = [row for row in rows if not row.error]
        found = iter(each_alone_if_need_be(self._call, good))
        for row in rows:
            if row.error:
                yield row, None, row.error
                continue
            result = next(found)
            if isinstance(result, Exception):
                yield row, None, f"{row.where}: {described(result)}"
            else:
                yield row, result, ""

    def _call(self, rows: Sequence[Row]) -> list[dict[str, Any] | DataError]:
        found, questions_cut = results_of(self._plan.job, self._answerer, rows, self._plan.options)
        self._questions_cut += questions_cut if rows[0] is not TRIAL else 0
        return found


def load_answerer(choice: ModelChoice, batch_size: int = 32) -> tuple[QuestionAnswerer, MeteredBackend]:
    """The answerer of a run, and the backend in it, which counts.

    Args:
        choice: which model runs, and on what in this process.
        batch_size: windows that run together.

    Raises:
        ModelError: the model can't be used.
        ConfigError: the backend does not fit it, or is not installed.
    """
    loaded = load_backend(choice)
    backend = MeteredBackend(loaded.model)
    return QuestionAnswerer(backend, loaded.tokenizer, batch_size=batch_size), backend


def each_alone_if_need_be(call: Call, rows: Sequence[Row]) -> list[dict[str, Any] | Exception]:
    """Results of rows; where a call fails, halves of them are tried, until the rows are found that make it fail.

    Args:
        call: gives the results of rows, or what is wrong with one.
        rows: the rows.

    Returns:
        A result for each row, or the error that it raises.

    Raises:
        BlockSkimError: the model fails on a row and on ``TRIAL``, too, so that the row is not to blame.
    """
    if not rows:
        return []
    try:
        return list(call(rows))
    # A row may bring anything to fail, and must not take the others with it.
    except Exception as error:
        # Its frames would hold what the call had in memory while the next ones run.
        failure = error.with_traceback(None)
    if len(rows) == 1:
        if not isinstance(failure, DataError | ConfigError):
            _check_trial(call, failure)
        return [failure]
    half = len(rows) // 2
    return [*each_alone_if_need_be(call, rows[:half]), *each_alone_if_need_be(call, rows[half:])]


def _check_trial(call: Call, failure: Exception) -> None:
    """See to it that the model still works after a failure; a device may be lost, or memory be short.

    Raises:
        BlockSkimError: it does not.
    """
    try:
        call([TRIAL])
    except Exception:
        raise BlockSkimError(
            f"the model fails on every text now: {described(failure)}; what is done stays, and the same command goes "
            "on from there"
        ) from failure


def described(error: Exception) -> str:
    """An error on one line, which UTF-8 can write; with its class where it is none of ours."""
    text = " ".join(str(error).split()).encode("utf-8", "backslashreplace").decode("utf-8")
    return text if isinstance(error, BlockSkimError) else f"{type(error).__name__}: {text}"
