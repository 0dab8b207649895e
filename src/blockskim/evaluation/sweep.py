"""What a model scores and costs over a range of thresholds."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from blockskim.data.windows import WindowSet
from blockskim.errors import ConfigError
from blockskim.evaluation.compare import compare_with_dense, work
from blockskim.evaluation.evaluate import Evaluation, evaluate_windows, padded_flops
from blockskim.evaluation.published import relative_loss
from blockskim.inference.runner import Progress
from blockskim.method.thresholds import layer_thresholds
from blockskim.model.modeling import BlockSkimForQuestionAnswering

DENSE = "dense"
KINDS = (DENSE, "threshold", "point", "front")


@dataclass(frozen=True, slots=True)
class Setting:
    """Thresholds to be measured.

    Attributes:
        kind: ``"threshold"`` for one in all layers, ``"point"`` for an operating point of the model or its own
            thresholds, ``"front"`` for a point that a calibration confirmed, ``"dense"`` for none.
        name: to people.
        thresholds: one a layer with a predictor.
    """

    kind: str
    name: str
    thresholds: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class SweepRecord:
    """A setting with what was measured.

    Attributes:
        kind: as in ``Setting``.
        name: as in ``Setting``.
        thresholds: as in ``Setting``.
        exact_match: official, in percent.
        f1: official, in percent.
        f1_loss: F1 lost against the dense run, in percent of its F1.
        flops: spent on all windows.
        flops_speedup: dense arithmetic over spent, both on unpadded input.
        flops_speedup_padded: arithmetic of the dense model on input padded to the longest window, over spent.
        wall_speedup: dense seconds over skimming seconds, timed in turns, without padding; None when not timed.
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


def global_settings(thresholds: Sequence[float], layers: Sequence[int]) -> list[Setting]:
    """Settings that have one threshold in every layer."""
    return [Setting("threshold", f"{value:g}", layer_thresholds(value, layers)) for value in thresholds]


def calibrated_settings(model: BlockSkimForQuestionAnswering, calibration: Mapping[str, Any]) -> list[Setting]:
    """Operating points of a model, its own thresholds, and the front that its calibration confirmed.

    Args:
        model: the model.
        calibration: what its ``calibration.json`` says.

    Raises:
        ConfigError: the model was never calibrated, or its calibration is of other layers.
    """
    layers = model.skim_layers
    named = {name: layer_thresholds(values, layers) for name, values in model.skim_config.points.items()}
    if any(model.thresholds) and model.thresholds not in named.values():
        named["own"] = model.thresholds
    settings = [Setting("point", name, thresholds) for name, thresholds in named.items()]
    front = [layer_thresholds(point["thresholds"], layers) for point in calibration.get("front", [])]
    for number, thresholds in enumerate(front, start=1):
        settings.append(Setting("front", str(number), thresholds))
    if not settings:
        raise ConfigError(
            "the model has neither operating points nor thresholds of its own; blockskim calibrate makes them"
        )
    return settings


def run_sweep(
    model: BlockSkimForQuestionAnswering,
    windows: WindowSet,
    settings: Sequence[Setting],
    batch_size: int = 32,
    max_answer_length: int = 30,
    timed: bool = False,
    known: Sequence[SweepRecord] = (),
    keep: Callable[[Sequence[SweepRecord]], None] | None = None,
    progress: Progress | None = None,
) -> list[SweepRecord]:
    """Measure a model with nothing dropped, and then each setting; thresholds that occur twice are measured once.

    Args:
        model: in evaluation mode.
        windows: of the examples to score.
        settings: what to measure.
        batch_size: windows a batch.
        max_answer_length: most tokens in an answer.
        timed: whether to time each setting, in turns with the dense model.
        known: what an earlier run of the same sweep has measured; it is not measured again.
        keep: given all records after each that was measured.
        progress: told the number of windows after each batch; ``sweep_work`` tells the total.

    Returns:
        The dense run and then a record for each setting, in their order.
    """
    padded = padded_flops(model, windows)
    measured = {record.thresholds: record for record in known}
    records: list[SweepRecord] = []
    every = [Setting(DENSE, DENSE, (0.0,) * len(model.skim_layers)), *settings]
    for setting in every:
        found = measured.get(setting.thresholds)
        if found is None:
            wall = None
            if timed and any(setting.thresholds):
                comparison = compare_with_dense(
                    model, windows, batch_size, setting.thresholds, max_answer_length, progress=progress
                )
                result, wall = comparison.skim, comparison.wall_speedup
            else:
                result = evaluate_windows(
                    model, windows, batch_size, setting.thresholds, max_answer_length, progress=progress
                )
            dense_f1 = records[0].f1 if records else result.scores["f1"]
            found = _record(setting, result, dense_f1, padded, wall)
            measured[setting.thresholds] = found
            if keep is not None:
                keep(list(measured.values()))
        records.append(
            SweepRecord(
                **(found.to_dict() | {"kind": setting.kind, "name": setting.name, "thresholds": setting.thresholds})
            )
        )
    return records


def sweep_work(
    windows: WindowSet, settings: Sequence[Setting], batch_size: int, timed: bool, known: Sequence[SweepRecord] = ()
) -> int:
    """Number of windows that a sweep runs in all."""
    layers = len(settings[0].thresholds) if settings else 0
    left = {(0.0,) * layers, *(setting.thresholds for setting in settings)} - {one.thresholds for one in known}
    return sum(work(windows, batch_size) if timed and any(thresholds) else len(windows) for thresholds in left)


def _record(setting: Setting, result: Evaluation, dense_f1: float, padded: int, wall: float | None) -> SweepRecord:
    cost = result.cost
    return SweepRecord(
        setting.kind,
        setting.name,
        setting.thresholds,
        result.scores["exact_match"],
        result.scores["f1"],
        relative_loss(result.scores["f1"], dense_f1),
        cost.flops,
        cost.dense_flops / cost.flops,
        padded / cost.flops,
        wall,
        None if wall is None else result.seconds,
    )
