"""The outcome of a calibration, and the copy of the model that it is written into."""

import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from blockskim.atomic import new_directory
from blockskim.calibration.points import Point
from blockskim.calibration.targets import Target
from blockskim.errors import ModelError
from blockskim.exporting.manifest import FILE as MANIFEST
from blockskim.inference.backend import LoadedBackend
from blockskim.method.config import SkimConfig
from blockskim.model.checkpoints import base_name
from blockskim.model.modeling import BlockSkimForQuestionAnswering
from blockskim.model.stored_weights import FLOATING, PROVENANCE, stored_weights
from blockskim.surgery.settings_copy import copy_with_settings

logger = logging.getLogger(__name__)

CALIBRATION_FILE = "calibration.json"
CARD = "README.md"


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
    loaded: LoadedBackend,
    result: Calibration,
    output: Path,
    half: bool = False,
    points: Mapping[str, Calibration] | None = None,
) -> None:
    """Write a copy of a model with the chosen thresholds; ``calibration.json`` in it records how they were found.

    All files stay as they are, an exported graph too, which takes thresholds as its input. A card of its own takes the
    place of the model's, which tells scores of other thresholds.

    Args:
        loaded: the model that was calibrated, from a directory or the hub.
        result: the calibration that the copy's own thresholds come from.
        output: directory to make; it appears whole or not at all.
        half: whether to store the weights in float16. Where they are in another format, the copy has no graph, as that
            reads them in theirs.
        points: calibrations that operating points come from, by name; points that the model has stay unless one has
            the same name.

    Raises:
        ConfigError: something is at ``output`` already.
        ModelError: it is no Block-Skim model, or the record of an earlier calibration in its directory is damaged.
    """
    points = points or {}
    chosen = {name: point.chosen.thresholds for name, point in points.items()}

    def calibrated(skim: SkimConfig) -> SkimConfig:
        return skim.replace(thresholds=result.chosen.thresholds, points={**skim.points, **chosen})

    def change(config: dict[str, Any]) -> None:
        config["skim"] = calibrated(SkimConfig.from_dict(config["skim"])).to_dict()

    earlier = read_calibration(loaded.name).get("points", {})
    values = asdict(result) | {"points": {**earlier, **point_summaries(points)}}
    texts = {
        CALIBRATION_FILE: json.dumps(values, indent=1) + "\n",
        CARD: calibration_card(base_name(loaded.name), result, points),
    }
    if not half or _are_half(loaded):
        copy_with_settings(loaded, output, change, texts)
        return
    source = Path(loaded.name)
    if (source / MANIFEST).is_file():
        logger.warning("%s: the copy has no exported graph, as its weights are others in float16; export it", source)
    model = BlockSkimForQuestionAnswering.from_pretrained(loaded.name, dtype=torch.float32, **loaded.hub).half()
    model.skim_config = calibrated(model.skim_config)
    tokenizer: Any = loaded.tokenizer
    with new_directory(output) as part:
        model.save_pretrained(part)
        tokenizer.save_pretrained(part)
        for name in PROVENANCE:
            if (source / name).is_file():
                shutil.copyfile(source / name, part / name)
        for name, text in texts.items():
            (part / name).write_text(text, encoding="utf-8")


def calibration_card(name: str, result: Calibration, points: Mapping[str, Calibration]) -> str:
    """The card of a calibrated copy, in Markdown.

    Args:
        name: of the model that was calibrated.
        result: the calibration that the copy's own thresholds come from.
        points: those of its operating points, by name.
    """
    named = {"its own": result, **points}
    rows = [
        f"| {point} | {one.target}{'' if one.satisfied else ', not reached'} | {_figures(one.chosen)} |"
        for point, one in named.items()
    ]
    lines = [
        f"# {name}, calibrated",
        "",
        f"A Block-Skim model with the weights of {name} and thresholds that `blockskim calibrate` chose on "
        f"{result.examples:,} question{'s' * (result.examples != 1)}:",
        "",
        "| thresholds | target | F1 | exact match | dense FLOPs over FLOPs spent |",
        "| --- | --- | --- | --- | --- |",
        f"| none, all is read | | {_figures(result.dense)} |",
        *rows,
        "",
        f"`{CALIBRATION_FILE}` has more of it. What {name} was trained on stands in its own card.",
        "",
    ]
    return "\n".join(lines)


def _figures(point: Point) -> str:
    scores = ["–" if value is None else f"{value:.2f}" for value in (point.f1, point.exact_match)]
    return " | ".join([*scores, f"{point.flops_speedup:.3f}"])


def _are_half(loaded: LoadedBackend) -> bool:
    """Whether the weights are stored in float16."""
    formats = {weight.dtype for weight in stored_weights(loaded.name, loaded.hub).values()}
    return formats & set(FLOATING) == {"F16"}


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
