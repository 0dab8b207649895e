"""``blockskim calibrate``: thresholds for one target or several, written into a copy of the model."""

import logging
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from blockskim.calibration.settings import OVERHEAD
from blockskim.cli import options
from blockskim.cli.data_files import warn_of_trained_on
from blockskim.cli.option_groups import Printing, Selection, TorchComputing, Windowing, takes_groups
from blockskim.cli.output import console, print_json
from blockskim.cli.progress import task_progress
from blockskim.cli.session import cut_windows, describe, hide_foreign_progress, load_model, read_selected

if TYPE_CHECKING:
    from blockskim.calibration.result import Calibration
    from blockskim.calibration.settings import CalibrationSettings
    from blockskim.calibration.targets import Target
    from blockskim.data.windows import WindowSet

logger = logging.getLogger(__name__)

UNNAMED = "default"
"""Stands for the copy's own thresholds where no operating point is named."""


class Measure(StrEnum):
    """What a speed-up is of."""

    FLOPS = "flops"
    SECONDS = "seconds"


Data = Annotated[
    list[Path],
    typer.Option("--data", metavar="FILE", help="Data that was not trained on and will not be reported on."),
]
Output = Annotated[
    Path,
    typer.Option("--output", parser=options.output_path, metavar="DIR", help="New directory for the calibrated copy."),
]
MaxF1Drop = Annotated[
    float | None, typer.Option("--max-f1-drop", min=0.0, max=100.0, metavar="X", help="Most points of F1 to lose.")
]
TargetSpeedup = Annotated[
    float | None,
    typer.Option("--target-speedup", min=1.0, metavar="X", help="Speed-up to reach over dense, unpadded."),
]
MaxAnswersLost = Annotated[
    float | None,
    typer.Option(
        "--max-answers-lost",
        min=0.0,
        max=1.0,
        metavar="SHARE",
        help="Largest share of the dense answers that may lose a block they begin or end in.",
    ),
]
By = Annotated[
    Measure,
    typer.Option(
        "--by",
        help="What the speed-up of a target counts: FLOPs, or seconds by the clock, in turns with the dense model.",
    ),
]
Points = Annotated[
    list[str] | None,
    typer.Option(
        "--point",
        metavar="NAME=X|NAME=Yx|NAME",
        help="Write an operating point: exact=0.1 loses at most 0.1 F1, fast=2x is 2 times as fast; may be "
        "repeated. NAME alone names the target of the other options.",
    ),
]
Default = Annotated[
    str | None,
    typer.Option(
        "--default", metavar="NAME", help="The point whose thresholds become the model's own.  [default: the first]"
    ),
]
Refine = Annotated[
    int,
    typer.Option("--refine", min=0, metavar="TRIALS", help="Look around what the search found, by Optuna's NSGA-II."),
]
Seed = Annotated[int, typer.Option("--seed", min=0, metavar="N", help="Seed of the random trials of --refine.")]
Overhead = Annotated[
    float,
    typer.Option(
        "--overhead",
        min=0.0,
        max=1.0,
        metavar="X",
        help="What asking one layer's predictor costs beyond its FLOPs, as a share of a dense run.",
    ),
]
Half = Annotated[
    bool, typer.Option("--half", help="Store the weights in float16; else they stay in their number format.")
]


@takes_groups
def calibrate(
    data: Data,
    output: Output,
    more: options.MoreFiles = None,
    max_f1_drop: MaxF1Drop = None,
    target_speedup: TargetSpeedup = None,
    max_answers_lost: MaxAnswersLost = None,
    by: By = Measure.FLOPS,
    point: Points = None,
    default: Default = None,
    refine: Refine = 0,
    seed: Seed = 0,
    overhead: Overhead = OVERHEAD,
    half: Half = False,
    selection: Selection = Selection(),
    windowing: Windowing = Windowing(),
    max_answer_len: options.MaxAnswerLength = 30,
    computing: TorchComputing = TorchComputing(),
    printing: Printing = Printing(),
) -> None:
    """Choose the thresholds that save most for what may be lost.

    What was recorded is kept in OUTPUT.partial until the copy is written, so that a run that was killed goes on. Exits
    with 1 when no point satisfies a target; the nearest is written all the same.
    """
    options.set_up(printing.quiet)
    named = _named(point or [])
    _check_named(named, default, max_f1_drop, target_speedup)
    options.check_new_output(output, beside=True)
    targets = _targets(named, max_f1_drop, target_speedup, max_answers_lost, by)
    examples = read_selected(data, more, selection)

    from blockskim.calibration.calibrate import calibrate_copy
    from blockskim.calibration.result import point_summaries
    from blockskim.calibration.settings import CalibrationSettings

    trials = _possible_trials(refine)
    hide_foreign_progress()
    loaded = load_model(computing)
    warn_of_trained_on(loaded.name, examples, selection.hold_out)
    windows = cut_windows(loaded, examples, windowing)
    settings = CalibrationSettings(windowing.batch_size, max_answer_len, overhead=overhead, trials=trials, seed=seed)
    start = describe("calibrating", loaded.model, windows, windowing.batch_size)
    with task_progress(printing.quiet, start, lambda task: _total(task, windows, settings)) as progress:
        outcomes = calibrate_copy(loaded, windows, targets, output, settings, default, bool(named), half, progress)
    result = outcomes[default or next(iter(outcomes))]
    if printing.as_json:
        print_json(asdict(result) | ({"points": point_summaries(outcomes)} if named else {}))
    else:
        _show(outcomes, result, loaded.model.skim_layers, output)
    _complain(outcomes, targets)


