"""The files of a sweep: what a killed one has measured so far, and the results."""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blockskim.atomic import write_whole
from blockskim.errors import ConfigError
from blockskim.evaluation.sweep_records import SweepRecord
from blockskim.folder_lock import locked_folder

logger = logging.getLogger(__name__)

RESULTS = "sweep.json"


@contextmanager
def sweep_folder(folder: Path) -> Iterator[None]:
    """Make a folder for the results of a sweep and keep other sweeps out of it for the block.

    Raises:
        ConfigError: another run is writing there, or it holds the results of one that ended.
        OSError: it can't be made.
    """
    with locked_folder(folder):
        check_no_results(folder)
        yield


def check_no_results(folder: Path) -> None:
    """Refuse a folder that holds the results of a sweep.

    Raises:
        ConfigError: it does.
    """
    if (folder / RESULTS).exists():
        raise ConfigError(f"{folder} holds the results of a sweep; name another output")


@dataclass(frozen=True, slots=True)
class SweepFiles:
    """The files of one sweep in a folder. What another sweep has measured there is neither read nor replaced.

    Attributes:
        folder: where the files lie.
        key: from ``run_key``.
        timed: whether settings are timed.
    """

    folder: Path
    key: str
    timed: bool

    @property
    def partial(self) -> Path:
        """Where it is kept what is measured by now."""
        return self.folder / f"sweep.partial.{self.key}.json"

    def known(self) -> list[SweepRecord]:
        """What a killed run has measured; nothing where there is no file, or none that can be read."""
        path = self.partial
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
        write_whole(self.partial, json.dumps(values) + "\n")

    def finish(self, results: Mapping[str, Any]) -> None:
        """Write the results, and remove what was kept for a killed run.

        Raises:
            ConfigError: another sweep has written its results meanwhile, where folders can't be locked.
        """
        check_no_results(self.folder)
        write_whole(self.folder / RESULTS, json.dumps(results, indent=1) + "\n")
        self.partial.unlink(missing_ok=True)
