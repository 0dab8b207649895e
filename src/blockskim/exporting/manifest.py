"""What an exported directory says of itself, so that it can be run without PyTorch and transformers."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from blockskim.atomic import write_whole
from blockskim.data.tokens import PairTemplate
from blockskim.errors import BlockSkimError, ModelError
from blockskim.method.cost import LayerCost, ModelCost, PredictorCost
from blockskim.method.thresholds import PerLayer

FILE = "export.json"
TOKENIZER = "tokenizer.json"
CONFIG = "config.json"
GRAPH = "model.onnx"
INT8_GRAPH = "model-int8.onnx"
FORMAT = 1
"""Version of the directory's layout and of the graph's inputs and outputs."""

COMPUTING = ("hidden_act", "activation", "layer_norm_eps")
"""Settings of encoders that are no whole numbers and that a graph depends on, in the families that can be exported."""


@dataclass(frozen=True, slots=True)
class LinearCost:
    """Operations of a predictor, which grow with the tokens of the question.

    Attributes:
        block: of scoring a block: of a question without tokens, and per token.
        sample: of a window that has blocks to score: of a question without tokens, and per token.
    """

    block: tuple[int, int]
    sample: tuple[int, int]

    def of(self, question_tokens: int) -> PredictorCost:
        """The cost on a window whose question has so many tokens."""
        (block, block_token), (sample, sample_token) = self.block, self.sample
        return PredictorCost(block + question_tokens * block_token, sample + question_tokens * sample_token)


@dataclass(frozen=True, slots=True)
class WeightFile:
    """A file of weights that graphs read.

    Attributes:
        num_bytes: its length.
        fingerprint: tells it from others of the same length.
    """

    num_bytes: int
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a graph is of, beside its inputs and outputs.

    Attributes:
        digests: sha256 of each graph and of the tokenizer, by the name of the file.
        weights: the file of weights that the graphs read, by name.
        num_layers: layers of the model.
        skim_layers: numbers of the layers with a predictor, from 1.
        trained_predictors: whether the graph holds predictors.
        position_limit: the most tokens of a window; None for any number.
        token_types: whether the graph takes token types.
        vocabulary: ids that the graph has embeddings for.
        template: what the tokenizer puts around question and context.
        split_special_tokens: whether the tokenizer reads names of special tokens in a text as any other text.
        cost: operations of the model.
        predictor_costs: of the predictors, in the order of ``skim_layers``.
        block_size: tokens of a block.
        alignment: where blocks begin.
        inputs: what predictors see.
        predictor_width: of the networks of the predictors.
        encoder: what the graph depends on of the encoder's config; see ``encoder_settings``. Manifests of earlier
            versions have its type and whole numbers alone.
        embeddings: name of the word embeddings among the weights.
        int8_settings: ``thresholds`` and ``points`` of the int8 graph, where it was calibrated; None for the model's.
    """

    digests: Mapping[str, str]
    weights: Mapping[str, WeightFile]
    num_layers: int
    skim_layers: tuple[int, ...]
    trained_predictors: bool
    position_limit: int | None
    token_types: bool
    vocabulary: int
    template: PairTemplate
    split_special_tokens: bool
    cost: ModelCost
    predictor_costs: tuple[LinearCost, ...]
    block_size: int
    alignment: str
    inputs: tuple[str, ...]
    predictor_width: int
    encoder: Mapping[str, float | str]
    embeddings: str
    int8_settings: Mapping[str, Any] | None = None


def encoder_settings(config: Mapping[str, Any]) -> dict[str, float | str]:
    """What of the config of an encoder tells it from others: its type, whole numbers, and what it computes with."""
    numbers = {name: value for name, value in config.items() if type(value) is int}
    computing = {name: config[name] for name in COMPUTING if isinstance(config.get(name), float | str)}
    return {"model_type": str(config.get("model_type")), **numbers, **computing}


def same_model(one: Manifest, other: Manifest) -> bool:
    """Whether two exports are of the same weights and settings, so that graphs of one are graphs of the other.

    A setting of the encoder that only one of them names is not compared. Nor are files of the tokenizer: what a graph
    depends on of it is whether there are token types.
    """
    if any(getattr(one, name) != getattr(other, name) for name in _GRAPH_FIELDS):
        return False
    return all(one.encoder[name] == other.encoder[name] for name in one.encoder.keys() & other.encoder.keys())


_GRAPH_FIELDS = (
    *("weights", "num_layers", "skim_layers", "trained_predictors", "token_types"),
    *("block_size", "alignment", "inputs", "predictor_width"),
)
"""What a graph depends on, beside the settings of the encoder."""


def is_exported(directory: Path) -> bool:
    """Whether a directory holds an exported model."""
    return (directory / FILE).is_file()


