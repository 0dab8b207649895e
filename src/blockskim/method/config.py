"""Settings of Block-Skim: which layers score blocks, from what, and below which keep probability a block is dropped."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

from blockskim.errors import ConfigError

ALIGNMENTS = ("sequence", "context")
INPUTS = ("tiles", "question", "hidden", "attended", "match")
BLOCK_SIZES = (8, 16, 32, 64)
PREDICTOR_SETTINGS = ("block_size", "alignment", "inputs", "predictor_width", "layers")
"""What predictors are built for. These settings stay as they were when the config was made."""

_POINT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(slots=True)
class SkimConfig:
    """How a model skims. Layers are counted from 1, as in the paper.

    What predictors are built for (``PREDICTOR_SETTINGS``) can't be changed in place, since a model may have been built
    with it; ``replace`` makes another config. All else may be changed at any time.

    Attributes:
        block_size: tokens a block; one of 8, 16, 32 and 64.
        alignment: where blocks begin: ``"sequence"`` cuts the whole input from its first token (the paper; a block
            that holds any question or special token is never dropped), ``"context"`` cuts the context alone, so that
            every context token belongs to a block that can be dropped.
        inputs: what a predictor sees, any of ``"tiles"`` (the diagonal attention tiles of the paper), ``"question"``
            (attention between block and question), ``"hidden"`` (pooled hidden states), ``"attended"`` (pooled
            attention output) and ``"match"`` (attention output of block and question compared token by token, each
            block beside the others of its window). Several are fused by adding their logits.
        layers: the layers that have a predictor. None: every layer but the last, where a predictor could only
            delete answers; in encoders some of whose layers see no further than a window, every other layer but the
            last.
        thresholds: a block is dropped after a layer's attention when its keep probability is below the layer's
            threshold. A number holds for every layer, a sequence has one number a layer of ``layers``. 0 keeps all.
        points: operating points: other thresholds by name, each given as ``thresholds`` are.
        skim_factor: weight of the skim loss beside the QA loss (alpha in the paper); a number for every layer, or one
            a layer of ``layers``.
        balance_factor: class weight of relevant blocks in the skim loss (beta in the paper).
        neighbor_relevance: how relevant blocks right before and after a relevant one count in the skim loss, from 0
            (the paper) to 1.
        teaching_factor: weight of a loss that draws the keep probabilities of all layers to those of the last one with
            a predictor, which knows most. 0 in the paper.
        predictor_width: width of the hidden layer of the networks of all inputs but ``tiles``.

    Raises:
        ConfigError: a value is impossible.
    """

    block_size: int = 16
    alignment: str = "context"
    inputs: tuple[str, ...] = ("match",)
    layers: tuple[int, ...] | None = None
    thresholds: float | tuple[float, ...] = 0.0
    points: dict[str, float | tuple[float, ...]] = field(default_factory=dict)
    skim_factor: float | tuple[float, ...] = 0.3
    balance_factor: float = 20.0
    neighbor_relevance: float = 0.0
    teaching_factor: float = 0.0
    predictor_width: int = 64

    def __post_init__(self) -> None:
        """Bring sequences to tuples and refuse impossible values."""
        # Past __setattr__, which takes these once.
        object.__setattr__(self, "inputs", _names("inputs", self.inputs))
        if self.layers is not None:
            layers = tuple(_whole("layers", layer) for layer in _items("layers", self.layers))
            object.__setattr__(self, "layers", layers)
        self.thresholds = _thresholds("thresholds", self.thresholds)
        self.points = _points(self.points)
        if not isinstance(self.skim_factor, int | float):
            self.skim_factor = tuple(_number("skim_factor", value) for value in _items("skim_factor", self.skim_factor))
        self.check()

    def __setattr__(self, name: str, value: object) -> None:
        """Set a value, but refuse to change what predictors are built for.

        Raises:
            ConfigError: predictors are built for this setting, and it has a value already.
        """
        if name in PREDICTOR_SETTINGS and hasattr(self, name):
            raise ConfigError(
                f"{name} can't change from {getattr(self, name)!r} to {value!r} in place: predictors are built for it; "
                f"make another config with replace({name}=...)"
            )
        object.__setattr__(self, name, value)

    def check(self) -> None:
        """Raise ConfigError when a value is impossible."""
        if _whole("block_size", self.block_size) not in BLOCK_SIZES:
            raise ConfigError(f"block_size is {self.block_size!r}; it must be one of {_listing(BLOCK_SIZES)}")
        if self.alignment not in ALIGNMENTS:
            raise ConfigError(f"alignment is {self.alignment!r}; it must be one of {_listing(ALIGNMENTS)}")
        for name in self.inputs:
            if name not in INPUTS:
                raise ConfigError(f"inputs has {name!r}; it may hold {_listing(INPUTS)}")
        if not self.inputs or len(set(self.inputs)) < len(self.inputs):
            raise ConfigError(f"inputs is {list(self.inputs)}; it must name at least one input, each once")
        if self.layers is not None:
            if not self.layers:
                raise ConfigError("layers is empty; name at least one layer, or leave it null for all but the last")
            if min(self.layers) < 1:
                raise ConfigError(f"layers has {min(self.layers)}; layers are counted from 1")
            if list(self.layers) != sorted(set(self.layers)):
                raise ConfigError(f"layers is {list(self.layers)}; it must rise and name each layer once")
        _check_thresholds(self.thresholds)
        for name, thresholds in self.points.items():
            try:
                _check_thresholds(thresholds)
            except ConfigError as error:
                raise ConfigError(f"point {name!r}: {error}") from error
        factors = (self.skim_factor,) if isinstance(self.skim_factor, int | float) else self.skim_factor
        named = [("skim_factor", factor) for factor in factors]
        for name, given in (*named, *((name, getattr(self, name)) for name in ("balance_factor", "teaching_factor"))):
            value = _number(name, given)
            if not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"{name} is {value}; it must be a finite number of at least 0")
        if not 0 <= _number("neighbor_relevance", self.neighbor_relevance) <= 1:
            raise ConfigError(f"neighbor_relevance is {self.neighbor_relevance}; it must be from 0 to 1")
        if self.balance_factor == 0:
            raise ConfigError("balance_factor is 0; relevant blocks must have some weight")
        if _whole("predictor_width", self.predictor_width) < 1:
            raise ConfigError(f"predictor_width is {self.predictor_width}; it must be at least 1")
        if self.layers is not None:
            self.check_counts(self.layers)

    def check_counts(self, layers: Sequence[int]) -> None:
        """Raise ConfigError when there are more or fewer numbers somewhere than ``layers`` with a predictor."""
        named = {"thresholds": self.thresholds, "skim_factor": self.skim_factor}
        named |= {f"thresholds of point {name!r}": thresholds for name, thresholds in self.points.items()}
        for name, values in named.items():
            if not isinstance(values, int | float):
                _check_count(name, values, layers)

    def point(self, name: str) -> float | tuple[float, ...]:
        """Thresholds of an operating point.

        Raises:
            ConfigError: there is no such point.
        """
        if name not in self.points:
            known = f"it has {_listing(sorted(self.points))}" if self.points else "it has none"
            raise ConfigError(f"the model has no operating point {name!r}; {known}")
        return self.points[name]

    @classmethod
    def paper(cls, **changes: Any) -> Self:
        """The choices of the paper: diagonal tiles of 32 tokens cut from the start, a predictor in every layer.

        (Every layer but the last, where one could only delete answers.) Keyword arguments replace single values.
        """
        return cls(**{"block_size": 32, "alignment": "sequence", "inputs": ("tiles",), "skim_factor": 0.1, **changes})

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read the values that ``to_dict`` wrote.

        Raises:
            ConfigError: a name is unknown or a value impossible.
        """
        known = setting_names()
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise ConfigError(f"unknown skim setting {unknown[0]!r}; known are {_listing(known)}")
        return cls(**dict(values))

    def to_dict(self) -> dict[str, Any]:
        """Values as JSON knows them."""
        values = {name: _listed(value) for name, value in asdict(self).items()}
        return values | {"points": {name: _listed(value) for name, value in self.points.items()}}

    def replace(self, **changes: Any) -> Self:
        """A checked copy with some values changed."""
        known = {name: getattr(self, name) for name in setting_names()}
        return self.from_dict({**known, **changes})

    def resolve_layers(self, num_layers: int, candidates: Sequence[int] | None = None) -> tuple[int, ...]:
        """The layers with a predictor in a model of ``num_layers`` layers.

        Args:
            num_layers: how many there are.
            candidates: those that have one unless the settings name others; all when None.

        Raises:
            ConfigError: a layer does not exist or is the last one, or there is no candidate but the last.
        """
        if num_layers < 2:
            raise ConfigError(
                f"the model has {num_layers} layer; skimming needs at least 2, as the last has no predictor"
            )
        if self.layers is None:
            chosen = range(1, num_layers) if candidates is None else candidates
            if not any(number < num_layers for number in chosen):
                raise ConfigError(
                    f"no layer of the model but the last sees the whole input; name layers from 1 to {num_layers - 1}"
                )
            return tuple(number for number in chosen if number < num_layers)
        if self.layers[-1] >= num_layers:
            raise ConfigError(
                f"layers has {self.layers[-1]}, but the model has {num_layers} layers and the last can only delete "
                f"answers; name layers from 1 to {num_layers - 1}"
            )
        return self.layers


