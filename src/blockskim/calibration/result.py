"""The outcome of a calibration, and what ``calibration.json`` of a model says of it."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from blockskim.calibration.points import Point
from blockskim.calibration.targets import Target
from blockskim.errors import ModelError
from blockskim.model.hub import find_beside
from blockskim.model.load_errors import loading

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


def read_calibration(source: str | Path, hub: Mapping[str, Any] = MappingProxyType({})) -> dict[str, Any]:
    """What ``calibration.json`` of a model says; nothing where there is none.

    Args:
        source: directory or hub id of the model.
        hub: arguments for reading from the hub.

    Raises:
        ModelError: it is damaged, or the hub can't be reached.
    """
    with loading(source):
        path = find_beside(source, CALIBRATION_FILE, hub)
    if path is None:
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