def _named(texts: list[str]) -> dict[str, str | None]:
    """Names of operating points and what is asked of each; None where only the name is given."""
    from blockskim.method.thresholds import check_point_name

    named: dict[str, str | None] = {}
    for text in texts:
        name, equals, target = text.partition("=")
        if check_point_name(name) in named:
            raise typer.BadParameter(f"the point {name!r} is given twice", param_hint="--point")
        named[name] = target if equals else None
    return named


def _check_named(
    named: dict[str, str | None], default: str | None, max_f1_drop: float | None, target_speedup: float | None
) -> None:
    """Refuse options that say two things, or nothing, about the same target.

    Raises:
        BadParameter: they do.
    """
    bare = [name for name, target in named.items() if target is None]
    if max_f1_drop is not None and target_speedup is not None:
        raise typer.BadParameter("give either --max-f1-drop or --target-speedup")
    if named and not bare and not (max_f1_drop is None and target_speedup is None):
        raise typer.BadParameter("--max-f1-drop and --target-speedup go with --point NAME, not with --point NAME=X")
    if bare and len(named) > 1:
        raise typer.BadParameter(f"--point {bare[0]} has no target; of several points each needs one: {bare[0]}=0.5")
    if default is not None and default not in named:
        raise typer.BadParameter(f"{default!r} is not among the points given by --point", param_hint="--default")


def _targets(
    named: dict[str, str | None],
    max_f1_drop: float | None,
    target_speedup: float | None,
    max_answers_lost: float | None,
    by: Measure,
) -> "dict[str, Target]":
    """The targets by name of their operating point; ``UNNAMED`` where there is no name.

    Raises:
        BadParameter: there is no target, or none for what a speed-up is of.
    """
    from blockskim.calibration.targets import Target, parse_target

    if named and None not in named.values():
        targets = {name: parse_target(text or "", max_answers_lost, by.value) for name, text in named.items()}
    else:
        if max_f1_drop is None and target_speedup is None and max_answers_lost is None:
            raise typer.BadParameter("give --max-f1-drop, --target-speedup, --max-answers-lost or --point NAME=X")
        targets = {next(iter(named), UNNAMED): Target(max_f1_drop, target_speedup, max_answers_lost, by.value)}
    if by is Measure.SECONDS and not any(target.by == by for target in targets.values()):
        raise typer.BadParameter("--by seconds needs a speed-up to reach: --target-speedup X or --point NAME=Yx")
    return targets


def _possible_trials(trials: int) -> int:
    """The trials asked for; none, and a warning, where Optuna is not installed."""
    from blockskim.extras import has

    if trials and not has("optuna"):
        logger.warning(
            "optuna is not installed (pip install 'blockskim[calibrate]'), so thresholds are not refined: they come "
            "from the plain search alone"
        )
        return 0
    return trials


def _total(task: str, windows: "WindowSet", settings: "CalibrationSettings") -> tuple[str, int | None]:
    """What is counted in a task of a calibration, and how many of it there are."""
    from blockskim.calibration.confirm import TIMING
    from blockskim.calibration.refine import REFINING
    from blockskim.calibration.search import PRICES, SEARCHING
    from blockskim.evaluation.compare import windows_to_run

    if task == SEARCHING:
        return "prices", len(PRICES)
    if task == REFINING:
        return "trials", settings.trials
    return "windows", windows_to_run(windows, settings.batch_size) if task.startswith(TIMING) else len(windows)


def _complain(outcomes: "dict[str, Calibration]", targets: "dict[str, Target]") -> None:
    """Say which targets no point satisfies, and leave with 1 if there are any."""
    unmet = [name for name, outcome in outcomes.items() if not outcome.satisfied]
    for name in unmet:
        of = "" if name == UNNAMED else f" of {name}"
        typer.echo(f"error: no point satisfies the target{of} ({targets[name]}); the nearest was written", err=True)
    if unmet:
        raise typer.Exit(1)


def _show(outcomes: "dict[str, Calibration]", result: "Calibration", layers: tuple[int, ...], output: Path) -> None:
    from rich.table import Table

    out = console()
    table = Table(box=None, pad_edge=False)
    timed = any(point.wall_speedup is not None for point in result.front)
    for name in ("", "speed-up", *["by seconds"] * timed, "F1", "exact match", *(f"layer {layer}" for layer in layers)):
        table.add_column(name, justify="right", no_wrap=not name)
    for point in [result.dense, *result.front]:
        names = [name for name, outcome in outcomes.items() if outcome.chosen == point and name != UNNAMED]
        mark = " ".join([", ".join(names), *["→"] * (point == result.chosen)]).strip()
        seconds = [f"{point.wall_speedup:.3f}" if point.wall_speedup is not None else "–"] * timed
        scores = [f"{value:.2f}" if value is not None else "–" for value in (point.f1, point.exact_match)]
        thresholds = [f"{value:.4f}" if value else "–" for value in point.thresholds]
        table.add_row(mark, f"{point.flops_speedup:.3f}", *seconds, *scores, *thresholds)
    out.print(f"{result.examples:,} examples; thresholds by layer, – where a layer does not skim; → the model's own")
    out.print(table)
    out.print(f"written to {output}")