def setting_names() -> tuple[str, ...]:
    """Names of the settings of SkimConfig, in their order."""
    return tuple(item.name for item in fields(SkimConfig))


def check_threshold(value: object) -> float:
    """Return the threshold as a float, or raise ConfigError when it is not a number from 0 to 1."""
    number = _number("threshold", value)
    if not 0.0 <= number <= 1.0:
        raise ConfigError(f"threshold is {value}; it must be from 0 (keep every block) to 1")
    return number


def check_point_name(name: object) -> str:
    """Return the name of an operating point, or raise ConfigError when it can't be one."""
    if not isinstance(name, str) or not _POINT_NAME.fullmatch(name):
        raise ConfigError(
            f"an operating point can't be called {name!r}; its name is a letter or digit, then letters, digits and -_."
        )
    return name


def layer_thresholds(thresholds: float | Sequence[float], layers: Sequence[int]) -> tuple[float, ...]:
    """One threshold a predictor layer, from a number for all of them or a sequence with one each.

    Raises:
        ConfigError: a threshold is not from 0 to 1, or there are more or fewer than layers.
    """
    if isinstance(thresholds, int | float):
        return (check_threshold(thresholds),) * len(layers)
    _check_count("thresholds", thresholds, layers)
    return tuple(check_threshold(value) for value in thresholds)


