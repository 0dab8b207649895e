"""Skimming against the dense model, interleaved in one process, so that both meet the same machine."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
from numpy.typing import NDArray

from blockskim.checks import check_count
from blockskim.data.windows import WindowSet
from blockskim.evaluation.cost import CostReport
from blockskim.evaluation.evaluate import Evaluation, check_examples, evaluation_of
from blockskim.evaluation.supporting_facts import FactCollector
from blockskim.inference.answers import AnswerCollector
from blockskim.inference.backend import Backend
from blockskim.inference.first_stage import ReadingPlan
from blockskim.inference.no_answer import NoAnswerRule
from blockskim.inference.runner import Progress, Thresholds, WindowBatch, batches, run_windows

ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs over the same windows.

    Attributes:
        skim: the skimming run.
        dense: the run in which nothing was dropped, by the same code, without padding either.
        ratios: dense seconds over skim seconds of each round.
    """

    skim: Evaluation
    dense: Evaluation
    ratios: tuple[float, ...]

    @property
    def wall_speedup(self) -> float:
        """Median over the rounds, so that a round in which the machine was busy otherwise does not count."""
        return median(self.ratios)


class _Run:
    """One of the two runs: its answers, cost and time as they come in."""

    def __init__(
        self, model: Backend, windows: WindowSet, thresholds: Thresholds, max_answer_length: int, rule: NoAnswerRule
    ) -> None:
        started = time.perf_counter()
        self.reading = ReadingPlan(model, windows, thresholds)
        # Without a bound there is but one.
        (phase,) = self.reading.phases()
        self.choosing = time.perf_counter() - started
        self.model = model
        self.whole = windows
        self.windows = phase.windows
        self.rule = rule
        self.thresholds = thresholds
        self.max_answer_length = max_answer_length
        self.collector = AnswerCollector(self.windows, max_answer_length)
        self.cost = CostReport()
        self.facts = FactCollector(self.windows)
        self.seconds = 0.0

    def time(self, examples: NDArray[np.int64], batch_size: int, keep: bool, progress: Progress | None) -> float:
        """Run all windows of some examples and return the seconds it took; their results count only if ``keep``."""
        collector = self.collector if keep else AnswerCollector(self.windows, self.max_answer_length)

        def count(batch: WindowBatch) -> None:
            if keep:
                self.cost.add(batch, self.windows, self.reading)
                self.facts.add(batch)
            if progress is not None:
                progress(len(batch.indices))

        among = _windows_of(self.windows, examples)
        selected = batches(self.windows, batch_size, among)
        running = run_windows(self.model, self.windows, thresholds=self.thresholds, selected=selected)
        seconds = _collect_timed(running, collector, count)
        if progress is not None:
            # What is not read of long documents is done, too.
            progress(len(_windows_of(self.whole, examples)) - len(among))
        return seconds + self.choosing * len(examples) / len(self.whole.examples)

    def evaluation(self) -> Evaluation:
        """Scores and cost of all that was kept."""
        answers, facts = self.collector.results(), self.facts.results()
        self.cost.add_reading(self.reading, self.model.skim_config.block_size)
        return evaluation_of(self.whole, answers, self.cost, self.seconds, facts, self.rule)


def _collect_timed(
    batches: Iterable[WindowBatch], collector: AnswerCollector, count: Callable[[WindowBatch], None]
) -> float:
    """Run batches, collect their answers, and return the seconds that both took.

    Args:
        batches: run as they are read.
        collector: takes in the answers.
        count: called with each batch; its time does not count.
    """
    seconds, started = 0.0, time.perf_counter()
    for batch in batches:
        collector.add(batch)
        seconds += time.perf_counter() - started
        count(batch)
        started = time.perf_counter()
    return seconds


def _windows_of(windows: WindowSet, examples: NDArray[np.int64]) -> NDArray[np.int64]:
    """Indices of all windows of some examples."""
    found: NDArray[np.int64] = np.flatnonzero(np.isin(windows.examples_of(), examples))
    return found


def compare_with_dense(
    model: Backend,
    windows: WindowSet,
    batch_size: int = 32,
    thresholds: Thresholds = None,
    max_answer_length: int = 30,
    rounds: int = ROUNDS,
    progress: Progress | None = None,
    no_answer_threshold: float | None = None,
) -> Comparison:
    """Evaluate skimming and the dense model, interleaved.

    The examples are dealt out to the rounds, a batch at a time, so that each has long and short windows. A round runs
    its examples both ways, and which way comes first changes from round to round. With fewer batches than rounds every
    round runs all of them.

    Args:
        model: in evaluation mode.
        windows: of the examples to score.
        batch_size: windows per batch.
        thresholds: of the skimming run, as ``skim`` takes them.
        max_answer_length: most tokens in an answer.
        rounds: how often both are timed.
        progress: called with the number of windows after each batch of either run; ``windows_to_run`` is the total.
        no_answer_threshold: as ``evaluate_windows`` has it.

    Raises:
        ConfigError: one of the numbers is impossible.
        DataError: there are no examples.
    """
    check_examples(windows)
    max_answer_length, rounds = check_count("max_answer_length", max_answer_length), check_count("rounds", rounds)
    together = _examples_together(windows, batch_size)
    deals = _deal(together, rounds)
    repeats = rounds if len(together) < rounds else 1
    rule = NoAnswerRule(model.confidence, no_answer_threshold)
    skim, dense = (_Run(model, windows, values, max_answer_length, rule) for values in (thresholds, 0.0))
    for run in (skim, dense):
        # The first run of all allocates and chooses kernels.
        run.time(together[0] if together else np.zeros(0, np.int64), batch_size, False, None)
    ratios = []
    for number, examples in enumerate(deals):
        spent = {}
        for run in (skim, dense) if number % 2 == 0 else (dense, skim):
            spent[run] = run.time(examples, batch_size, repeats == 1 or number == 0, progress)
            run.seconds += spent[run] / repeats
        ratios.append(spent[dense] / spent[skim])
    return Comparison(skim.evaluation(), dense.evaluation(), tuple(ratios))


def windows_to_run(windows: WindowSet, batch_size: int, rounds: int = ROUNDS) -> int:
    """Number of windows that a comparison runs in all."""
    deals = _deal(_examples_together(windows, batch_size), rounds)
    return 2 * sum(len(_windows_of(windows, examples)) for examples in deals)


def _examples_together(windows: WindowSet, batch_size: int) -> list[NDArray[np.int64]]:
    """The examples of each batch; an example of several batches makes one of these."""
    together: list[NDArray[np.int64]] = []
    for batch in batches(windows, batch_size):
        examples = np.unique(windows.examples_of(batch))
        if together and examples[0] in together[-1] and len(examples) == len(together[-1]) == 1:
            continue
        together.append(np.setdiff1d(examples, together[-1]) if together else examples)
    return [examples for examples in together if len(examples)]


def _deal(together: Sequence[NDArray[np.int64]], rounds: int) -> list[NDArray[np.int64]]:
    """The examples of each round."""
    if len(together) < rounds:
        return [np.concatenate([*together, np.zeros(0, np.int64)])] * rounds
    return [np.concatenate(together[number::rounds]) for number in range(rounds)]
