"""The output directory of a run: shards and reports about them, each of which appears whole or not at all."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from blockskim.atomic import write_whole
from blockskim.folder_lock import locked_folder

MANIFEST = "_manifest.json"
SUMMARY = "_summary.json"
REPORTS = "_shards"

_LEFTOVER = re.compile(r"\.(_manifest\.json|_summary\.json|part-\d+\.\w+|\d+\.json)\.[0-9a-f]+\.tmp")
"""Temporary names of the files of a run, as ``atomic`` makes them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardReport:
    """What is known of a shard that is done.

    Attributes:
        number: of the shard.
        digest: of the rows that it was made of.
        rows: number of its rows.
        errors: how many of them are wrong.
        first_error: what is wrong with the first of these; "" where none is.
        questions_cut: how many rows have a question that was not read to its end.
        windows: that were read.
        tokens: in them.
        tokens_kept: of these, still there after the last layer.
        flops: operations spent.
        dense_flops: operations of the plain model on the same windows.
        seconds: that it took.
        model_seconds: of these, the model's.
        num_bytes: of its file.
    """

    number: int
    digest: str
    rows: int
    errors: int
    first_error: str
    questions_cut: int
    windows: int
    tokens: int
    tokens_kept: int
    flops: int
    dense_flops: int
    seconds: float
    model_seconds: float
    num_bytes: int


class OutputDirectory:
    """Where the shards of a run lie."""

    def __init__(self, path: Path, format: str) -> None:
        """Read and write shards in a format, ``"jsonl"`` or ``"parquet"``."""
        self.path = path
        self._format = format

    def shard_path(self, number: int) -> Path:
        """The file of a shard."""
        return self.path / f"part-{number:06d}.{self._format}"

    def report_path(self, number: int) -> Path:
        """The report about a shard."""
        return self.path / REPORTS / f"{number:06d}.json"

    def write(self, report: ShardReport, content: bytes) -> ShardReport:
        """Write the file of a shard and the report about it, which is returned.

        Raises:
            OSError: it can't be written; ``filename`` is what was to be written.
        """
        # A shard without a report would not count, so this comes first.
        write_whole(self.report_path(report.number), json.dumps(asdict(report), ensure_ascii=False) + "\n")
        write_whole(self.shard_path(report.number), content)
        return report

    def done(self, number: int) -> ShardReport | None:
        """The report about a shard that is done; None for one that is missing or not as it was written."""
        try:
            values = json.loads(self.report_path(number).read_text(encoding="utf-8"))
            size = self.shard_path(number).stat().st_size
        except (OSError, ValueError):
            return None
        names = {item.name for item in fields(ShardReport)}
        if not isinstance(values, dict) or values.keys() != names:
            return None
        report = ShardReport(**values)
        return report if (report.number, report.num_bytes) == (number, size) else None

    @contextmanager
    def without_leftovers(self) -> Iterator[None]:
        """Remove what was written under temporary names by processes that were killed, before and after the block."""
        self._clean()
        try:
            yield
        finally:
            self._clean()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Make the directory and keep other runs out of it. The system frees it when this process ends, however.

        Raises:
            ConfigError: another run is writing there.
            OSError: it can't be made.
        """
        (self.path / REPORTS).mkdir(parents=True, exist_ok=True)
        with locked_folder(self.path):
            yield

    def _clean(self) -> None:
        for folder in (self.path, self.path / REPORTS):
            for part in folder.glob(".*.tmp"):
                if _LEFTOVER.fullmatch(part.name):
                    with suppress(OSError):
                        part.unlink()