def digest(path: Path) -> str:
    """Sha256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_manifest(directory: Path, manifest: Manifest) -> None:
    """Write it into a directory."""
    values = {"format": FORMAT, **asdict(manifest), "template": manifest.template.to_json()}
    values["checksum"] = _checksum(values)
    write_whole(directory / FILE, json.dumps(values, indent=1) + "\n")


def keep_int8_settings(directory: Path, thresholds: PerLayer, points: Mapping[str, PerLayer]) -> None:
    """Note the thresholds and points that the int8 graph of a directory is to have."""
    settings = {"thresholds": thresholds, "points": dict(points)}
    write_manifest(directory, replace(read_manifest(directory), int8_settings=settings))


def read_manifest(directory: Path) -> Manifest:
    """Read the manifest of a directory.

    Raises:
        ModelError: there is none, it is damaged, or of another version.
    """
    path = directory / FILE
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError(
            f"{directory} holds no exported model: it has no {FILE}; make one with blockskim export"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} can't be read: {error}") from error
    if not isinstance(values, dict):
        raise ModelError(f"{path} is no JSON object")
    if values.get("format") != FORMAT:
        raise ModelError(
            f"{path} is of format {values.get('format')!r}, and this version of blockskim reads {FORMAT}; "
            "export the model again"
        )
    return _checked(path, values)


def _checksum(values: Mapping[str, Any]) -> str:
    """Sha256 of all values but the checksum itself."""
    rest = {name: value for name, value in values.items() if name != "checksum"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _checked(path: Path, values: Mapping[str, Any]) -> Manifest:
    fields: dict[str, Any] = {}
    for name, check in _CHECKS.items():
        if name not in values:
            raise ModelError(f"{path} lacks {name!r}; export the model again")
        try:
            fields[name] = check(values[name])
        except (TypeError, ValueError, KeyError, AttributeError, BlockSkimError) as error:
            raise ModelError(f"{path}: {name} is {values[name]!r:.80}; that is damaged ({error})") from error
    if "checksum" not in values:
        raise ModelError(f"{path} lacks 'checksum'; export the model again")
    if values["checksum"] != _checksum(values):
        raise ModelError(f"{path} is damaged, or something in it was changed; export the model again")
    return Manifest(**fields)


def _whole(value: object, least: int = 0) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"it must be a whole number from {least} on")
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("it must be true or false")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("it must be text")
    return value


def _items(value: object) -> Sequence[Any]:
    if not isinstance(value, list):
        raise ValueError("it must be a list")
    return value


def _mapping(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("it must be an object")
    return value


def _files(value: object) -> dict[str, Any]:
    found = _mapping(value)
    for name in found:
        if name in ("", "..") or Path(name).name != name:
            raise ValueError(f"{name!r} is no name of a file in the directory")
    return found


def _pair(value: object) -> tuple[int, int]:
    first, second = _items(value)
    return _whole(first), _whole(second)


def _cost(value: object) -> ModelCost:
    cost = _mapping(value)
    layers = [
        LayerCost(*(_whole(layer[name]) for name in ("before", "pair", "after", "fixed")))
        for layer in _items(cost["layers"])
    ]
    return ModelCost(tuple(layers), _whole(cost["embedding"]), _whole(cost["head"]))


def _int8_settings(value: object) -> dict[str, Any] | None:
    if value is None:
        return None
    settings = _mapping(value)
    if set(settings) != {"thresholds", "points"}:
        raise ValueError("it must have thresholds and points, and nothing else")
    return settings


def _weight_file(value: object) -> WeightFile:
    entry = _mapping(value)
    return WeightFile(_whole(entry["num_bytes"]), _text(entry["fingerprint"]))


def _number_or_text(value: object) -> float | str:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("it must be finite")
    return value if isinstance(value, str | float) else _whole(value, least=-(10**9))


_CHECKS: dict[str, Any] = {
    "digests": lambda value: {name: _text(entry) for name, entry in _files(value).items()},
    "weights": lambda value: {name: _weight_file(entry) for name, entry in _files(value).items()},
    "num_layers": lambda value: _whole(value, 1),
    "skim_layers": lambda value: tuple(_whole(layer, 1) for layer in _items(value)),
    "trained_predictors": _flag,
    "position_limit": lambda value: None if value is None else _whole(value, 1),
    "token_types": _flag,
    "vocabulary": lambda value: _whole(value, 1),
    "template": PairTemplate.from_json,
    "split_special_tokens": _flag,
    "cost": _cost,
    "predictor_costs": lambda value: tuple(
        LinearCost(_pair(entry["block"]), _pair(entry["sample"])) for entry in _items(value)
    ),
    "block_size": lambda value: _whole(value, 1),
    "alignment": _text,
    "inputs": lambda value: tuple(_text(name) for name in _items(value)),
    "predictor_width": lambda value: _whole(value, 1),
    "encoder": lambda value: {name: _number_or_text(entry) for name, entry in _mapping(value).items()},
    "embeddings": _text,
    "int8_settings": _int8_settings,
}
