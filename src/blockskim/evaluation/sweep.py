"""What a model scores and costs over a range of thresholds."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from blockskim.data.examples import check_annotated
from blockskim.data.windows import WindowSet
from blockskim.errors import ConfigError
from blockskim.evaluation.compare import compare_with_dense, windows_to_run
from blockskim.evaluation.cost import padded_flops
from blockskim.evaluation.evaluate import Evaluation, evaluate_windows
from blockskim.evaluation.published import PEERS, relative_loss
from blockskim.evaluation.sweep_records import DENSE, OWN, Setting, SweepRecord
from blockskim.inference.loading import LoadedModel
from blockskim.inference.runner import Progress
from blockskim.method.thresholds import layer_thresholds
from blockskim.model.modeling import BlockSkimForQuestionAnswering


def sweep_settings(
    loaded: LoadedModel, thresholds: Sequence[float], calibration: Mapping[str, Any] | None = None
) -> list[Setting]:
    """Everything that a sweep is to measure.

    Args:
        loaded: the model.
        thresholds: each in every layer.
        calibration: what the model's ``calibration.json`` says; None to leave out what was calibrated.

    Raises:
        ConfigError: the model has no predictors, or was never calibrated, or its calibration is of other layers.
    """
    if not loaded.skims:
        raise ConfigError(f"a sweep needs a Block-Skim model; {loaded.name} is a plain one, without predictors")
    settings = global_settings(thresholds, loaded.model.skim_layers)
    return settings if calibration is None else settings + calibrated_settings(loaded.model, calibration)


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
    settings = [Setting("point", name, thresholds) for name, thresholds in named.items()]
    if any(model.thresholds) and model.thresholds not in named.values():
        # A point may be called so, too.
        settings.append(Setting(OWN, OWN, model.thresholds))
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
        batch_size: windows per batch.
        max_answer_length: most tokens in an answer.
        timed: whether to time each setting, interleaved with the dense model.
        known: what an earlier run of the same sweep has measured; it is not measured again.
        keep: called with all records after each that was measured.
        progress: called with the number of windows after each batch; ``windows_to_sweep`` is the total.

    Returns:
        The dense run and then a record for each setting, in their order.

    Raises:
        DataError: the answers of the examples are not known.
    """
    check_annotated(windows.examples)
    padded = padded_flops(model, windows)
    measured = {record.thresholds: record for record in known}
    records: list[SweepRecord] = []
    for setting in [Setting(DENSE, DENSE, (0.0,) * len(model.skim_layers)), *settings]:
        if setting.thresholds not in measured:
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
            measured[setting.thresholds] = _record(setting, result, dense_f1, padded, wall)
            if keep is not None:
                keep(list(measured.values()))
        records.append(replace(measured[setting.thresholds], kind=setting.kind, name=setting.name))
    return records


def windows_to_sweep(
    windows: WindowSet, settings: Sequence[Setting], batch_size: int, timed: bool, known: Sequence[SweepRecord] = ()
) -> int:
    """Number of windows that a sweep runs in all.

    Args:
        windows: of the examples to score.
        settings: what is measured, the dense run aside.
        batch_size: windows per batch.
        timed: whether each setting is timed.
        known: what is not measured again.
    """
    layers = len(settings[0].thresholds) if settings else 0
    left = {(0.0,) * layers, *(setting.thresholds for setting in settings)} - {one.thresholds for one in known}
    return sum(windows_to_run(windows, batch_size) if timed and any(values) else len(windows) for values in left)


def sweep_values(
    model: BlockSkimForQuestionAnswering,
    windows: WindowSet,
    records: Sequence[SweepRecord],
    max_length: int,
    batch_size: int,
) -> dict[str, Any]:
    """A sweep as the command line prints it.

    Args:
        model: that was measured.
        windows: that it read.
        records: of the sweep.
        max_length: what padded input is padded to.
        batch_size: windows per batch.
    """
    return {
        "examples": len(windows.examples),
        "windows": len(windows),
        "max_length": max_length,
        "batch_size": batch_size,
        "device": str(model.device),
        "dtype": model.number_format,
        "records": [record.to_dict() for record in records],
        "peers": [
            {"name": peer.name, "f1": peer.f1, "dense_f1": peer.dense_f1, "speedup": peer.speedup, "arxiv": peer.source}
            for peer in PEERS
        ],
    }


def _record(setting: Setting, result: Evaluation, dense_f1: float, padded: int, wall: float | None) -> SweepRecord:
    return SweepRecord(
        kind=setting.kind,
        name=setting.name,
        thresholds=setting.thresholds,
        exact_match=result.scores["exact_match"],
        f1=result.scores["f1"],
        f1_loss=relative_loss(result.scores["f1"], dense_f1),
        flops=result.cost.flops,
        flops_speedup=result.cost.flops_speedup,
        flops_speedup_padded=padded / result.cost.flops,
        wall_speedup=wall,
        seconds=None if wall is None else result.seconds,
    )
