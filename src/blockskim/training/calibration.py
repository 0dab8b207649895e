"""Choosing thresholds: from what all predictors say about a data set to the cheapest run that loses little enough.

The model runs once with nothing dropped, and every keep probability is recorded, and which blocks its own answers
begin and end in. On these records thresholds are simulated: starting from none, again and again the layer is skimmed a
little harder where that saves the most arithmetic for the F1 at stake. *At stake* is the F1 of the dense model's
answers that lose a block they begin or end in. It hardly depends on chance as the difference of two measured F1 does,
and is a little more than what is really lost, since another answer may take the place of the lost one. The path of
that search is a front of ever cheaper and riskier points; points on it are then confirmed by really skimming, and the
cheapest one that satisfies the wish, both by what is at stake and by what was measured, is chosen.
"""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from blockskim.data.windows import WindowSet, covering_tokens
from blockskim.errors import ConfigError
from blockskim.evaluation import Evaluation, evaluate_windows, mean_scores, scores_by_source
from blockskim.flops import LayerUse, dense_flops, skim_flops
from blockskim.inference import AnswerCollector, ExampleAnswers, WindowBatch, answer_texts, run_windows
from blockskim.judgements import Judgements, collect_judgements
from blockskim.metrics.squad import token_f1
from blockskim.modeling import BlockSkimForQuestionAnswering
from blockskim.predictor import JudgingCost, predictor_cost
from blockskim.training.directories import new_directory

LOSSES = (0.0, *np.geomspace(5e-4, 0.3, 60).tolist())
"""Shares of the blocks at stake that a layer's threshold may drop: the steps of the search."""


REACH = 5.0
"""Points are searched up to so many times the F1 that may be lost at stake."""

OVERHEAD = 0.02
"""What asking the predictor of one layer costs beyond its arithmetic, as a share of a dense run: about what was
measured for the shipped model on two cores (docs/performance.md)."""


@dataclass(frozen=True, slots=True)
class Stakes:
    """The blocks in which the dense model's answers begin or end, and what these answers are worth.

    Attributes:
        blocks: indices of blocks. Shape: (stakes,)
        examples: whose answer it is. Shape: (stakes,)
        f1: official F1 of the dense model's answer to each example, in percent. Shape: (examples,)
    """

    blocks: NDArray[np.int64]
    examples: NDArray[np.int64]
    f1: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Point:
    """Thresholds and what they do on the calibration data.

    Attributes:
        thresholds: one a layer with a predictor; 0 where the layer doesn't skim.
        flops_speedup: dense arithmetic over what is spent, on unpadded input; simulated, or measured when confirmed.
        at_stake: F1 points of the dense model's answers that lose a block they begin or end in, in the simulation.
        f1: when really skimming, in percent; None when not confirmed.
        exact_match: likewise.
        seconds: of the confirming run.
        error: standard error of the F1 lost against the dense run, in points, paired by example; None when not
            confirmed.
    """

    thresholds: tuple[float, ...]
    flops_speedup: float
    at_stake: float
    f1: float | None = None
    exact_match: float | None = None
    seconds: float | None = None
    error: float | None = None


@dataclass(frozen=True, slots=True)
class Calibration:
    """The outcome of a calibration.

    Attributes:
        chosen: the point that was chosen; if no point satisfies the wish, the nearest.
        satisfied: whether it satisfies the wish.
        dense: the run with nothing dropped.
        front: every confirmed point, by rising speed-up.
        examples: number of examples it was calibrated on.
    """

    chosen: Point
    satisfied: bool
    dense: Point
    front: tuple[Point, ...]
    examples: int


