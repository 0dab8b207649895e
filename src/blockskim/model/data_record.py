"""What a run learned from and was measured by, by data file: for the model card, and for calibration."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from blockskim.checks import is_number
from blockskim.model.hub import find_beside

DATA_FILE = "data.json"
"""Of a model's directory: what its training runs learned from."""


@dataclass(frozen=True, slots=True)
class DataRecord:
    """The data of a run.

    Attributes:
        train: number of questions that it learned from, by file.
        elsewhere: number of those that were asked once more of another text, beside them.
        development: number of questions that it was measured by, by file; 0 for a file of whose held-out questions
            none was drawn.
        hold_out: share of the articles of the training files that the latter are of; None where they are of a file of
            their own, or were chosen by a caller.
    """

    train: Mapping[str, int]
    elsewhere: int
    development: Mapping[str, int]
    hold_out: float | None = None

    def learned_from(self, file: str, share: float | None) -> bool:
        """Whether it learned from questions of a file, or of those that are held out at a share of its articles.

        A larger share holds out what a smaller one does, and more. Files are known by their names alone, so it may
        have been another one.
        """
        train, development = ({Path(name).name for name in names} for names in (self.train, self.development))
        name = Path(file).name
        if share is None:
            return name in train
        if self.hold_out is None:
            # What a caller held out of a file may be the same.
            return name in train and name not in development
        return name in train and share > self.hold_out


def data_records(model: str | Path, hub: Mapping[str, Any] = MappingProxyType({})) -> list[DataRecord]:
    """What runs left of their data beside a model, the first run first; nothing where it can't be read.

    Args:
        model: directory or hub id.
        hub: arguments for reading from the hub.
    """
    try:
        path = find_beside(model, DATA_FILE, hub)
        values = [] if path is None else json.loads(path.read_text(encoding="utf-8"))
        records = [DataRecord(**value) for value in values]
    except (OSError, ValueError, TypeError, RecursionError):
        return []
    return [record for record in records if _is_whole(record)]


def records_text(records: Iterable[DataRecord]) -> str:
    """The content of the file that ``data_records`` reads."""
    return json.dumps([asdict(record) for record in records], indent=2) + "\n"


def _is_whole(record: DataRecord) -> bool:
    counted = isinstance(record.train, dict) and isinstance(record.development, dict)
    return counted and (record.hold_out is None or is_number(record.hold_out))
