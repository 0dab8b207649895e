"""Confirming simulated points by really skimming: which of a path, and what is measured there."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from blockskim.calibration.cache import CalibrationCache
from blockskim.calibration.points import Point
from blockskim.calibration.settings import CalibrationSettings, TaskProgress
from blockskim.calibration.targets import Target, choose
from blockskim.data.windows import WindowSet
from blockskim.evaluation.compare import compare_with_dense
from blockskim.evaluation.evaluate import Evaluation, evaluate_windows
from blockskim.evaluation.scoring import f1_by_example
from blockskim.inference.backend import Backend
from blockskim.inference.no_answer import NoAnswerRule

CLOSING = 3
"""More points, one after the other, between the fastest that loses little enough and the next one that doesn't."""


TIMING = "timing"
"""How the names of tasks begin in which a point takes turns with the dense model."""


class Confirmation:
    """Really skims at points, each once: those that were confirmed before a kill are taken from the cache.

    Attributes:
        points: what was confirmed, by thresholds.
    """

    def __init__(
        self,
        model: Backend,
        windows: WindowSet,
        dense_f1: NDArray[np.float64],
        settings: CalibrationSettings,
        cache: CalibrationCache | None = None,
        progress: TaskProgress | None = None,
    ) -> None:
        """Confirm points of a model.

        Args:
            model: in evaluation mode.
            windows: of the examples to calibrate on.
            dense_f1: official F1 of the dense run for each example, in percent. Shape: (examples,)
            settings: of the calibration.
            cache: where confirmed points are kept between runs.
            progress: called with the name of the point and the number of windows after each batch.
        """
        self.model = model
        self.windows = windows
        self.dense_f1 = dense_f1
        self.settings = settings
        self.cache = cache
        self.progress = progress
        self.points: dict[tuple[float, ...], Point] = {}
        self._measured = {} if cache is None else cache.points()

    def confirm(self, point: Point, timed: bool = False) -> Point:
        """The point as measured; if ``timed``, interleaved with the dense model."""
        measured = self._measured.get(point.thresholds)
        if measured is None or (timed and measured.wall_speedup is None):
            measured = self._measure(point, timed)
            self._measured[point.thresholds] = measured
            if self.cache is not None:
                self.cache.keep_points(self._measured)
        # What the simulation says is of this run, should its settings be others than those of a killed one.
        confirmed = replace(measured, f1_at_risk=point.f1_at_risk, answers_lost=point.answers_lost)
        self.points[point.thresholds] = confirmed
        return confirmed

    def _measure(self, point: Point, timed: bool) -> Point:
        settings = self.settings
        run = (self.model, self.windows, settings.batch_size, point.thresholds, settings.max_answer_length)
        progress = self._progress_of(f"{TIMING if timed else 'confirming'} point {len(self.points) + 1}")
        if not timed:
            return self._with_figures(point, evaluate_windows(*run, progress=progress))
        comparison = compare_with_dense(*run, progress=progress)
        return replace(self._with_figures(point, comparison.skim), wall_speedup=comparison.wall_speedup)

    def _progress_of(self, task: str) -> Callable[[int], None] | None:
        progress = self.progress
        return None if progress is None else lambda windows_done: progress(task, windows_done)

    def _with_figures(self, point: Point, result: Evaluation) -> Point:
        """A point with what was measured."""
        rule = NoAnswerRule(self.model.confidence)
        lost = self.dense_f1 - f1_by_example(self.windows.examples, result.answers, rule)
        return replace(
            point,
            flops_speedup=result.cost.flops_speedup,
            f1=result.scores["f1"],
            exact_match=result.scores["exact_match"],
            seconds=result.seconds,
            # One example says nothing about others: they may lose everything.
            error=float(lost.std(ddof=1)) / len(lost) ** 0.5 if len(lost) > 1 else 100.0,
        )