def calibrate(
    model: BlockSkimForQuestionAnswering,
    windows: WindowSet,
    max_f1_drop: float | None = None,
    target_speedup: float | None = None,
    batch_size: int = 32,
    max_answer_length: int = 30,
    points: int = 12,
    max_at_stake: float = 10.0,
    overhead: float = OVERHEAD,
    progress: Callable[[str, int], None] | None = None,
) -> Calibration:
    """Choose thresholds for a wish; the model's settings are left as they are.

    Args:
        model: in evaluation mode.
        windows: of examples that were neither trained on nor will be reported on.
        max_f1_drop: most F1, in points, that may be lost against the dense run.
        target_speedup: wanted ratio of dense to spent arithmetic, unpadded; the point with the best F1 there is taken.
        batch_size: windows a batch.
        max_answer_length: most tokens in an answer.
        points: how many points of the front are confirmed by really skimming.
        max_at_stake: points that put more F1 at stake are not considered.
        overhead: what asking the predictor of one layer costs beyond its arithmetic, as a share of a dense run. Layers
            that save less than that are not asked.
        progress: told what is done, and the number of windows done.

    Raises:
        ConfigError: not exactly one wish is given, or it is impossible.
    """
    _check_wish(max_f1_drop, target_speedup)
    dense, judgements, stakes = record(model, windows, batch_size, max_answer_length, progress)
    assert dense.f1 is not None
    limit = max_at_stake if max_f1_drop is None else min(max_at_stake, REACH * max_f1_drop)
    path = search(judgements, stakes, model, windows, limit, overhead)
    front = []
    for point in spread(path, points, target_speedup):
        result = evaluate_windows(
            model,
            windows,
            batch_size,
            point.thresholds,
            max_answer_length,
            progress=None if progress is None else lambda done: progress("confirming", done),
        )
        front.append(_confirmed(point, result, stakes.f1 - example_f1(windows, result.predictions)))
    front.sort(key=lambda point: point.flops_speedup)
    if max_f1_drop is not None:
        fitting = [point for point in front if _loses_at_most(point, dense.f1, max_f1_drop)]
        chosen = max([dense, *fitting], key=lambda point: point.flops_speedup)
        return Calibration(chosen, True, dense, tuple(front), len(windows.examples))
    assert target_speedup is not None
    fast_enough = [point for point in front if point.flops_speedup >= target_speedup]
    if fast_enough:
        chosen = max(fast_enough, key=lambda point: (point.f1, point.flops_speedup))
        return Calibration(chosen, True, dense, tuple(front), len(windows.examples))
    return Calibration(front[-1] if front else dense, False, dense, tuple(front), len(windows.examples))


def record(
    model: BlockSkimForQuestionAnswering,
    windows: WindowSet,
    batch_size: int,
    max_answer_length: int,
    progress: Callable[[str, int], None] | None = None,
) -> tuple[Point, Judgements, Stakes]:
    """Run a model with nothing dropped: its scores, what its predictors say, and the blocks of its answers."""
    collector = AnswerCollector(windows, max_answer_length)
    batches: list[WindowBatch] = []
    report = None if progress is None else lambda done: progress("recording", done)
    for batch in run_windows(model, windows, batch_size, 0.0, judge_all=True, progress=report):
        collector.add(batch)
        batches.append(batch)
    answers = collector.results()
    texts = answer_texts(windows, answers)
    scores = mean_scores(scores_by_source(windows.examples, answers))
    judgements = collect_judgements(batches, windows)
    none = (0.0,) * len(judgements.layers)
    dense = Point(none, 1.0, 0.0, scores["f1"], scores["exact_match"])
    return dense, judgements, find_stakes(judgements, windows, answers, texts)


def save_calibrated(
    source: str | Path,
    tokenizer: PreTrainedTokenizerBase,
    result: Calibration,
    output: Path,
    half: bool = False,
) -> None:
    """Write a copy of a model with the chosen thresholds; ``calibration.json`` tells how they were found.

    Args:
        source: directory or hub id of the model that was calibrated; its weights are read anew, as they were stored.
        tokenizer: its tokenizer.
        result: the calibration.
        output: directory to make; it appears whole or not at all.
        half: whether to store the weights in float16.
    """
    model = BlockSkimForQuestionAnswering.from_pretrained(source, dtype=torch.float32)
    model.skim_config = model.skim_config.replace(thresholds=result.chosen.thresholds)
    if half:
        model = model.half()
    with new_directory(output) as part:
        model.save_pretrained(part)
        tokenizer.save_pretrained(part)
        (part / "calibration.json").write_text(json.dumps(asdict(result), indent=1) + "\n", encoding="utf-8")
        for name in ("README.md", "recipe.json"):
            if (Path(source) / name).is_file():
                shutil.copy(Path(source) / name, part / name)


