"""Reading the directory of an exported model: its settings, and whether its files are those of the export."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blockskim.errors import BlockSkimError, ModelError
from blockskim.exporting.manifest import CONFIG, FILE, INT8_GRAPH, TOKENIZER, Manifest, digest, encoder_settings
from blockskim.exporting.weight_files import fingerprint
from blockskim.method.confidence import ConfidenceModel
from blockskim.method.config import PREDICTOR_SETTINGS, SkimConfig


@dataclass(frozen=True, slots=True)
class Settings:
    """What the config of a directory says.

    Attributes:
        skim: the skim settings.
        confidence: what turns scores into the probability that an answer is right; None where it was not calibrated.
    """

    skim: SkimConfig
    confidence: ConfidenceModel | None


FIXED_SETTINGS = tuple(name for name in PREDICTOR_SETTINGS if name != "layers")
"""Settings of skimming that the graph was made for. Its layers stand in the manifest, resolved."""


def read_settings(directory: Path, manifest: Manifest, number_format: str = "float32") -> Settings:
    """The settings of a directory, which may have been changed since the export as far as the graph allows it.

    An int8 graph that was calibrated has thresholds and points of its own.

    Raises:
        ModelError: there are none, they are damaged, or they are not those of the graph.
    """
    path = directory / CONFIG
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError(f"{directory} has no {CONFIG}; export the model again") from error
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} can't be read: {error}") from error
    if not isinstance(values, dict) or not all(
        isinstance(values.get(part), dict) for part in ("skim", "encoder_config")
    ):
        raise ModelError(f"{path} is no config of a Block-Skim model")
    try:
        config = SkimConfig.from_dict(values["skim"])
        config.check_counts(manifest.skim_layers)
        given = values.get("confidence")
        confidence = None if given is None else ConfidenceModel.from_dict(given)
    except BlockSkimError as error:
        raise ModelError(f"{path}: {error}") from error
    for name in FIXED_SETTINGS:
        _check_same(path, name, getattr(config, name), getattr(manifest, name))
    if config.layers is not None:
        _check_same(path, "layers", config.layers, manifest.skim_layers)
    _check_same(path, "trained_predictors", values.get("trained_predictors", True), manifest.trained_predictors)
    for name, value in encoder_settings(values["encoder_config"]).items():
        # What is at its default need not be named.
        _check_same(path, name, value, manifest.encoder.get(name, value))
    if number_format == "int8" and manifest.int8_settings is not None:
        config = _calibrated(config, manifest.int8_settings, manifest, directory / FILE)
    return Settings(config, confidence)


def _calibrated(config: SkimConfig, changes: Mapping[str, Any], manifest: Manifest, path: Path) -> SkimConfig:
    """The settings with the thresholds and points of the int8 graph.

    Raises:
        ModelError: they don't fit the model.
    """
    try:
        changed = config.replace(**changes)
        changed.check_counts(manifest.skim_layers)
    except BlockSkimError as error:
        raise ModelError(f"{path}: int8_settings: {error}") from error
    return changed


def _check_same(path: Path, name: str, value: object, exported: object) -> None:
    if value != exported:
        raise ModelError(
            f"{path} has {name} {value!r:.80}, but the graph was exported with {exported!r}; export the model again"
        )


def check_files(directory: Path, manifest: Manifest, graph: Path) -> None:
    """Refuse files that are not those of the export.

    Of weights, which may be large, the header counts and how each of them begins.

    Raises:
        ModelError: one is missing or has changed.
    """
    if graph.name not in manifest.digests:
        how = "; make it with blockskim export --int8" if graph.name == INT8_GRAPH else ""
        raise ModelError(f"{directory} has no {graph.name}{how}")
    for path in (graph, directory / TOKENIZER):
        if not path.is_file():
            raise ModelError(f"{directory} has no {path.name}; export the model again")
        if _read(path, digest) != manifest.digests.get(path.name):
            raise ModelError(f"{path} is damaged or not the file of the export; export the model again")
    for name, weights in manifest.weights.items():
        path = directory / name
        if not path.is_file():
            raise ModelError(f"{directory} has no {name}, which the graph reads its weights from")
        if path.stat().st_size != weights.num_bytes:
            raise ModelError(
                f"{path} has {path.stat().st_size} bytes, but the graph was made for one of {weights.num_bytes}: the "
                "weights are damaged or others; export the model again"
            )
        if _read(path, fingerprint) != weights.fingerprint:
            raise ModelError(
                f"{path} does not hold the weights that the graph was made for: they are damaged or others; export "
                "the model again"
            )


def _read(path: Path, reader: Callable[[Path], str]) -> str:
    """What a reader makes of a file.

    Raises:
        ModelError: it can't be read.
    """
    try:
        return reader(path)
    except OSError as error:
        raise ModelError(f"{path} can't be read: {error.strerror}") from error
