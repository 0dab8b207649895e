"""What a run does, in one value: it goes into the manifest and to every process."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from blockskim.answering.model_choice import ModelChoice
from blockskim.checks import MOST_ROW_BYTES, check_count, check_known, is_text, listing
from blockskim.errors import ConfigError
from blockskim.scaling.jobs import JOBS, Field
from blockskim.scaling.rows import FILE_COLUMN, Columns, InputFile

OUTPUT_FORMATS = ("jsonl", "parquet")
ON_ERROR = ("record", "stop")

ROW = "row"
ERROR = "error"
"""The first and the last column of every output."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkPlan:
    """A run.

    Attributes:
        job: what is done with each row, by its name in ``JOBS``.
        files: the input.
        output: the directory that is written.
        columns: what is taken from which column.
        options: of the job.
        model: which model runs, and on what; its ``threads`` are those of all processes together.
        batch_size: windows that run together.
        output_format: "jsonl" or "parquet".
        shard_rows: rows of a shard.
        row_limit: bytes that a row may have.
        on_error: "record" writes what is wrong with a row into the output; "stop" ends the run there.

    Raises:
        ConfigError: a setting is impossible, or two exclude each other.
    """

    job: str
    files: tuple[InputFile, ...]
    output: Path
    columns: Columns = field(default_factory=Columns)
    options: Mapping[str, Any] = field(default_factory=dict)
    model: ModelChoice = field(default_factory=ModelChoice)
    batch_size: int = 32
    output_format: str = "jsonl"
    shard_rows: int = 1000
    row_limit: int = 10_000_000
    on_error: str = "record"

    def __post_init__(self) -> None:
        """Refuse what is impossible whatever the rows are."""
        check_known("job", [self.job], JOBS)
        check_known("output format", [self.output_format], OUTPUT_FORMATS)
        check_known("way with errors", [self.on_error], ON_ERROR)
        check_count("shard_rows", self.shard_rows)
        if check_count("row_limit", self.row_limit) > MOST_ROW_BYTES:
            raise ConfigError(f"row_limit is {self.row_limit}; it must be at most {MOST_ROW_BYTES:,} (--max-row-bytes)")
        columns = self.columns
        delimiters = {"delimiter": [file.delimiter for file in self.files]}
        # All of it is written down when the run begins.
        for name, value in {**asdict(columns), **self.options, **delimiters}.items():
            wrong = next((text for text in _texts(value) if not is_text(text)), None)
            if wrong is not None:
                raise ConfigError(f"{name} is {wrong!a}, which is no UTF-8 text")
        if columns.question is not None and not columns.question.strip():
            raise ConfigError("the question is empty")
        texts = sum(file.format == "text" for file in self.files)
        if texts and texts < len(self.files):
            raise ConfigError("text files, each of which is a row, can't go with files of rows; run them apart")
        if texts and columns.question is None:
            raise ConfigError("text files bring no question; give one for all of them (-q)")
        if texts and (columns.keep or columns.file_column):
            raise ConfigError(f"text files have no columns; the output names each in {FILE_COLUMN!r}")
        inside = self.output.resolve()
        for file in self.files:
            if file.path.resolve().is_relative_to(inside):
                raise ConfigError(f"{file.path} lies in the output, {self.output}; name another output")
        taken = [ROW, ERROR, *(item.name for item in JOBS[self.job].fields(self.options))]
        for name in columns.keep:
            if name in taken:
                raise ConfigError(f"the output has a column {name!r} of its own ({listing(taken)}); rename the other")

    @property
    def kept(self) -> tuple[str, ...]:
        """Columns of the output that come from the input."""
        return (FILE_COLUMN,) if self.files[0].format == "text" else self.columns.keep

    @property
    def fields(self) -> tuple[Field, ...]:
        """Columns of the output that the job makes."""
        return JOBS[self.job].fields(self.options)


def _texts(value: Any) -> Iterator[str]:
    """The texts of a setting, which may be several."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | tuple):
        yield from chain.from_iterable(map(_texts, value))
