"""The outcome of a calibration, and the copy of the model that it is written into."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from blockskim.atomic import new_directory
from blockskim.calibration.points import Point
from blockskim.calibration.targets import Target
from blockskim.errors import ModelError
from blockskim.model.modeling import BlockSkimForQuestionAnswering
from blockskim.model.stored_weights import PROVENANCE

CALIBRATION_FILE = "calibration.json"


@dataclass(frozen=True, slots=True)
class Calibration:
    """The outcome of a calibration.

    Attributes:
        chosen: the point that was chosen; if no point satisfies the target, the nearest.
        satisfied: whether it satisfies the target.
        dense: the run with nothing dropped.
        front: every confirmed point, by rising speed-up.
        examples: number of examples it was calibrated on.
        target: what was asked for.
    """

    chosen: Point
    satisfied: bool
    dense: Point
    front: tuple[Point, ...]
    examples: int
    target: Target


def point_summaries(points: Mapping[str, Calibration]) -> dict[str, dict[str, Any]]:
    """What is kept of each operating point; the rest of a calibration is the same for all."""
    return {
        name: {key: asdict(result)[key] for key in ("target", "chosen", "satisfied")} for name, result in points.items()
    }


def save_calibrated(
    source: str | Path,
    tokenizer: PreTrainedTokenizerBase,
    result: Calibration,
    output: Path,
    half: bool = False,
    points: Mapping[str, Calibration] | None = None,
) -> None:
    """Write a copy of a model with the chosen thresholds; ``calibration.json`` in it records how they were found.

    Args:
        source: directory or hub id of the model that was calibrated; its weights are read anew, as they were stored.
        tokenizer: its tokenizer.
        result: the calibration that the copy's own thresholds come from.
        output: directory to make; it appears whole or not at all.
        half: whether to store the weights in float16.
        points: calibrations that operating points come from, by name; points that the model has stay unless one has
            the same name.
    """
    points = points or {}
    model = BlockSkimForQuestionAnswering.from_pretrained(source, dtype=torch.float32)
    thresholds = {name: point.chosen.thresholds for name, point in points.items()}
    model.skim_config = model.skim_config.replace(
        thresholds=result.chosen.thresholds, points={**model.skim_config.points, **thresholds}
    )
    if half:
        model = model.half()
    earlier = read_calibration(source).get("points", {})
    values = asdict(result) | {"points": {**earlier, **point_summaries(points)}}
    with new_directory(output) as part:
        model.save_pretrained(part)
        tokenizer.save_pretrained(part)
        (part / CALIBRATION_FILE).write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
        for name in PROVENANCE:
            if (Path(source) / name).is_file():
                shutil.copy(Path(source) / name, part / name)


def read_calibration(source: str | Path) -> dict[str, Any]:
    """What ``calibration.json`` of a model directory says; nothing where there is none.

    Raises:
        ModelError: it is damaged.
    """
    path = Path(source) / CALIBRATION_FILE
    if not path.is_file():
        return {}
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path} is damaged: {error!s:.200}") from error
    if not isinstance(values, dict):
        raise ModelError(f"{path} is damaged: it holds no calibration")
    if not isinstance(values.get("points", {}), dict):
        raise ModelError(f"{path} is damaged: points is no object with a calibration by name")
    front = values.get("front", [])
    if not isinstance(front, list) or not all(isinstance(point, dict) and "thresholds" in point for point in front):
        raise ModelError(f"{path} is damaged: front is no list of points with their thresholds")
    return values
