"""Choosing thresholds: from what all predictors say about a data set to the cheapest run that loses little enough.

The model runs once with nothing dropped, and every keep probability is recorded, and which blocks its own answers
begin and end in. On these records thresholds are simulated: for every price of F1 at risk, from dear to cheap, the
layers' thresholds are changed one by one until nothing lowers cost and price together. *At risk* is the F1 of the dense
model's answers that lose a block they begin or end in. It depends on chance less than the difference of two measured F1
does, but is not all that is lost: answers also change because the text around them is gone, for worse and for better.
What no other thresholds beat is a front of ever cheaper and riskier points. Points on it are then confirmed by really
skimming, and the cheapest one that satisfies the target, both by what is at risk and by what was measured, is chosen.
"""

import logging
from collections.abc import Mapping
from pathlib import Path

from blockskim.atomic import check_new
from blockskim.calibration.cache import CalibrationCache, remove_cache
from blockskim.calibration.calibrated_copy import save_calibrated
from blockskim.calibration.confirm import Confirmation, confirm_path
from blockskim.calibration.record import Recording, record
from blockskim.calibration.refine import refine
from blockskim.calibration.result import Calibration, read_calibration
from blockskim.calibration.search import Limits, add_conservative_points, search
from blockskim.calibration.settings import OVERHEAD, CalibrationSettings, TaskProgress
from blockskim.calibration.simulator import Simulator
from blockskim.calibration.targets import Target, choose
from blockskim.data.windows import WindowSet
from blockskim.errors import ConfigError, DataError
from blockskim.evaluation.run_key import run_key
from blockskim.extras import load_optuna
from blockskim.inference.backend import Backend
from blockskim.inference.loading import LoadedModel
from blockskim.method.thresholds import check_point_name

logger = logging.getLogger(__name__)

REACH = 5.0
"""Points are searched up to so many times the F1 that may be lost at risk."""

FEWEST = 6
"""Points that are confirmed for a target, however many targets there are."""


def calibrate(
    model: Backend,
    windows: WindowSet,
    max_f1_drop: float | None = None,
    target_speedup: float | None = None,
    *,
    max_answers_lost: float | None = None,
    by: str = "flops",
    batch_size: int = 32,
    max_answer_length: int = 30,
    points: int = 12,
    max_f1_at_risk: float = 10.0,
    overhead: float = OVERHEAD,
    trials: int = 0,
    seed: int = 0,
    progress: TaskProgress | None = None,
    cache: str | Path | None = None,
) -> Calibration:
    """Choose thresholds for one target.

    Args:
        model: in evaluation mode; its settings are left as they are.
        windows: of examples that were neither trained on nor will be reported on.
        max_f1_drop: most F1, in points, that may be lost against the dense run.
        target_speedup: wanted speed-up over the dense run; the point with the best F1 there is taken.
        max_answers_lost: largest share of the examples whose dense answer may lose a block; beside another target, or
            alone.
        by: what the speed-up is of, ``"flops"`` or ``"seconds"``.
        batch_size: windows per batch.
        max_answer_length: most tokens in an answer.
        points: how many points are confirmed by really skimming.
        max_f1_at_risk: points that put more F1 at risk are not considered, unless a target allows to lose more.
        overhead: cost of asking one layer's predictor beyond its FLOPs, as a share of a dense run. A layer that saves
            less is not asked.
        trials: of Optuna, to look around what the search finds; 0 for none.
        seed: of these trials.
        progress: called with the name of a task and the number of windows, prices or trials of it that were just done.
        cache: folder that keeps what was recorded and confirmed, so that a killed run goes on when it is repeated.
            Remove it with ``remove_cache``.

    Raises:
        ConfigError: there is no target, it is impossible, trials are asked for without Optuna, or a cache for a
            backend without a ``fingerprint``.

    Examples:
        >>> from blockskim import calibrate, load, make_windows, read_examples
        >>> loaded = load("my-model", device="cpu")
        >>> windows = make_windows(list(read_examples("held-out.json")), loaded.tokenizer)
        >>> found = calibrate(loaded.model, windows, max_f1_drop=20)
        >>> found.satisfied, len(found.chosen.thresholds) == len(loaded.model.skim_layers)
        (True, True)
    """
    target = Target(max_f1_drop, target_speedup, max_answers_lost, by)
    settings = CalibrationSettings(batch_size, max_answer_length, points, max_f1_at_risk, overhead, trials, seed)
    return run_calibration(model, windows, {"target": target}, settings, progress, cache)["target"]


