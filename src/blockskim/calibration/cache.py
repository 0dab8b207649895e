"""What a calibration has recorded and confirmed so far, kept in files so that a killed run goes on."""

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from blockskim.atomic import open_whole, write_errors_named, write_whole
from blockskim.calibration.points import Point
from blockskim.calibration.record import AnswerBlocks, Recording
from blockskim.evaluation.block_scores import BlockScores

logger = logging.getLogger(__name__)

_SCORES = ("probabilities", "relevant", "windows", "starts", "tokens")
"""Arrays of ``BlockScores``, in the order of its fields; names in the files, too."""


@dataclass(frozen=True, slots=True)
class CalibrationCache:
    """Files in a folder of their own; those of another key are left alone and not read.

    Attributes:
        folder: where the files lie; made when the first is written.
        key: from ``run_key``.
    """

    folder: Path
    key: str

    def recording(self) -> Recording | None:
        """What ``keep_recording`` wrote; None where there is nothing that can be read."""
        try:
            with np.load(self._recording, allow_pickle=False) as stored:
                return Recording(
                    _point(json.loads(str(stored["dense"]))),
                    BlockScores(tuple(stored["layers"].tolist()), *(stored[name] for name in _SCORES)),
                    AnswerBlocks(stored["answer_blocks"], stored["answer_examples"], stored["answer_f1"]),
                    stored["example_f1"],
                )
        except FileNotFoundError:
            return None
        # A damaged file makes its reader raise nearly anything.
        except Exception as error:
            logger.warning("%s can't be read (%s); recording again", self._recording, error)
            return None

    def keep_recording(self, recording: Recording) -> None:
        """Write what ``record`` found."""
        scores, answers = recording.block_scores, recording.answer_blocks
        with self._folder(), open_whole(self._recording) as file:
            np.savez(
                file,
                dense=np.array(json.dumps(asdict(recording.dense))),
                layers=np.array(scores.layers),
                **{name: getattr(scores, name) for name in _SCORES},
                answer_blocks=answers.blocks,
                answer_examples=answers.examples,
                answer_f1=answers.f1,
                example_f1=recording.example_f1,
            )

    def points(self) -> dict[tuple[float, ...], Point]:
        """Confirmed points by their thresholds."""
        try:
            points = [_point(values) for values in json.loads(self._points.read_text(encoding="utf-8"))]
        except FileNotFoundError:
            return {}
        except Exception as error:
            logger.warning("%s can't be read (%s); confirming again", self._points, error)
            return {}
        return {point.thresholds: point for point in points}

    def keep_points(self, points: Mapping[tuple[float, ...], Point]) -> None:
        """Write all points that are confirmed by now."""
        with self._folder():
            write_whole(self._points, json.dumps([asdict(point) for point in points.values()]))

    @contextmanager
    def _folder(self) -> Iterator[None]:
        """The cache's folder, which goes again when the first file can't be written."""
        with write_errors_named(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            try:
                yield
            except BaseException:
                with suppress(OSError):
                    # Refused where something lies in it.
                    self.folder.rmdir()
                raise

    @property
    def _recording(self) -> Path:
        return self.folder / f"recording-{self.key}.npz"

    @property
    def _points(self) -> Path:
        return self.folder / f"points-{self.key}.json"


def remove_cache(folder: Path) -> None:
    """Remove the files of any key from a cache's folder, and the folder unless something else lies in it."""
    for pattern in ("recording-*.npz", "points-*.json", "*.tmp"):
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _point(values: dict[str, object]) -> Point:
    thresholds = values.pop("thresholds")
    return Point(tuple(thresholds), **values)  # type: ignore[arg-type]
