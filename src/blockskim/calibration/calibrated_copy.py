"""The copy of a model that a calibration is written into."""

import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from blockskim.atomic import new_directory
from blockskim.calibration.card import calibration_card
from blockskim.calibration.result import CALIBRATION_FILE, Calibration, point_summaries, read_calibration
from blockskim.errors import ModelError
from blockskim.exporting.manifest import FILE as MANIFEST
from blockskim.exporting.manifest import read_manifest
from blockskim.inference.backend import LoadedBackend
from blockskim.method.config import SkimConfig
from blockskim.model.checkpoints import base_name
from blockskim.model.data_record import data_records
from blockskim.model.hub import find_beside
from blockskim.model.load_errors import loading
from blockskim.model.modeling import BlockSkimForQuestionAnswering
from blockskim.model.stored_weights import CARD, provenance, stored_formats
from blockskim.surgery.settings_copy import copy_with_settings

logger = logging.getLogger(__name__)


def save_calibrated(
    loaded: LoadedBackend,
    result: Calibration,
    output: Path,
    half: bool = False,
    points: Mapping[str, Calibration] | None = None,
) -> None:
    """Write a copy of a model with the chosen thresholds; ``calibration.json`` in it records how they were found.

    The files of the model stay as they are, an exported graph too, which takes thresholds as its input. A card of its
    own takes the place of the model's, which tells scores of other thresholds. An int8 graph with thresholds of its own
    keeps them, which is warned of.

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
        ModelError: it is no Block-Skim model, the record of an earlier calibration beside it is damaged, or the hub
            can't be reached.
    """
    points = points or {}
    chosen = {name: point.chosen.thresholds for name, point in points.items()}

    def calibrated(skim: SkimConfig) -> SkimConfig:
        return skim.replace(thresholds=result.chosen.thresholds, points={**skim.points, **chosen})

    def change(config: dict[str, Any]) -> None:
        config["skim"] = calibrated(SkimConfig.from_dict(config["skim"])).to_dict()

    as_stored = not half or _are_half(loaded)
    own_int8 = as_stored and _own_int8(loaded)
    if own_int8:
        logger.warning(
            "%s: the int8 graph of the copy keeps thresholds of its own and does not get the new ones (%s); export the "
            "copy with --int8 --tune to choose them anew",
            loaded.name,
            ", ".join(["default", *points]),
        )
    earlier = read_calibration(loaded.name, loaded.hub).get("points", {})
    before = {name: earlier.get(name) for name in loaded.model.skim_config.points if name not in points}
    known = provenance(loaded.name, loaded.hub)
    card = known[CARD].read_text(encoding="utf-8", errors="replace") if CARD in known else ""
    files = dict.fromkeys(file for record in data_records(loaded.name, loaded.hub) for file in record.train)
    values = asdict(result) | {"points": {**earlier, **point_summaries(points)}}
    texts = {
        CALIBRATION_FILE: json.dumps(values, indent=1) + "\n",
        CARD: calibration_card(base_name(loaded.name), result, points, before, card, list(files), own_int8),
    }
    if as_stored:
        copy_with_settings(loaded, output, change, texts)
        return
    if _beside(loaded, MANIFEST) is not None:
        text = "%s: the copy has no exported graph, as its weights are others in float16; export it"
        logger.warning(text, loaded.name)
    model = BlockSkimForQuestionAnswering.from_pretrained(loaded.name, dtype=torch.float32, **loaded.hub).half()
    model.skim_config = calibrated(model.skim_config)
    tokenizer: Any = loaded.tokenizer
    with new_directory(output) as part:
        model.save_pretrained(part)
        tokenizer.save_pretrained(part)
        for name, path in known.items():
            shutil.copyfile(path, part / name)
        for name, text in texts.items():
            (part / name).write_text(text, encoding="utf-8")


def _own_int8(loaded: LoadedBackend) -> bool:
    """Whether a model has an int8 graph with thresholds that were chosen for it."""
    path = _beside(loaded, MANIFEST)
    try:
        return path is not None and read_manifest(path.parent).int8_settings is not None
    # One that can't be read is of no use, and is told of where it is used.
    except ModelError:
        return False


def _beside(loaded: LoadedBackend, file: str) -> Path | None:
    with loading(loaded.name):
        return find_beside(loaded.name, file, loaded.hub)


def _are_half(loaded: LoadedBackend) -> bool:
    """Whether the weights are stored in float16."""
    return stored_formats(loaded.name, loaded.hub) == {"F16"}
