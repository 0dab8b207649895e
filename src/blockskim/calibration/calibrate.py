"""Choosing thresholds: from what all predictors say about a data set to the cheapest run that loses little enough.

The model runs once with nothing dropped, and every keep probability is recorded, and which blocks its own answers
begin and end in. On these records thresholds are simulated: starting from none, again and again the layer is skimmed a
little harder where that saves the most arithmetic for the F1 at risk. *At risk* is the F1 of the dense model's
answers that lose a block they begin or end in. It depends on chance less than the difference of two measured F1 does,
but is not all that is lost: answers also change because the text around them is gone, for worse and for better. The
path of that search is a front of ever cheaper and riskier points; points on it are then confirmed by really skimming,
and the cheapest one that satisfies the target, both by what is at risk and by what was measured, is chosen.
"""

import json
import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from blockskim.atomic import new_directory
from blockskim.calibration.cache import CalibrationCache, calibration_key
from blockskim.calibration.points import Point
from blockskim.calibration.refine import refine
from blockskim.calibration.simulator import OVERHEAD, AnswerBlocks, add_conservative_points, search, spread
from blockskim.calibration.targets import Target, choose
from blockskim.data.windows import WindowSet, covering_tokens
from blockskim.errors import ConfigError, ModelError
from blockskim.evaluation.block_scores import BlockScores, collect_block_scores
from blockskim.evaluation.compare import compare_with_dense
from blockskim.evaluation.evaluate import Evaluation, evaluate_windows, mean_scores, scores_by_source
from blockskim.extras import load_optuna
from blockskim.inference.answers import AnswerCollector, ExampleAnswers, answer_texts
from blockskim.inference.runner import WindowBatch, run_windows
from blockskim.method.config import check_point_name
from blockskim.metrics.squad import token_f1
from blockskim.model.modeling import BlockSkimForQuestionAnswering

logger = logging.getLogger(__name__)

CALIBRATION_FILE = "calibration.json"

REACH = 5.0
"""Points are searched up to so many times the F1 that may be lost at risk."""

FEWEST = 6
"""Points that are confirmed for a target, however many targets there are."""

CLOSING = 3
"""More of them, one after the other, between the fastest that loses little enough and the next one that doesn't."""

Progress = Callable[[str, int], None]


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


def calibrate(
    model: BlockSkimForQuestionAnswering,
    windows: WindowSet,
    max_f1_drop: float | None = None,
    target_speedup: float | None = None,
    batch_size: int = 32,
    max_answer_length: int = 30,
    points: int = 12,
    max_f1_at_risk: float = 10.0,
    overhead: float = OVERHEAD,
    progress: Progress | None = None,
    max_answers_lost: float | None = None,
    by: str = "flops",
    trials: int = 0,
    seed: int = 0,
    cache: Path | None = None,
) -> Calibration:
    """Choose thresholds for a target; the model's settings are left as they are.

    Args:
        model: in evaluation mode.
        windows: of examples that were neither trained on nor will be reported on.
        max_f1_drop: most F1, in points, that may be lost against the dense run.
        target_speedup: wanted speed-up over the dense run; the point with the best F1 there is taken.
        batch_size: as for ``calibrate_points``, like all that follow but these two.
        max_answer_length: see there.
        points: see there.
        max_f1_at_risk: see there.
        overhead: see there.
        progress: see there.
        max_answers_lost: largest share of the examples whose dense answer may lose a block; beside another target, or
            alone.
        by: what the speed-up is of, ``"flops"`` or ``"seconds"``.
        trials: see there.
        seed: see there.
        cache: see there.

    Raises:
        ConfigError: there is no target, or it is impossible.
    """
    target = Target(max_f1_drop, target_speedup, max_answers_lost, by)
    found = calibrate_points(
        model,
        windows,
        {"target": target},
        batch_size,
        max_answer_length,
        points,
        max_f1_at_risk,
        overhead,
        trials,
        seed,
        progress,
        cache,
    )
    return found["target"]


