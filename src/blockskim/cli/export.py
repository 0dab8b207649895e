"""``blockskim export``: a model for ONNX Runtime, that answers without PyTorch."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from blockskim.cli import options
from blockskim.cli.option_groups import Printing, Processor, Selection, takes_groups
from blockskim.cli.output import console, print_json
from blockskim.cli.progress import progress_console
from blockskim.cli.session import hide_foreign_progress, read_selected
from blockskim.extras import torch_needed

if TYPE_CHECKING:
    from blockskim.data.examples import Example
    from blockskim.inference.backend import LoadedBackend

FORMATS = ("onnx",)

Output = Annotated[
    Path,
    typer.Option(
        "--output",
        parser=options.output_path,
        metavar="DIR",
        help="New directory for it; or the model's own, which gets the graph beside what is there.",
    ),
]
To = Annotated[str, typer.Option("--to", metavar="FORMAT", help="What to write; onnx is all there is.")]
Int8 = Annotated[bool, typer.Option("--int8", help="Write a second graph, with linear layers in int8.")]
Tune = Annotated[
    list[Path] | None,
    typer.Option("--tune", metavar="FILE", help="Choose on these data, held out, what stays in float32; for --int8."),
]
MostLost = Annotated[float, typer.Option("--most-lost", min=0, metavar="F1", help="F1 that int8 may lose on --tune.")]
Data = Annotated[
    list[Path] | None,
    typer.Option("--data", metavar="FILE", help="Report F1 and speed on these, before and after."),
]


@takes_groups
def export(
    output: Output,
    model: options.Model = None,
    to: To = "onnx",
    int8: Int8 = False,
    tune: Tune = None,
    most_lost: MostLost = 0.3,
    data: Data = None,
    selection: Selection = Selection(),
    processor: Processor = Processor(),
    printing: Printing = Printing(),
) -> None:
    """Export a model as one ONNX graph that drops tokens inside.

    The directory holds graph, weights, tokenizer and operating points. blockskim answers with it without PyTorch, and
    anything that runs ONNX can read it; it is a model for PyTorch, too. --hold-out is for --tune, --limit for both.
    """
    options.set_up(printing.quiet)
    processor.check()
    if to not in FORMATS:
        raise typer.BadParameter(f"{to!r} is unknown; there is {', '.join(FORMATS)}", param_hint="--to")
    if model is not None and output.is_dir() and Path(model).is_dir() and output.samefile(model):
        options.check_output_folder(output)
    else:
        options.check_new_output(output)
    if tune and not int8:
        raise typer.BadParameter("what to quantise is chosen for --int8 alone", param_hint="--tune")
    tuning = read_selected(tune, None, selection) if tune else []
    all_articles = Selection(selection.format, selection.skip_bad, selection.limit)
    examples = read_selected(data, None, all_articles) if data else []
    with torch_needed():
        from blockskim.exporting.export import Int8Settings
        from blockskim.exporting.export import export as export_model

    processor.set_threads()
    hide_foreign_progress()

    def report(line: str) -> None:
        if not printing.quiet:
            progress_console().print(line, markup=False, highlight=False)

    # First, so that what is wrong with the data is told of before anything is written.
    measured = _measured_before(model, examples) if examples else []
    calibrate = partial(_calibrate_int8, examples=tuning, report=report) if tuning else None
    result = export_model(model, output, int8=Int8Settings(tuning, most_lost, report, calibrate) if int8 else False)
    values: dict[str, Any] = {
        "output": str(output),
        "files": {path.name: path.stat().st_size for path in sorted(output.iterdir()) if path.is_file()},
        "agreement": asdict(result.agreement),
        "graph_bytes": result.graph_bytes,
        "weight_bytes": result.weight_bytes,
        "int8_bytes": result.int8_bytes,
        "int8_products": [str(product) for product in result.int8_products],
        "int8_agreement": None if result.int8_agreement is None else asdict(result.int8_agreement),
    }
    if examples:
        values["measured"] = measured + _measured_after(output, bool(result.int8_bytes), examples)
    if printing.as_json:
        print_json(values)
    elif not printing.quiet:
        _show(values)


def _calibrate_int8(directory: Path, examples: "Sequence[Example]", report: Callable[[str], None]) -> None:
    """Choose the thresholds of the int8 graph anew, for the targets that the model's points were chosen for."""
    from blockskim.calibration.calibrate import calibrate_points
    from blockskim.calibration.result import read_calibration
    from blockskim.calibration.targets import Target
    from blockskim.data.windows import make_windows
    from blockskim.exporting.exported_model import load_exported
    from blockskim.exporting.manifest import keep_int8_settings
    from blockskim.inference.window_settings import usual_window_settings

    loaded = load_exported(directory, "int8")
    config = loaded.model.skim_config
    known = read_calibration(directory).get("points", {})
    targets = {name: Target(**known[name]["target"]) for name in config.points if name in known}
    if not targets:
        report("no targets are known of the model's operating points, so int8 keeps their thresholds")
        return
    settings = usual_window_settings(loaded.model, loaded.tokenizer)
    windows = make_windows(examples, loaded.tokenizer, settings, warn=False)
    report(f"choosing thresholds of the int8 graph for {', '.join(targets)} on {len(examples):,} questions")
    outcomes = calibrate_points(loaded.model, windows, targets)
    points = {name: outcome.chosen.thresholds for name, outcome in outcomes.items()}
    for name, outcome in outcomes.items():
        chosen = outcome.chosen
        report(
            f"int8, point {name}: F1 {chosen.f1:.2f} of {outcome.dense.f1:.2f}, {chosen.flops_speedup:.2f}x in FLOPs"
        )
    # The model's own thresholds are those of one of its points.
    own = next((points[name] for name in points if config.points[name] == config.thresholds), config.thresholds)
    keep_int8_settings(directory, own, {**config.points, **points})