def calibrate_points(
    model: Backend,
    windows: WindowSet,
    targets: Mapping[str, Target],
    *,
    batch_size: int = 32,
    max_answer_length: int = 30,
    points: int = 12,
    max_f1_at_risk: float = 10.0,
    overhead: float = OVERHEAD,
    trials: int = 0,
    seed: int = 0,
    progress: TaskProgress | None = None,
    cache: str | Path | None = None,
) -> dict[str, Calibration]:
    """Choose an operating point for each target; the model runs once to record, and once for each confirmed point.

    Args:
        model: in evaluation mode; its settings are left as they are.
        windows: of examples that were neither trained on nor will be reported on.
        targets: by name of the operating point.
        batch_size: windows per batch.
        max_answer_length: most tokens in an answer.
        points: how many points are confirmed by really skimming when there is one target; of several, each gets fewer.
        max_f1_at_risk: points that put more F1 at risk are not considered, unless a target allows to lose more.
        overhead: cost of asking one layer's predictor beyond its FLOPs, as a share of a dense run. A layer that saves
            less is not asked.
        trials: of Optuna, to look around what the search finds; 0 for none.
        seed: of these trials.
        progress: called with the name of a task and the number of windows, prices or trials of it that were just done.
        cache: folder that keeps what was recorded and confirmed, so that a killed run goes on when it is repeated.
            Remove it with ``remove_cache``.

    Returns:
        The outcome of each target. All have the same dense run and the same front.

    Raises:
        ConfigError: there is no target, a name is impossible, trials are asked for without Optuna, or a cache for a
            backend without a ``fingerprint``.

    Examples:
        >>> from blockskim import Target, calibrate_points, load, make_windows, read_examples
        >>> loaded = load("my-model", device="cpu")
        >>> windows = make_windows(list(read_examples("held-out.json")), loaded.tokenizer)
        >>> targets = {"careful": Target(max_f1_drop=20), "fast": Target(target_speedup=1.01)}
        >>> sorted(calibrate_points(loaded.model, windows, targets))
        ['careful', 'fast']
    """
    settings = CalibrationSettings(batch_size, max_answer_length, points, max_f1_at_risk, overhead, trials, seed)
    return run_calibration(model, windows, targets, settings, progress, cache)