def confirm_path(path: Sequence[Point], confirmation: Confirmation, target: Target, dense: Point, count: int) -> None:
    """Confirm the points of a path that decide about a target.

    Args:
        path: simulated points, by rising speed-up.
        confirmation: gets the confirmed points.
        target: what is wanted.
        dense: the run with nothing dropped.
        count: how many points to spread over the path; a target by wall clock needs fewer.
    """
    if target.by == "seconds":
        bisect(path, confirmation, target.target_speedup or 1.0)
        return
    for point in pick_to_confirm(path, count, target.target_speedup):
        confirmation.confirm(point)
    if target.target_speedup is not None:
        reach(path, confirmation, target.target_speedup)
    if target.max_f1_drop is not None:
        close_in(path, confirmation, target, dense)


def pick_to_confirm(path: Sequence[Point], count: int, target_speedup: float | None) -> list[Point]:
    """Points to confirm: ``count`` of the path, evenly spread over its speed-ups, and those just at the target."""
    skimming = _skimming(path)
    if not skimming:
        return []
    speedups = np.array([point.flops_speedup for point in skimming])
    # The fastest first, so that a single one bounds all others.
    wanted = np.linspace(speedups.max(), speedups.min(), count)[::-1]
    if target_speedup is not None:
        wanted = np.concatenate([wanted[wanted < target_speedup][-2:], target_speedup * np.array([1.0, 1.03, 1.06])])
    nearest = sorted({int(np.abs(speedups - value).argmin()) for value in wanted})
    return [skimming[index] for index in nearest]


def reach(path: Sequence[Point], confirmation: Confirmation, flops_speedup: float) -> None:
    """Confirm points of the path until one saves as much as is wanted, as measured.

    Where blocks are really dropped, predictors see less than on the dense run that was simulated on, and what they then
    save may be a little less.
    """
    skimming = _skimming(path)
    first = next((index for index, point in enumerate(skimming) if point.flops_speedup >= flops_speedup), None)
    if first is None:
        return

    def saves_enough(index: int) -> bool:
        return confirmation.confirm(skimming[index]).flops_speedup >= flops_speedup

    if not saves_enough(first):
        _first_that(saves_enough, first + 1, len(skimming) - 1)


def close_in(path: Sequence[Point], confirmation: Confirmation, target: Target, dense: Point) -> None:
    """Confirm points of the path just beyond the fastest confirmed one that loses little enough.

    Args:
        path: simulated points, by rising speed-up.
        confirmation: has confirmed some of them, and gets more.
        target: of F1.
        dense: the run with nothing dropped.
    """
    skimming = _skimming(path)
    for _ in range(CLOSING):
        confirmed = [index for index, point in enumerate(skimming) if point.thresholds in confirmation.points]
        front = [confirmation.points[skimming[index].thresholds] for index in confirmed]
        best, _ = choose(target, dense, front)
        low = max((index for index in confirmed if skimming[index].thresholds == best.thresholds), default=-1)
        high = min((index for index in confirmed if index > low), default=low)
        if high - low < 2:
            return
        confirmation.confirm(skimming[(low + high) // 2])


def bisect(path: Sequence[Point], confirmation: Confirmation, wall_speedup: float) -> None:
    """Time points of the path around the first one that is ``wall_speedup`` times as fast as the dense model.

    The path gets faster from point to point, as far as a clock can tell, so few of its points need be timed.
    """
    skimming = _skimming(path)

    def fast_enough(index: int) -> bool:
        return (confirmation.confirm(skimming[index], timed=True).wall_speedup or 0.0) >= wall_speedup

    _first_that(fast_enough, 0, len(skimming) - 1)


def _first_that(holds: Callable[[int], bool], low: int, high: int) -> None:
    """Ask for numbers between two until the first is known of which something holds, which holds of all after it."""
    if low > high or not holds(high):
        return
    while low < high:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle + 1


def _skimming(path: Sequence[Point]) -> list[Point]:
    """Points at which something may be dropped."""
    return [point for point in path if any(point.thresholds)]
