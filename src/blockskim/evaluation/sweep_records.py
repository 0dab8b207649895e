"""What a sweep measures and finds, as plain values; quick to import, so that wrong thresholds are refused at once."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from blockskim.errors import ConfigError

DENSE = "dense"
OWN = "own"


@dataclass(frozen=True, slots=True)
class Setting:
    """Thresholds to be measured.

    Attributes:
        kind: ``"threshold"`` for one in all layers, ``"point"`` for an operating point of the model, ``"own"`` for its
            own thresholds, ``"front"`` for a point that a calibration confirmed, ``"dense"`` for none.
        name: for people to read.
        thresholds: one per layer with a predictor.
    """

    kind: str
    name: str
    thresholds: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class SweepRecord:
    """A setting with what was measured.

    Attributes:
        kind: of the setting.
        name: of the setting.
        thresholds: of the setting, one per layer with a predictor.
        exact_match: official, in percent.
        f1: official, in percent.
        f1_loss: F1 lost against the dense run, in percent of its F1.
        flops: spent on all windows.
        flops_speedup: dense FLOPs over FLOPs spent, both on unpadded input.
        flops_speedup_padded: FLOPs of the dense model on input padded to the longest window, over FLOPs spent.
        wall_speedup: dense seconds over skimming seconds, interleaved, without padding; None when not timed.
        seconds: of the skimming run, windows to answers; None when not timed.
    """

    kind: str
    name: str
    thresholds: tuple[float, ...]
    exact_match: float
    f1: float
    f1_loss: float
    flops: int
    flops_speedup: float
    flops_speedup_padded: float
    wall_speedup: float | None = None
    seconds: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Values as JSON knows them."""
        return asdict(self) | {"thresholds": list(self.thresholds)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "SweepRecord":
        """Read what ``to_dict`` wrote.

        Raises:
            ConfigError: something else was given.
        """
        if set(values) != {item.name for item in fields(cls)}:
            raise ConfigError(f"this is no record of a sweep: {dict(values)!r}")
        return cls(**{**values, "thresholds": tuple(values["thresholds"])})


def parse_thresholds(text: str) -> tuple[float, ...]:
    """Read thresholds such as ``"0,0.01,0.1"``, each once and in rising order.

    Raises:
        ConfigError: one is not a number from 0 to 1.
    """
    values = set()
    for part in text.split(","):
        try:
            value = float(part)
        except ValueError:
            value = -1.0
        if not 0.0 <= value <= 1.0:
            raise ConfigError(f"thresholds has {part!r}; it must be numbers from 0 to 1 with commas between")
        values.add(value)
    return tuple(sorted(values))