def layer_factors(factors: float | Sequence[float], layers: Sequence[int]) -> tuple[float, ...]:
    """One skim factor a predictor layer, from a number for all of them or a sequence with one each.

    Raises:
        ConfigError: there are more or fewer than layers.
    """
    if isinstance(factors, int | float):
        return (float(factors),) * len(layers)
    _check_count("skim_factor", factors, layers)
    return tuple(float(factor) for factor in factors)


def _thresholds(name: str, value: object) -> float | tuple[float, ...]:
    """Thresholds as a config holds them: a number, or a tuple; whether they are from 0 to 1 is checked later."""
    if isinstance(value, int | float):
        return value
    return tuple(_number(name, item) for item in _items(name, value))


def _check_thresholds(thresholds: float | tuple[float, ...]) -> None:
    for threshold in [thresholds] if isinstance(thresholds, int | float) else thresholds:
        check_threshold(threshold)


def _points(value: object) -> dict[str, float | tuple[float, ...]]:
    if not isinstance(value, Mapping):
        raise ConfigError(f"points is {value!r}; it must give thresholds by name")
    return {check_point_name(name): _thresholds(f"point {name!r}", item) for name, item in value.items()}


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _check_count(name: str, values: Sequence[float], layers: Sequence[int]) -> None:
    if len(values) != len(layers):
        raise ConfigError(
            f"{len(values)} {name} for {len(layers)} layers with a predictor "
            f"({_listing(layers)}); give one number for all or one a layer"
        )


def _listing(values: Sequence[object]) -> str:
    return ", ".join(str(value) for value in values)


def _items(name: str, value: object) -> Sequence[Any]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise ConfigError(f"{name} is {value!r}; it must be a list")
    return value


def _names(name: str, value: object) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(str(item) for item in _items(name, value))


def _number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        raise ConfigError(f"{name} is {value!r}; it must be a number")
    return float(value)


def _whole(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigError(f"{name} has {value!r}; it must be a whole number")
    return value
