"""What a calibration has recorded and confirmed so far, kept in files so that a killed run goes on."""

import hashlib
import json
import logging
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from blockskim.calibration.points import Point
from blockskim.calibration.simulator import AnswerBlocks
from blockskim.data.windows import WindowSet
from blockskim.evaluation.block_scores import BlockScores
from blockskim.model.modeling import BlockSkimForQuestionAnswering

logger = logging.getLogger(__name__)

VERSION = 1
"""Of the files; raised when they, or what they mean, change."""

# What thresholds do is found out, not presupposed, and loss weights are of training alone.
_NO_MATTER = ("thresholds", "points", "skim_factor", "balance_factor", "neighbor_relevance", "teaching_factor")


def calibration_key(
    model: BlockSkimForQuestionAnswering, windows: WindowSet, batch_size: int, max_answer_length: int
) -> str:
    """Digest of all that a recording depends on: weights, settings, number format, device and data."""
    settings = {name: value for name, value in model.skim_config.to_dict().items() if name not in _NO_MATTER}
    encoder = model.config.encoder_config.to_dict()
    facts = [VERSION, settings, encoder, str(model.dtype), model.device.type, batch_size, max_answer_length]
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode())
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    digest.update(repr((windows.template, windows.settings)).encode())
    for array in (windows.windows, windows.context_of, windows.questions.ids, windows.contexts.ids):
        digest.update(array.tobytes())
    for example in windows.examples:
        digest.update(repr(example).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class CalibrationCache:
    """Files in a folder of their own; those of another key are left alone and not read.

    Attributes:
        folder: where the files lie; made when the first is written.
        key: from ``calibration_key``.
    """

    folder: Path
    key: str

    def recording(self) -> tuple[Point, BlockScores, AnswerBlocks] | None:
        """What ``keep_recording`` wrote; None where there is nothing that can be read."""
        try:
            with np.load(self._recording, allow_pickle=False) as stored:
                dense = _point(json.loads(str(stored["dense"])))
                block_scores = BlockScores(
                    tuple(stored["layers"].tolist()),
                    *(stored[name] for name in ("probabilities", "relevant", "windows", "starts", "tokens")),
                )
                return (
                    dense,
                    block_scores,
                    AnswerBlocks(stored["answer_blocks"], stored["answer_examples"], stored["answer_f1"]),
                )
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
            logger.warning("%s can't be read (%s); recording again", self._recording, error)
            return None

    def keep_recording(self, dense: Point, block_scores: BlockScores, answer_blocks: AnswerBlocks) -> None:
        """Write what ``record`` found."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=self.folder, suffix=".tmp", delete=False) as file:
            np.savez(
                file,
                dense=np.array(json.dumps(asdict(dense))),
                layers=np.array(block_scores.layers),
                probabilities=block_scores.probabilities,
                relevant=block_scores.relevant,
                windows=block_scores.windows,
                starts=block_scores.starts,
                tokens=block_scores.tokens,
                answer_blocks=answer_blocks.blocks,
                answer_examples=answer_blocks.examples,
                answer_f1=answer_blocks.f1,
            )
        Path(file.name).replace(self._recording)

    def points(self) -> dict[tuple[float, ...], Point]:
        """Confirmed points by their thresholds."""
        try:
            points = [_point(values) for values in json.loads(self._points.read_text(encoding="utf-8"))]
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError) as error:
            logger.warning("%s can't be read (%s); confirming again", self._points, error)
            return {}
        return {point.thresholds: point for point in points}

    def keep_points(self, points: Mapping[tuple[float, ...], Point]) -> None:
        """Write all points that are confirmed by now."""
        self.folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps([asdict(point) for point in points.values()])
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=self.folder, suffix=".tmp", delete=False) as file:
            file.write(text)
        Path(file.name).replace(self._points)

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
