"""``blockskim sweep``: scores and cost of a model over a range of thresholds, or over its calibrated points."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from blockskim.cli import options
from blockskim.cli.option_groups import Printing, Selection, TorchComputing, Windowing, takes_groups
from blockskim.cli.output import console, print_json
from blockskim.cli.progress import WindowBar, window_progress
from blockskim.cli.session import cut_windows, describe, load_model, read_selected
from blockskim.evaluation.sweep_files import RESULTS, SweepFiles, check_no_results, sweep_folder
from blockskim.evaluation.sweep_records import parse_thresholds
from blockskim.extras import load_matplotlib

if TYPE_CHECKING:
    from blockskim.evaluation.sweep_records import SweepRecord

Thresholds = Annotated[
    str | None,
    typer.Option("--thresholds", metavar="P,P,...", help="Thresholds to skim with, each in every layer."),
]
Calibrated = Annotated[
    bool, typer.Option("--calibrated", help="Skim at the model's operating points and the front of its calibration.")
]
Seconds = Annotated[bool, typer.Option("--seconds", help="Time everything, too, in turns with the dense model.")]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        parser=options.output_path,
        metavar="DIR",
        help=f"Write {RESULTS} and plots there; a killed run goes on.",
    ),
]
Plot = Annotated[bool, typer.Option("--plot/--no-plot", help="Draw plots into --output.")]


@takes_groups
def sweep(
    data: options.EvaluationData,
    more: options.MoreFiles = None,
    thresholds: Thresholds = None,
    calibrated: Calibrated = False,
    seconds: Seconds = False,
    output: Output = None,
    plot: Plot = True,
    selection: Selection = Selection(),
    windowing: Windowing = Windowing(),
    max_answer_len: options.MaxAnswerLength = 30,
    computing: TorchComputing = TorchComputing(),
    printing: Printing = Printing(),
) -> None:
    """Show what is lost and what is saved over a range of thresholds.

    F1 lost is given in percent of the own dense F1, so that models compare that are not equally good.
    """
    options.set_up(printing.quiet)
    if thresholds is None and not calibrated:
        raise typer.BadParameter("give --thresholds P,P,... or --calibrated")
    options.check_output_folder(output)
    if output is not None:
        check_no_results(output)
    values = () if thresholds is None else parse_thresholds(thresholds)
    if output is not None and plot:
        load_matplotlib()
    examples = read_selected(data, more, selection)

    from blockskim.calibration.result import read_calibration
    from blockskim.evaluation.run_key import run_key
    from blockskim.evaluation.sweep import run_sweep, sweep_settings, sweep_values, windows_to_sweep
    from blockskim.evaluation.sweep_report import save_sweep_plots, sweep_table

    loaded = load_model(computing)
    network = loaded.model
    settings = sweep_settings(loaded, values, read_calibration(loaded.name) if calibrated else None)
    windows = cut_windows(loaded, examples, windowing)
    with nullcontext() if output is None else sweep_folder(output):
        files = None
        if output is not None:
            key = run_key(network, windows, windowing.batch_size, max_answer_len, seconds)
            files = SweepFiles(output, key, seconds)
        known = [] if files is None else files.known()
        batch_size = windowing.batch_size
        total = windows_to_sweep(windows, settings, batch_size, seconds, known)
        start = f"{describe('sweeping', network, windows, batch_size)}, {len(settings):,} settings"
        with window_progress(printing.quiet, total, start) as bar:
            keep = _telling(None if files is None else files.keep, bar)
            records = run_sweep(
                network, windows, settings, batch_size, max_answer_len, seconds, known, keep, progress=bar.advance
            )
        results = sweep_values(network, windows, records, windowing.max_length, batch_size)
        if printing.as_json:
            print_json(results)
        else:
            console().print(f"{len(examples):,} examples, {len(windows):,} windows; F1 lost in percent of the dense F1")
            console().print(sweep_table(records, windowing.max_length))
        # The figures are safe by now, should there be no room for a file.
        if files is not None:
            if plot:
                save_sweep_plots(records, windowing.max_length, files.folder)
            files.finish(results)
            if not printing.as_json:
                console().print(f"written to {output}")


def _telling(
    keep: "Callable[[Sequence[SweepRecord]], None] | None", bar: WindowBar
) -> "Callable[[Sequence[SweepRecord]], None]":
    """A function that keeps what is measured by now, and tells logs of the last of it."""

    def tell(records: "Sequence[SweepRecord]") -> None:
        if keep is not None:
            keep(records)
        last = records[-1]
        name = last.name if last.name == last.kind else f"{last.kind} {last.name}"
        bar.say(f"{name}: F1 {last.f1:.2f}, 1/{last.flops_speedup:.3f} of the dense FLOPs")

    return tell
