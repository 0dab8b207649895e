"""Settings of Block-Skim: which layers score blocks, from what, and below which keep probability a block is dropped."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

from blockskim.checks import check_items, check_known, check_names, check_number, check_whole, is_single, listing
from blockskim.errors import ConfigError
from blockskim.method.evidence import EvidenceModel
from blockskim.method.thresholds import (
    PerLayer,
    check_layer_count,
    check_per_layer,
    check_points,
    check_thresholds,
)

ALIGNMENTS = ("sequence", "context")
INPUTS = ("tiles", "question", "hidden", "attended", "match")
BLOCK_SIZES = (8, 16, 32, 64)
PREDICTOR_SETTINGS = ("block_size", "alignment", "inputs", "predictor_width", "layers")
"""What predictors are built for. These settings stay as they were when the config was made."""


@dataclass(slots=True)
class SkimConfig:
    """How a model skims. Layers are counted from 1, as in the paper.

    What predictors are built for (``PREDICTOR_SETTINGS``) can't be changed in place, since a model may have been built
    with it; ``replace`` makes another config. All else may be changed at any time.

    Attributes:
        block_size: tokens per block; one of 8, 16, 32 and 64.
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
            threshold. A number holds for every layer, a sequence has one number per layer of ``layers``. 0 keeps all.
        points: operating points: other thresholds by name, each given as ``thresholds`` are.
        skim_factor: weight of the skim loss beside the QA loss (alpha in the paper); a number for every layer, or one
            per layer of ``layers``.
        balance_factor: class weight of relevant blocks in the skim loss (beta in the paper).
        neighbor_relevance: how relevant blocks right before and after a relevant one count in the skim loss, from 0
            (the paper) to 1.
        teaching_factor: weight of a loss that draws the keep probabilities of all layers to those of the last one with
            a predictor, which knows most. 0 in the paper.
        predictor_width: width of the hidden layer of the networks of all inputs but ``tiles``.
        document_threshold: of a long document, blocks go unread that fit the question, by word embeddings, less than
            this share of what the best block of the document does, from 0 (all are read) to 1; see
            ``blockskim.method.first_stage``.
        evidence: what scores sentences as evidence; None where it was not calibrated. A dictionary of its settings is
            taken, too.

    Raises:
        ConfigError: a value is impossible.

    Examples:
        >>> from blockskim import SkimConfig
        >>> config = SkimConfig(block_size=16, layers=(2, 4), thresholds=(0.05, 0.1), points={"fast": 0.3})
        >>> config.point("fast")
        0.3
        >>> SkimConfig.paper().inputs
        ('tiles',)
    """

    block_size: int = 16
    alignment: str = "context"
    inputs: tuple[str, ...] = ("match",)
    layers: tuple[int, ...] | None = None
    thresholds: PerLayer = 0.0
    points: dict[str, PerLayer] = field(default_factory=dict)
    skim_factor: PerLayer = 0.3
    balance_factor: float = 20.0
    neighbor_relevance: float = 0.0
    teaching_factor: float = 0.0
    predictor_width: int = 64
    document_threshold: float = 0.0
    evidence: EvidenceModel | None = None

    def __post_init__(self) -> None:
        """Bring sequences to tuples and numbers to Python's own, and refuse impossible values."""
        # Past __setattr__, which takes these once.
        object.__setattr__(self, "inputs", check_names("inputs", self.inputs))
        if self.layers is not None:
            layers = tuple(check_whole("layers", layer, "has") for layer in check_items("layers", self.layers))
            object.__setattr__(self, "layers", layers)
        for name in ("block_size", "predictor_width"):
            object.__setattr__(self, name, check_whole(name, getattr(self, name), "has"))
        self.thresholds = check_per_layer("thresholds", self.thresholds)
        self.points = check_points(self.points)
        self.skim_factor = check_per_layer("skim_factor", self.skim_factor)
        for name in ("balance_factor", "teaching_factor", "neighbor_relevance", "document_threshold"):
            setattr(self, name, check_number(name, getattr(self, name)))
        # From a file it comes as a dictionary, whatever its type says.
        evidence: object = self.evidence
        if evidence is not None and not isinstance(evidence, EvidenceModel):
            self.evidence = EvidenceModel.from_dict(evidence)
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
        if self.block_size not in BLOCK_SIZES:
            raise ConfigError(f"block_size is {self.block_size!r}; it must be one of {listing(BLOCK_SIZES)}")
        if self.alignment not in ALIGNMENTS:
            raise ConfigError(f"alignment is {self.alignment!r}; it must be one of {listing(ALIGNMENTS)}")
        _check_inputs(self.inputs)
        if self.layers is not None:
            _check_layers(self.layers)
        check_thresholds(self.thresholds)
        for name, thresholds in self.points.items():
            try:
                check_thresholds(thresholds)
            except ConfigError as error:
                raise ConfigError(f"point {name!r}: {error}") from error
        for factor in [self.skim_factor] if is_single(self.skim_factor) else self.skim_factor:
            _check_weight("skim_factor", factor)
        _check_weight("balance_factor", self.balance_factor)
        _check_weight("teaching_factor", self.teaching_factor)
        for name in ("neighbor_relevance", "document_threshold"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be from 0 to 1")
        if self.balance_factor == 0:
            raise ConfigError("balance_factor is 0; relevant blocks must have some weight")
        if self.predictor_width < 1:
            raise ConfigError(f"predictor_width is {self.predictor_width}; it must be at least 1")
        if self.layers is not None:
            self.check_counts(self.layers)

    def check_counts(self, layers: Sequence[int]) -> None:
        """Raise ConfigError when there are more or fewer numbers somewhere than ``layers`` with a predictor."""
        named = {"thresholds": self.thresholds, "skim_factor": self.skim_factor}
        named |= {f"thresholds of point {name!r}": thresholds for name, thresholds in self.points.items()}
        for name, values in named.items():
            if not is_single(values):
                check_layer_count(name, values, layers)

    @property
    def has_skim_loss(self) -> bool:
        """Whether the skim loss has any weight, in any layer."""
        return bool(self.skim_factor) if is_single(self.skim_factor) else any(self.skim_factor)

    def point(self, name: str) -> PerLayer:
        """Thresholds of an operating point.

        Raises:
            ConfigError: there is no such point.
        """
        if name not in self.points:
            known = f"it has {listing(sorted(self.points))}" if self.points else "it has none"
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
        if not isinstance(values, Mapping):
            raise ConfigError(f"skim is {values!r:.80}; it must be a mapping of settings")
        check_known("skim setting", sorted(set(values) - set(known)), known)
        return cls(**dict(values))

    def to_dict(self) -> dict[str, Any]:
        """Values as JSON knows them."""
        values = {name: _listed(value) for name, value in asdict(self).items()}
        if self.evidence is not None:
            values["evidence"] = self.evidence.to_dict()
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


def _check_inputs(inputs: tuple[str, ...]) -> None:
    for name in inputs:
        if name not in INPUTS:
            raise ConfigError(f"inputs has {name!r}; it may hold {listing(INPUTS)}")
    if not inputs or len(set(inputs)) < len(inputs):
        raise ConfigError(f"inputs is {list(inputs)}; it must name at least one input, each once")


def _check_layers(layers: tuple[int, ...]) -> None:
    if not layers:
        raise ConfigError("layers is empty; name at least one layer, or leave it null for all but the last")
    if min(layers) < 1:
        raise ConfigError(f"layers has {min(layers)}; layers are counted from 1")
    if list(layers) != sorted(set(layers)):
        raise ConfigError(f"layers is {list(layers)}; it must rise and name each layer once")


def _check_weight(name: str, value: object) -> None:
    number = float(check_number(name, value))
    if not (math.isfinite(number) and number >= 0):
        raise ConfigError(f"{name} is {number}; it must be a finite number of at least 0")


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
