"""Skimming against reading everything, timed in turns in one process, so that both meet the same machine."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
from numpy.typing import NDArray

from blockskim.data.windows import WindowSet
from blockskim.evaluation.evaluate import CostReport, Evaluation, scored
from blockskim.evaluation.supporting_facts import FactCollector
from blockskim.inference.answers import AnswerCollector
from blockskim.inference.runner import Progress, Thresholds, batches, run_windows
from blockskim.model.modeling import BlockSkimForQuestionAnswering

ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs over the same windows.

    Attributes:
        skim: the skimming run.
        dense: the run that read everything, by the same code, without padding either.
        ratios: dense seconds over skim seconds of each round.
    """

    skim: Evaluation
    dense: Evaluation
    ratios: tuple[float, ...]

    @property
    def wall_speedup(self) -> float:
        """Median over the rounds: a round in which the machine was busy otherwise has no say."""
        return median(self.ratios)


class _Run:
    """One of the two runs: its answers, cost and time as they come in."""

    def __init__(self, windows: WindowSet, thresholds: Thresholds, max_answer_length: int) -> None:
        self.windows = windows
        self.thresholds = thresholds
        self.max_answer_length = max_answer_length
        self.collector = AnswerCollector(windows, max_answer_length)
        self.cost = CostReport()
        self.facts = FactCollector(windows)
        self.seconds = 0.0

    def time(
        self, model: BlockSkimForQuestionAnswering, part: Sequence[NDArray[np.int64]], keep: bool, progress: Progress
    ) -> float:
        """Run some batches and return the seconds it took; what was found counts only if ``keep``."""
        collector = self.collector if keep else AnswerCollector(self.windows, self.max_answer_length)
        seconds, started = 0.0, time.perf_counter()
        for batch in run_windows(model, self.windows, thresholds=self.thresholds, selected=part):
            collector.add(batch)
            seconds += time.perf_counter() - started
            if keep:
                self.cost.add(batch, self.windows)
                self.facts.add(batch)
            progress(len(batch.indices))
            started = time.perf_counter()
        return seconds

    def evaluation(self, seconds: float) -> Evaluation:
        """Scores and cost of all that was kept."""
        return scored(self.windows, self.collector.results(), self.cost, seconds, self.facts.results())


def compare_with_dense(
    model: BlockSkimForQuestionAnswering,
    windows: WindowSet,
    batch_size: int = 32,
    thresholds: Thresholds = None,
    max_answer_length: int = 30,
    rounds: int = ROUNDS,
    progress: Progress | None = None,
) -> Comparison:
    """Evaluate skimming and dense reading in turns.

    The batches are dealt out to the rounds so that each has long and short windows. A round runs its batches both
    ways, and which way comes first changes from round to round. With fewer batches than rounds every round runs all of
    them.

    Args:
        model: in evaluation mode.
        windows: of the examples to score.
        batch_size: windows a batch.
        thresholds: of the skimming run, as ``skim`` takes them.
        max_answer_length: most tokens in an answer.
        rounds: how often both are timed.
        progress: told the number of windows after each batch of either run; ``work`` tells the total.
    """
    every = list(batches(windows, batch_size))
    parts = _parts(every, rounds)
    repeats = rounds if len(every) < rounds else 1
    told = progress or _ignore
    skim, dense = (_Run(windows, values, max_answer_length) for values in (thresholds, 0.0))
    for run in (skim, dense):
        # The first run of all allocates and chooses kernels.
        run.time(model, every[:1], False, _ignore)
    ratios = []
    for number, part in enumerate(parts):
        spent = {}
        for run in (skim, dense) if number % 2 == 0 else (dense, skim):
            spent[run] = run.time(model, part, repeats == 1 or number == 0, told)
            run.seconds += spent[run] / repeats
        ratios.append(spent[dense] / spent[skim])
    return Comparison(skim.evaluation(skim.seconds), dense.evaluation(dense.seconds), tuple(ratios))


def work(windows: WindowSet, batch_size: int, rounds: int = ROUNDS) -> int:
    """Number of windows that a comparison runs in all."""
    every = list(batches(windows, batch_size))
    return 2 * sum(len(batch) for part in _parts(every, rounds) for batch in part)


def _parts(every: Sequence[NDArray[np.int64]], rounds: int) -> list[Sequence[NDArray[np.int64]]]:
    return [every] * rounds if len(every) < rounds else [every[number::rounds] for number in range(rounds)]


def _ignore(_windows: int) -> None:
    """Nobody wants to know."""