def _measured_before(model: str | None, examples: "Sequence[Example]") -> list[dict[str, Any]]:
    """F1 and seconds of a model that can be exported, in PyTorch on one thread.

    Raises:
        ConfigError: the model can't be exported.
    """
    import torch

    from blockskim.exporting.onnx_export import check_exportable
    from blockskim.inference.loading import load

    threads = torch.get_num_threads()
    try:
        loaded = load(model, "cpu", "float32", 1)
        check_exportable(loaded.model)
        return _measured(loaded, "torch", examples)
    finally:
        torch.set_num_threads(threads)


def _measured_after(directory: Path, int8: bool, examples: "Sequence[Example]") -> list[dict[str, Any]]:
    """F1 and seconds of the graphs of a directory, on one thread."""
    from blockskim.exporting.exported_model import load_exported

    formats = ("float32", "int8") if int8 else ("float32",)
    graphs = [load_exported(directory, number_format, threads=1) for number_format in formats]
    return [row for graph in graphs for row in _measured(graph, "onnx", examples)]


def _measured(loaded: "LoadedBackend", backend: str, examples: "Sequence[Example]") -> list[dict[str, Any]]:
    """F1 and seconds of a model, one window at a time: dense, and at its own thresholds."""
    from blockskim.data.windows import make_windows
    from blockskim.evaluation.evaluate import evaluate_windows
    from blockskim.inference.window_settings import usual_window_settings

    settings = usual_window_settings(loaded.model, loaded.tokenizer)
    windows = make_windows(examples, loaded.tokenizer, settings, warn=backend == "torch")
    rows = []
    for dense in (True, False) if loaded.skims else (True,):
        result = evaluate_windows(loaded.model, windows, 1, 0.0 if dense else None)
        rows.append(
            {
                "backend": backend,
                "number_format": loaded.model.number_format,
                "dense": dense,
                "f1": result.scores["f1"],
                "exact_match": result.scores["exact_match"],
                "milliseconds_per_window": 1000 * result.seconds / len(windows),
            }
        )
    return rows


def _show(values: dict[str, Any]) -> None:
    out = console()
    sizes = f"graph {values['graph_bytes'] / 1e6:.2f} MB, weights {values['weight_bytes'] / 1e6:.1f} MB"
    if values["int8_bytes"]:
        sizes += f", int8 graph {values['int8_bytes'] / 1e6:.1f} MB"
    out.print(f"exported to {values['output']}: {sizes}", markup=False)
    for name, agreement in (("", values["agreement"]), ("int8 ", values["int8_agreement"])):
        if agreement is not None:
            same = agreement["same_blocks"]
            blocks = "" if same is None else f", {same:.1%} of blocks kept alike"
            difference = agreement["largest_difference"]
            out.print(f"  {name}beside PyTorch: logits differ by {difference:.1e} at most{blocks}", markup=False)
    for row in values.get("measured", []):
        name = f"{row['backend']}, {row['number_format']}, {'dense' if row['dense'] else 'skimming'}"
        out.print(f"  {name}: F1 {row['f1']:.2f}, {row['milliseconds_per_window']:.1f} ms per window on one thread")