def search(
    judgements: Judgements,
    stakes: Stakes,
    model: BlockSkimForQuestionAnswering,
    windows: WindowSet,
    max_at_stake: float,
    overhead: float = OVERHEAD,
) -> list[Point]:
    """The front of simulated points, from nothing dropped to ``max_at_stake`` points of F1 at stake."""
    simulate = simulator(judgements, stakes, model, windows, overhead)
    grid = threshold_grid(judgements, stakes)
    steps = np.zeros(len(judgements.layers), dtype=np.int64)
    now = simulate(grid[np.arange(len(steps)), steps])
    path = [Point(tuple(grid[np.arange(len(steps)), steps].tolist()), now.flops_speedup, now.at_stake)]
    while True:
        best: tuple[float, int, int, Simulated] | None = None
        for layer in range(len(steps)):
            # Steps that drop nothing more are passed over, so that the search does not stop at them.
            for step in range(steps[layer] + 1, grid.shape[1]):
                trial = steps.copy()
                trial[layer] = step
                then = simulate(grid[np.arange(len(steps)), trial])
                if then.at_stake > max_at_stake:
                    break
                gain = float(np.log(then.speedup / now.speedup)) / max(then.at_stake - now.at_stake, 1e-6)
                if best is None or gain > best[0]:
                    best = (gain, layer, step, then)
                if then.at_stake > now.at_stake and then.speedup > now.speedup:
                    break
        if best is None or best[0] <= 0:
            return path
        _, layer, step, now = best
        steps[layer] = step
        path.append(Point(tuple(grid[np.arange(len(steps)), steps].tolist()), now.flops_speedup, now.at_stake))


def threshold_grid(judgements: Judgements, stakes: Stakes) -> NDArray[np.float64]:
    """Thresholds of each layer that drop a rising share of the blocks at stake; 0, for all kept, first.

    Shape: (layers, steps)
    """
    grid = np.zeros((len(judgements.layers), len(LOSSES) + 1))
    for row, probabilities in zip(grid, judgements.probabilities, strict=True):
        staked = np.sort(probabilities[stakes.blocks[stakes.f1[stakes.examples] > 0]])
        if len(staked):
            # Blocks at the threshold itself are kept, so the block of that rank stays.
            row[1:] = staked[np.minimum((np.array(LOSSES) * len(staked)).astype(int), len(staked) - 1)]
    return grid


class Simulated(NamedTuple):
    """What thresholds do in the simulation.

    Attributes:
        speedup: over the dense run, what asking predictors costs beyond their arithmetic included.
        flops_speedup: of the arithmetic alone.
        at_stake: F1 points of the answers that lose a block.
    """

    speedup: float
    flops_speedup: float
    at_stake: float


def simulator(
    judgements: Judgements,
    stakes: Stakes,
    model: BlockSkimForQuestionAnswering,
    windows: WindowSet,
    overhead: float = OVERHEAD,
) -> Callable[[NDArray[np.float64]], Simulated]:
    """Make the function that tells what thresholds do. Shape: (layers,).

    It takes keep probabilities from the run in which nothing was dropped, so it is near the truth, not the truth.
    """
    cost = model.cost
    lengths = windows.lengths
    count = len(windows)
    fixed = lengths - np.bincount(judgements.windows, judgements.tokens, count)
    questions = np.diff(windows.questions.bounds)[windows.windows[:, 0]]
    judging = _judging_costs(model, judgements.layers, questions)
    documents = windows.windows[:, 0]
    dense = float(dense_flops(cost, lengths).sum())

    def simulate(thresholds: NDArray[np.float64]) -> Simulated:
        alive = np.ones(len(judgements.windows), dtype=bool)
        uses: dict[int, LayerUse] = {}
        for index, layer in enumerate(judgements.layers):
            if thresholds[index] <= 0:
                continue
            asked = judging[index].of(np.bincount(judgements.windows, alive, count))
            passing = alive & (judgements.probabilities[index] >= thresholds[index])
            alive = _with_best(passing, alive, judgements.probabilities[index], documents[judgements.windows])
            kept = np.bincount(judgements.windows, judgements.tokens * alive, count)
            left = np.where(kept > 0, fixed + kept, np.where(lengths > fixed, 0.0, lengths))
            uses[layer] = LayerUse(left, asked)
        losing = np.unique(stakes.examples[~alive[stakes.blocks]])
        lost = float(stakes.f1[losing].sum()) / len(stakes.f1)
        spent = float(skim_flops(cost, uses, lengths).sum())
        return Simulated(dense / (spent + overhead * len(uses) * dense), dense / spent, lost)

    return simulate


def spread(path: Sequence[Point], count: int, target_speedup: float | None) -> list[Point]:
    """Points to confirm: ``count`` of the path, evenly spread over its speed-ups, and those just at the target."""
    skimming = [point for point in path if any(point.thresholds)]
    if not skimming:
        return []
    speedups = np.array([point.flops_speedup for point in skimming])
    wanted = np.linspace(speedups.min(), speedups.max(), count)
    if target_speedup is not None:
        wanted = np.concatenate([wanted[wanted < target_speedup][-2:], target_speedup * np.array([1.0, 1.03, 1.06])])
    chosen = sorted({int(np.abs(speedups - value).argmin()) for value in wanted})
    return [skimming[index] for index in chosen]


