"""``blockskim export``: a model for ONNX Runtime, that answers without PyTorch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
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
    from blockskim.calibration.targets import Target
    from blockskim.data.examples import Example
    from blockskim.inference.backend import LoadedBackend
    from blockskim.inference.loading import LoadedModel

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
    own = model is not None and output.is_dir() and Path(model).is_dir() and output.samefile(model)
    if own:
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

    measured, targets = _before(model, output if own else None, tuning, examples) if tuning or examples else ([], {})
    result = export_model(model, output, int8=Int8Settings(tuning, most_lost, report) if int8 else False)
    if tuning:
        _tune_thresholds(output, tuning, targets, report)
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


def _before(
    model: str | None, own: Path | None, tuning: "Sequence[Example]", examples: "Sequence[Example]"
) -> "tuple[list[dict[str, Any]], dict[str, Target]]":
    """What is known before the export; what is wrong with model, directory or data is told of before any long work.

    Args:
        model: directory or hub id; None for the model that comes with the library.
        own: the model's directory, if the graph goes beside it.
        tuning: on which int8 layers and thresholds are chosen.
        examples: to measure the model on, in PyTorch on one thread.

    Returns:
        F1 and seconds on the examples, and for ``tuning`` the targets that the model's points were chosen for, by name.

    Raises:
        ConfigError: the model can't be exported.
        DataError: some of the data can't be read by the model.
        ModelError: the model can't be loaded, no graph fits beside it, or its targets are damaged.
    """
    import torch

    from blockskim.data.tokens import freeze_tokenizer
    from blockskim.data.windows import make_windows
    from blockskim.exporting.export import check_beside
    from blockskim.exporting.onnx_export import check_exportable
    from blockskim.inference.loading import load
    from blockskim.inference.window_settings import usual_window_settings

    threads = torch.get_num_threads()
    try:
        loaded = load(model, "cpu", "float32", 1)
        check_exportable(loaded.model)
        if own is not None:
            check_beside(own, freeze_tokenizer(loaded.tokenizer))
        targets = {}
        if tuning:
            targets = _targets(loaded)
            make_windows(tuning, loaded.tokenizer, usual_window_settings(loaded.model, loaded.tokenizer), warn=False)
        return _measured(loaded, "torch", examples) if examples else [], targets
    finally:
        torch.set_num_threads(threads)


def _targets(loaded: "LoadedModel") -> "dict[str, Target]":
    """The targets that a model's points were chosen for, by name, as far as they are known."""
    from blockskim.calibration.result import CALIBRATION_FILE, read_calibration
    from blockskim.calibration.targets import known_targets

    record = read_calibration(loaded.name, loaded.hub)
    return known_targets(record, loaded.model.skim_config.points, Path(loaded.name, CALIBRATION_FILE))


def _tune_thresholds(
    directory: Path, examples: "Sequence[Example]", targets: "Mapping[str, Target]", report: Callable[[str], None]
) -> None:
    """Choose the thresholds of a finished int8 graph anew, which stays whatever ends this."""
    if not targets:
        report("no targets are known of the model's operating points, so int8 keeps their thresholds")
        return
    try:
        _calibrate_int8(directory, examples, targets, report)
    except BaseException:
        progress_console().print(
            f"{directory} holds the finished export; no thresholds were chosen for its int8 graph, which has those of "
            f"the model. To choose them, export once more beside it: --model {directory} --output {directory} with the "
            "same --int8 --tune, which searches anew",
            soft_wrap=True,
        )
        raise


def _calibrate_int8(
    directory: Path, examples: "Sequence[Example]", targets: "Mapping[str, Target]", report: Callable[[str], None]
) -> None:
    """Choose the thresholds of the int8 graph for the targets of the model's points."""
    from blockskim.calibration.calibrate import calibrate_points
    from blockskim.data.windows import make_windows
    from blockskim.exporting.exported_model import load_exported
    from blockskim.exporting.manifest import keep_int8_settings
    from blockskim.inference.window_settings import usual_window_settings

    loaded = load_exported(directory, "int8")
    config = loaded.model.skim_config
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
