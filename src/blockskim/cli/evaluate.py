"""``blockskim evaluate``: official scores of a model on a data file, and what its answers cost."""

import math
from pathlib import Path
from typing import Annotated, Any

import typer

from blockskim.cli import options
from blockskim.cli.option_groups import Computing, Printing, Selection, Windowing, takes_groups
from blockskim.cli.output import console, print_json, printing_and_writing
from blockskim.cli.predict import check_predictions, warn_of_no_use, write_predictions
from blockskim.cli.progress import window_progress
from blockskim.cli.session import cut_windows, describe, load_backend, read_selected

CompareDense = Annotated[
    bool, typer.Option("--compare-dense", help="Run the dense model, too, in turns with skimming, and compare.")
]
Predictions = Annotated[
    Path | None,
    typer.Option(
        "--predictions", parser=options.output_path, metavar="FILE", help="Write answers in the data's official JSON."
    ),
]
NoScore = Annotated[
    bool, typer.Option("--no-score", help="Don't look at the answers of the data; the cost alone is counted.")
]


@takes_groups
def evaluate(
    data: options.EvaluationData,
    more: options.MoreFiles = None,
    selection: Selection = Selection(),
    dense: options.Dense = False,
    compare_dense: CompareDense = False,
    threshold: options.Threshold = None,
    point: options.Point = None,
    predictions: Predictions = None,
    no_score: NoScore = False,
    windowing: Windowing = Windowing(),
    max_answer_len: options.MaxAnswerLength = 30,
    no_answer_threshold: options.NoAnswerThreshold = None,
    max_cost: options.MaxCost = None,
    computing: Computing = Computing(),
    backend: options.BackendName = options.Backend.AUTO,
    printing: Printing = Printing(),
) -> None:
    """Score a model and count the cost of its answers.

    Scores follow the official rules of the data's format. Data that tells no answers is not scored.
    """
    options.set_up(printing.quiet)
    options.check_one_way(dense, threshold, point)
    check_predictions(predictions, [*data, *(more or [])])
    if dense and compare_dense:
        raise typer.BadParameter("--compare-dense compares skimming with --dense; give one of them")
    if max_cost is not None and compare_dense:
        raise typer.BadParameter("--compare-dense has no bound of the cost; give one of them")
    examples = read_selected(data, more, selection, "ignored" if no_score else "wanted")
    warn_of_no_use(no_answer_threshold, examples)

    from blockskim.evaluation.compare import ROUNDS, compare_with_dense, windows_to_run
    from blockskim.evaluation.evaluate import evaluate_windows, report
    from blockskim.inference.operating_point import choose_thresholds

    loaded = load_backend(computing, backend)
    network = loaded.model
    thresholds = choose_thresholds(network, dense=dense, threshold=threshold, point=point, name=loaded.name)
    windows = cut_windows(loaded, examples, windowing)
    batch_size = windowing.batch_size
    start = describe("evaluating", network, windows, batch_size)
    if compare_dense:
        with window_progress(printing.quiet, windows_to_run(windows, batch_size), start) as bar:
            comparison = compare_with_dense(
                network, windows, batch_size, thresholds, max_answer_len, ROUNDS, bar.advance, no_answer_threshold
            )
        result = comparison.skim
        other = comparison.dense
        values = report(network, windows, result) | {
            "dense": {
                "exact_match": other.scores["exact_match"],
                "f1": other.scores["f1"],
                "seconds": other.seconds,
            },
            "wall_speedup": comparison.wall_speedup,
        }
    else:
        with window_progress(printing.quiet, len(windows), start) as bar:
            result = evaluate_windows(
                network,
                windows,
                batch_size,
                thresholds,
                max_answer_len,
                progress=bar.advance,
                no_answer_threshold=no_answer_threshold,
                max_cost=max_cost,
            )
        values = report(network, windows, result)
    with printing_and_writing(predictions, lambda path: write_predictions(path, examples, result)):
        if printing.as_json:
            print_json(values)
        else:
            _show(values, windowing.max_length)


def _show(values: dict[str, Any], max_length: int) -> None:
    from rich.table import Table

    out = console()
    out.print(_scores(values))
    if "joint_f1" in values:
        out.print(
            f"supporting facts: exact match {values['sp_exact_match']:.2f}   F1 {values['sp_f1']:.2f}; "
            f"both: exact match {values['joint_exact_match']:.2f}   F1 {values['joint_f1']:.2f}"
        )
    for name, part in values.get("files", {}).items():
        out.print(f"  {name}: {_scores(part)}   {part['total']:,} examples", markup=False)
    out.print(f"{values['examples']:,} examples, {values['windows']:,} windows, {values['seconds']:.1f} s")
    table = Table(box=None, pad_edge=False)
    for name in ("", "GFLOPs an example", "times this run's"):
        table.add_column(name, justify="left" if not name else "right")
    spent = values["flops_per_example"]
    for name, flops in (
        ("this run", spent),
        ("dense, same input", values["dense_flops_per_example"]),
        (f"dense, padded to {max_length}", values["padded_flops_per_example"]),
    ):
        table.add_row(name, f"{flops / 1e9:.3f}", f"{flops / spent:.2f}")
    out.print()
    out.print(table)
    if values["predictor"]:
        table = Table(box=None, pad_edge=False)
        for name in ("layer", "kept of all", "kept of droppable", "precision", "recall"):
            table.add_column(name, justify="right")
        for row in values["predictor"]:
            kept = values["kept_by_layer"][row["layer"] - 1]
            shares = [kept, row["kept"], row["precision"], row["recall"]]
            table.add_row(str(row["layer"]), *("–" if share is None else f"{share:.3f}" for share in shares))
        out.print()
        out.print(table)
    if "confidence" in values:
        _show_reliability(values["confidence"])
    if "dense" in values:
        other = values["dense"]
        out.print()
        out.print(
            f"dense: {_scores(other, ', ')}, {other['seconds']:.1f} s; "
            f"skimming is {values['wall_speedup']:.2f}× as fast by the clock"
        )


def _show_reliability(values: dict[str, Any]) -> None:
    """The reliability diagram in characters: of the answers of a confidence, how many were right."""
    from rich.table import Table

    out = console()
    table = Table(box=None, pad_edge=False)
    for name in ("confidence", "answers", "mean", "right", ""):
        table.add_column(name, justify="right" if name else "left")
    for part in values["bins"]:
        bar = "#" * round(20 * part["right"])
        shares = f"{part['confidence']:.3f}", f"{part['right']:.3f}"
        table.add_row(f"{part['low']:.2f} to {part['high']:.2f}", f"{part['count']:,}", *shares, bar)
    out.print()
    out.print(table)
    out.print(f"expected calibration error of the confidence: {values['expected_calibration_error']:.3f}")


def _scores(values: dict[str, Any], between: str = "   ") -> str:
    """Exact match and F1, or that there are none."""
    if math.isnan(values["f1"]):
        return "not scored"
    return f"exact match {values['exact_match']:.2f}{between}F1 {values['f1']:.2f}"