def calibrate_points(
    model: BlockSkimForQuestionAnswering,
    windows: WindowSet,
    targets: Mapping[str, Target],
    batch_size: int = 32,
    max_answer_length: int = 30,
    points: int = 12,
    max_f1_at_risk: float = 10.0,
    overhead: float = OVERHEAD,
    trials: int = 0,
    seed: int = 0,
    progress: Progress | None = None,
    cache: Path | None = None,
) -> dict[str, Calibration]:
    """Choose an operating point for each target; the model runs once to record, and once for each confirmed point.

    Args:
        model: in evaluation mode; its settings are left as they are.
        windows: of examples that were neither trained on nor will be reported on.
        targets: by name of the operating point.
        batch_size: windows a batch.
        max_answer_length: most tokens in an answer.
        points: how many points are confirmed by really skimming when there is one target; of several, each gets fewer.
        max_f1_at_risk: points that put more F1 at risk are not considered.
        overhead: what asking the predictor of one layer costs beyond its arithmetic, as a share of a dense run. Layers
            that save less than that are not asked.
        trials: of Optuna, to refine what greedy search finds; 0 for none.
        seed: of these trials.
        progress: told what is done, and the number of windows done; of ``REFINING``, that of trials.
        cache: folder in which what was recorded and confirmed is kept, so that a run that was killed goes on when it
            is repeated; None for none. Whoever named it removes it (``remove_cache``).

    Returns:
        The outcome of each target. All have the same dense run and the same front.

    Raises:
        ConfigError: there is no target, a name is impossible, or trials are asked for without Optuna.
    """
    if not targets:
        raise ConfigError("there is no target; give at least one")
    for name in targets:
        check_point_name(name)
    if trials < 0:
        raise ConfigError(f"trials is {trials}; it must be at least 0")
    if trials:
        load_optuna()
    _warn_of_few_examples(targets, len(windows.examples))
    kept = None
    if cache is not None:
        kept = CalibrationCache(cache, calibration_key(model, windows, batch_size, max_answer_length))
    recorded = None if kept is None else kept.recording()
    if recorded is None:
        recorded = record(model, windows, batch_size, max_answer_length, progress)
        if kept is not None:
            kept.keep_recording(*recorded)
    dense, block_scores, answer_blocks = recorded
    confirm = _Confirmation(model, windows, answer_blocks, batch_size, max_answer_length, kept, progress)
    count = points if len(targets) == 1 else max(FEWEST, 2 * points // (len(targets) + 1))
    for target in targets.values():
        limit = max_f1_at_risk if target.max_f1_drop is None else min(max_f1_at_risk, REACH * target.max_f1_drop)
        most_lost = 1.0 if target.max_answers_lost is None else target.max_answers_lost
        path = search(block_scores, answer_blocks, model, windows, limit, overhead, most_lost)
        if trials:
            path = refine(
                path, block_scores, answer_blocks, model, windows, limit, overhead, most_lost, trials, seed, progress
            )
        path = add_conservative_points(path, block_scores, answer_blocks, model, windows, overhead)
        if target.by == "seconds":
            _bisect(path, confirm, target.target_speedup or 1.0)
        else:
            for point in spread(path, count, target.target_speedup):
                confirm(point)
            if target.max_f1_drop is not None:
                _close_in(path, confirm, target, dense)
    front = tuple(sorted(confirm.points.values(), key=lambda point: point.flops_speedup))
    outcomes = {}
    for name, target in targets.items():
        chosen, satisfied = choose(target, dense, front)
        outcomes[name] = Calibration(chosen, satisfied, dense, front, len(windows.examples), target)
    return outcomes


def record(
    model: BlockSkimForQuestionAnswering,
    windows: WindowSet,
    batch_size: int,
    max_answer_length: int,
    progress: Callable[[str, int], None] | None = None,
) -> tuple[Point, BlockScores, AnswerBlocks]:
    """Run a model with nothing dropped: its scores, what its predictors say, and the blocks of its answers."""
    collector = AnswerCollector(windows, max_answer_length)
    batches: list[WindowBatch] = []
    report = None if progress is None else lambda done: progress("recording", done)
    for batch in run_windows(model, windows, batch_size, 0.0, score_all_layers=True, progress=report):
        collector.add(batch)
        batches.append(batch)
    answers = collector.results()
    texts = answer_texts(windows, answers)
    scores = mean_scores(scores_by_source(windows.examples, answers))
    block_scores = collect_block_scores(batches, windows)
    none = (0.0,) * len(block_scores.layers)
    dense = Point(none, 1.0, 0.0, scores["f1"], scores["exact_match"])
    return dense, block_scores, find_answer_blocks(block_scores, windows, answers, texts)


def save_calibrated(
    source: str | Path,
    tokenizer: PreTrainedTokenizerBase,
    result: Calibration,
    output: Path,
    half: bool = False,
    points: Mapping[str, Calibration] | None = None,
) -> None:
    """Write a copy of a model with the chosen thresholds; ``calibration.json`` tells how they were found.

    Args:
        source: directory or hub id of the model that was calibrated; its weights are read anew, as they were stored.
        tokenizer: its tokenizer.
        result: the calibration that the copy's own thresholds come from.
        output: directory to make; it appears whole or not at all.
        half: whether to store the weights in float16.
        points: calibrations that operating points come from, by name; points that the model has stay unless one has
            the same name.
    """
    points = points or {}
    model = BlockSkimForQuestionAnswering.from_pretrained(source, dtype=torch.float32)
    chosen = {name: point.chosen.thresholds for name, point in points.items()}
    model.skim_config = model.skim_config.replace(
        thresholds=result.chosen.thresholds, points={**model.skim_config.points, **chosen}
    )
    if half:
        model = model.half()
    told = {
        name: {key: asdict(point)[key] for key in ("target", "chosen", "satisfied")} for name, point in points.items()
    }
    values = asdict(result) | {"points": {**read_calibration(source).get("points", {}), **told}}
    with new_directory(output) as part:
        model.save_pretrained(part)
        tokenizer.save_pretrained(part)
        (part / CALIBRATION_FILE).write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
        for name in ("README.md", "recipe.json"):
            if (Path(source) / name).is_file():
                shutil.copy(Path(source) / name, part / name)


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
    except ValueError as error:
        raise ModelError(f"{path} is damaged: {error}") from error
    if not isinstance(values, dict):
        raise ModelError(f"{path} is damaged: it holds no calibration")
    return values


def find_answer_blocks(
    block_scores: BlockScores, windows: WindowSet, answers: Sequence[ExampleAnswers], texts: Mapping[str, str]
) -> AnswerBlocks:
    """The blocks in which the best answers begin or end, and the F1 of these answers."""
    by_window: dict[int, NDArray[np.int64]] = {}
    order = np.argsort(block_scores.windows, kind="stable")
    bounds = np.flatnonzero(np.diff(block_scores.windows[order])) + 1
    for part in np.split(order, bounds):
        by_window[int(block_scores.windows[part[0]])] = part
    blocks, examples = [], []
    for number, answer in enumerate(answers):
        if not answer.candidates or answer.candidates[0].window not in by_window:
            continue
        best = answer.candidates[0]
        own = by_window[best.window]
        first = windows.context_start(best.window) - int(windows.windows[best.window, 1])
        offsets = windows.contexts.offsets_of(int(windows.context_of[number]))
        for token in set(covering_tokens(offsets, best.start, best.end)):
            place = token + first - block_scores.starts[own]
            holding = own[(place >= 0) & (place < block_scores.tokens[own])]
            blocks += holding.tolist()
            examples += [number] * len(holding)
    return AnswerBlocks(
        np.array(blocks, dtype=np.int64), np.array(examples, dtype=np.int64), example_f1(windows, texts)
    )


def example_f1(windows: WindowSet, texts: Mapping[str, str]) -> NDArray[np.float64]:
    """Official F1 of the answer to each example, in percent. Shape: (examples,)."""
    return np.array(
        [
            100 * max((token_f1(texts[example.id], known) for known in example.references), default=0.0)
            for example in windows.examples
        ]
    )


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


class _Confirmation:
    """Really skims at points, each once: those that were confirmed before a kill are taken from the cache."""

    def __init__(
        self,
        model: BlockSkimForQuestionAnswering,
        windows: WindowSet,
        answer_blocks: AnswerBlocks,
        batch_size: int,
        max_answer_length: int,
        cache: CalibrationCache | None,
        progress: Progress | None,
    ) -> None:
        self.model = model
        self.windows = windows
        self.answer_blocks = answer_blocks
        self.batch_size = batch_size
        self.max_answer_length = max_answer_length
        self.cache = cache
        self.progress = progress
        self.known = {} if cache is None else cache.points()
        self.points: dict[tuple[float, ...], Point] = {}

    def __call__(self, point: Point, timed: bool = False) -> Point:
        """The point as measured; if ``timed``, in turns with the dense model."""
        found = self.known.get(point.thresholds)
        if found is None or (timed and found.wall_speedup is None):
            found = self._timed(point) if timed else self._run(point)
            self.known[point.thresholds] = found
            if self.cache is not None:
                self.cache.keep_points(self.known)
        # What the simulation says is of this run, should its settings be others than those of a killed one.
        found = replace(found, f1_at_risk=point.f1_at_risk, answers_lost=point.answers_lost)
        self.points[point.thresholds] = found
        return found

    def _run(self, point: Point) -> Point:
        result = evaluate_windows(
            self.model,
            self.windows,
            self.batch_size,
            point.thresholds,
            self.max_answer_length,
            progress=self._with_progress(f"confirming point {len(self.points) + 1}"),
        )
        return self._confirmed(point, result)

    def _timed(self, point: Point) -> Point:
        comparison = compare_with_dense(
            self.model,
            self.windows,
            self.batch_size,
            point.thresholds,
            self.max_answer_length,
            progress=self._with_progress(f"timing point {len(self.points) + 1}"),
        )
        return replace(self._confirmed(point, comparison.skim), wall_speedup=comparison.wall_speedup)

    def _with_progress(self, task: str) -> Callable[[int], None] | None:
        progress = self.progress
        return None if progress is None else lambda done: progress(task, done)

    def _confirmed(self, point: Point, result: Evaluation) -> Point:
        """A point with what was measured."""
        cost = result.cost
        lost = self.answer_blocks.f1 - example_f1(self.windows, result.predictions)
        return replace(
            point,
            flops_speedup=cost.dense_flops / cost.flops,
            f1=result.scores["f1"],
            exact_match=result.scores["exact_match"],
            seconds=result.seconds,
            # One example says nothing about others: they may lose everything.
            error=float(lost.std(ddof=1)) / len(lost) ** 0.5 if len(lost) > 1 else 100.0,
        )


def _close_in(path: Sequence[Point], confirm: _Confirmation, target: Target, dense: Point) -> None:
    """Confirm points of the path just beyond the fastest confirmed one that loses little enough."""
    skimming = [point for point in path if any(point.thresholds)]
    for _ in range(CLOSING):
        known = [number for number, point in enumerate(skimming) if point.thresholds in confirm.points]
        chosen, _ = choose(target, dense, [confirm.points[skimming[number].thresholds] for number in known])
        low = max((number for number in known if skimming[number].thresholds == chosen.thresholds), default=-1)
        high = min((number for number in known if number > low), default=low)
        if high - low < 2:
            return
        confirm(skimming[(low + high) // 2])


def _bisect(path: Sequence[Point], confirm: _Confirmation, target: float) -> None:
    """Time points of the path around the first one that is ``target`` times as fast as the dense model.

    The path gets faster from point to point, as far as a clock can tell, so few of its points need be timed.
    """
    skimming = [point for point in path if any(point.thresholds)]
    low, high = 0, len(skimming) - 1
    if not skimming or (confirm(skimming[high], timed=True).wall_speedup or 0.0) < target:
        return
    while low < high:
        middle = (low + high) // 2
        if (confirm(skimming[middle], timed=True).wall_speedup or 0.0) >= target:
            high = middle
        else:
            low = middle + 1
