"""The files of a sweep: what a killed one has measured so far, and the results."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blockskim.atomic import write_whole
from blockskim.errors import ConfigError
from blockskim.evaluation.sweep_records import SweepRecord

logger = logging.getLogger(__name__)

RESULTS = "sweep.json"
PARTIAL = "sweep.partial.json"


@dataclass(frozen=True, slots=True)
class SweepFiles:
    """The files of one sweep in a folder. What another sweep has measured there is not read.

    Attributes:
        folder: where the files lie.
        key: from ``run_key``.
        timed: whether settings are timed.
    """

    folder: Path
    key: str
    timed: bool

    def known(self) -> list[SweepRecord]:
        """What a killed run has measured; nothing where there is no file, or none that can be read."""
        path = self.folder / PARTIAL
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            if (values["key"], values["seconds"]) != (self.key, self.timed):
                return []
            return [SweepRecord.from_dict(record) for record in values["records"]]
        except FileNotFoundError:
            return []
        except (ValueError, KeyError, TypeError, RecursionError, ConfigError):
            logger.warning("%s can't be read; everything is measured anew", path)
            return []

    def keep(self, records: Sequence[SweepRecord]) -> None:
        """Write what is measured by now."""
        values = {"key": self.key, "seconds": self.timed, "records": [record.to_dict() for record in records]}
        write_whole(self.folder / PARTIAL, json.dumps(values) + "\n")

    def finish(self, results: Mapping[str, Any]) -> None:
        """Write the results, and remove what was kept for a killed run."""
        write_whole(self.folder / RESULTS, json.dumps(results, indent=1) + "\n")
        (self.folder / PARTIAL).unlink(missing_ok=True)