def run_calibration(
    model: Backend,
    windows: WindowSet,
    targets: Mapping[str, Target],
    settings: CalibrationSettings,
    progress: TaskProgress | None = None,
    cache: str | Path | None = None,
) -> dict[str, Calibration]:
    """Choose an operating point for each target.

    Args:
        model: in evaluation mode; its settings are left as they are.
        windows: of examples that were neither trained on nor will be reported on.
        targets: by name of the operating point.
        settings: how to search and confirm.
        progress: called with the name of a task and the number of windows, prices or trials of it that were just done.
        cache: folder that keeps what was recorded and confirmed between runs.

    Raises:
        ConfigError: there is no target, a name is impossible, trials are asked for without Optuna, or a cache for a
            backend without a ``fingerprint``.
        DataError: there are no examples, or their answers are not known.
    """
    if not targets:
        raise ConfigError("there is no target; give at least one")
    for name in targets:
        check_point_name(name)
    if not windows.examples:
        raise DataError("there are no examples to calibrate on")
    if settings.trials:
        load_optuna()
    _warn_of_few_examples(targets, len(windows.examples))
    files = None
    if cache is not None:
        timed = any(target.by == "seconds" for target in targets.values())
        key = run_key(model, windows, settings.batch_size, settings.max_answer_length, timed)
        files = CalibrationCache(Path(cache), key)
    recording = _recorded(model, windows, settings, files, progress)
    simulator = Simulator(model, windows, recording, settings.overhead)
    confirmation = Confirmation(model, windows, recording.example_f1, settings, files, progress)
    count = settings.points if len(targets) == 1 else max(FEWEST, 2 * settings.points // (len(targets) + 1))
    dense = recording.dense
    limits = {name: _limits(target, settings) for name, target in targets.items()}
    widest = Limits(max(one.f1_at_risk for one in limits.values()), max(one.answers_lost for one in limits.values()))
    found = search(simulator, widest, progress)
    for name, target in targets.items():
        path = [point for point in found if limits[name].allow(point)]
        if settings.trials:
            path = refine(path, simulator, limits[name], settings.trials, settings.seed, progress)
        confirm_path(add_conservative_points(path, simulator), confirmation, target, dense, count)
    front = tuple(sorted(confirmation.points.values(), key=lambda point: point.flops_speedup))
    outcomes = {}
    for name, target in targets.items():
        # Points that were confirmed for another target may put more at risk than this one's search allows.
        allowed = [point for point in front if limits[name].allow(point)]
        outcomes[name] = Calibration(*choose(target, dense, allowed), dense, front, len(windows.examples), target)
    return outcomes


def calibrate_copy(
    loaded: LoadedModel,
    windows: WindowSet,
    targets: Mapping[str, Target],
    output: Path,
    settings: CalibrationSettings,
    default: str | None = None,
    named: bool = True,
    half: bool = False,
    progress: TaskProgress | None = None,
) -> dict[str, Calibration]:
    """Choose an operating point for each target and write them into a copy of the model.

    What was recorded and confirmed is kept beside the copy, in ``OUTPUT.partial``, until the copy is there: a run that
    was killed goes on when it is repeated.

    Args:
        loaded: the model and its tokenizer.
        windows: of examples that were neither trained on nor will be reported on.
        targets: by name of the operating point.
        output: directory to make.
        settings: how to search and confirm.
        default: the target whose thresholds become the copy's own; the first when None.
        named: whether the targets' names become operating points of the copy.
        half: whether to store the weights in float16.
        progress: called with the name of a task and the number of windows, prices or trials of it that were just done.

    Raises:
        ConfigError: there is no target, a name is impossible, trials are asked for without Optuna, or something is at
            ``output`` already.
        DataError: there are no examples, or their answers are not known.
        ModelError: the record of an earlier calibration in the model's directory is damaged.
    """
    check_new(output)
    # It goes into the copy; a damaged one is told of before the long part.
    read_calibration(loaded.name, loaded.hub)
    # The folder that the process works in has a name as well. A link has its own.
    whole = output.resolve() if output.name in ("", "..") else output.absolute()
    partial = whole.with_name(f"{whole.name}.partial")
    outcomes = run_calibration(loaded.model, windows, targets, settings, progress, partial)
    result = outcomes[default or next(iter(outcomes))]
    save_calibrated(loaded, result, output, half, outcomes if named else {})
    remove_cache(partial)
    return outcomes


def _recorded(
    model: Backend,
    windows: WindowSet,
    settings: CalibrationSettings,
    files: CalibrationCache | None,
    progress: TaskProgress | None,
) -> Recording:
    """The dense run, from the cache if it is there."""
    recording = None if files is None else files.recording()
    if recording is None:
        recording = record(model, windows, settings.batch_size, settings.max_answer_length, progress)
        if files is not None:
            files.keep_recording(recording)
    return recording


def _limits(target: Target, settings: CalibrationSettings) -> Limits:
    """How far to search for a target."""
    f1_at_risk = settings.max_f1_at_risk
    if target.max_f1_drop is not None:
        f1_at_risk = min(max(f1_at_risk, target.max_f1_drop), REACH * target.max_f1_drop)
    return Limits(f1_at_risk, 1.0 if target.max_answers_lost is None else target.max_answers_lost)


def _warn_of_few_examples(targets: Mapping[str, Target], examples: int) -> None:
    """Warn of targets that so few examples can't vouch for.

    Where none of n examples loses its answer, up to 3 / n of others may, at 95 % confidence (the rule of three).
    """
    unsure = 300 / examples
    for target in targets.values():
        if target.max_f1_drop is not None and target.max_f1_drop < unsure:
            logger.warning(
                "%d examples can't vouch for a loss of at most %g F1: even where they lose nothing, others may lose "
                "%.2g; calibrate on more",
                examples,
                target.max_f1_drop,
                min(unsure, 100),
            )
            return