def find_stakes(
    judgements: Judgements, windows: WindowSet, answers: Sequence[ExampleAnswers], texts: Mapping[str, str]
) -> Stakes:
    """The blocks in which the best answers begin or end, and the F1 of these answers."""
    by_window: dict[int, NDArray[np.int64]] = {}
    order = np.argsort(judgements.windows, kind="stable")
    bounds = np.flatnonzero(np.diff(judgements.windows[order])) + 1
    for part in np.split(order, bounds):
        by_window[int(judgements.windows[part[0]])] = part
    blocks, examples = [], []
    for number, answer in enumerate(answers):
        if not answer.candidates or answer.candidates[0].window not in by_window:
            continue
        best = answer.candidates[0]
        own = by_window[best.window]
        first = windows.context_start(best.window) - int(windows.windows[best.window, 1])
        offsets = windows.contexts.offsets_of(int(windows.context_of[number]))
        for token in set(covering_tokens(offsets, best.start, best.end)):
            place = token + first - judgements.starts[own]
            holding = own[(place >= 0) & (place < judgements.tokens[own])]
            blocks += holding.tolist()
            examples += [number] * len(holding)
    return Stakes(np.array(blocks, dtype=np.int64), np.array(examples, dtype=np.int64), example_f1(windows, texts))


def example_f1(windows: WindowSet, texts: Mapping[str, str]) -> NDArray[np.float64]:
    """Official F1 of the answer to each example, in percent. Shape: (examples,)."""
    return np.array(
        [
            100 * max((token_f1(texts[example.id], known) for known in example.references), default=0.0)
            for example in windows.examples
        ]
    )


def _loses_at_most(point: Point, dense_f1: float, drop: float) -> bool:
    assert point.f1 is not None and point.error is not None
    lost = dense_f1 - point.f1
    return min(max(point.at_stake, lost), lost + point.error) <= drop + 1e-9


def _confirmed(point: Point, result: Evaluation, lost: NDArray[np.float64]) -> Point:
    """A point with what was measured; ``lost`` is the F1 that each example lost. Shape: (examples,)."""
    cost = result.cost
    # One example says nothing about others: they may lose everything.
    error = float(lost.std(ddof=1)) / len(lost) ** 0.5 if len(lost) > 1 else 100.0
    return Point(
        point.thresholds,
        cost.dense_flops / cost.flops,
        point.at_stake,
        result.scores["f1"],
        result.scores["exact_match"],
        result.seconds,
        error,
    )


def _check_wish(max_f1_drop: float | None, target_speedup: float | None) -> None:
    if (max_f1_drop is None) == (target_speedup is None):
        raise ConfigError("give either the most F1 to lose or the speed-up to reach")
    if max_f1_drop is not None and not 0 <= max_f1_drop <= 100:
        raise ConfigError(f"the most F1 to lose is {max_f1_drop}; it must be from 0 to 100 points")
    if target_speedup is not None and not target_speedup >= 1:
        raise ConfigError(f"the speed-up to reach is {target_speedup}; it must be at least 1")


def _judging_costs(
    model: BlockSkimForQuestionAnswering, layers: Sequence[int], questions: NDArray[np.int64]
) -> list[JudgingCost]:
    """What judging costs in each layer; its parts are arrays of Shape: (windows,)."""
    parts = model.adapter.layers(model.encoder)
    costs = []
    for layer in layers:
        widths = model.adapter.widths(parts[layer - 1])
        by_length = {size: predictor_cost(model.skim_config, widths, size) for size in set(questions.tolist())}
        block, sample = np.array([by_length[size] for size in questions.tolist()]).T
        costs.append(JudgingCost(block, sample))
    return costs


def _with_best(
    passing: NDArray[np.bool_],
    alive: NDArray[np.bool_],
    probabilities: NDArray[np.float64],
    documents: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """Blocks that pass, and the best living one of each document in which none does."""
    size = int(documents.max()) + 1
    empty = np.bincount(documents, passing, size) == 0
    if not empty[documents].any():
        return passing
    living = np.flatnonzero(alive & empty[documents])
    order = living[np.lexsort((-probabilities[living], documents[living]))]
    _, first = np.unique(documents[order], return_index=True)
    result = passing.copy()
    result[order[first]] = True
    return result
