"""``blockskim calibrate``: thresholds for a wish, written into a copy of the model."""

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from blockskim.cli import options
from blockskim.cli.data import HoldOut, read_data
from blockskim.cli.output import console, print_json, progress_console

if TYPE_CHECKING:
    from blockskim.training.calibration import Calibration


def calibrate(
    data: Annotated[
        list[Path],
        typer.Option("--data", metavar="FILE", help="Data that was not trained on and will not be reported on."),
    ],
    output: Annotated[Path, typer.Option("--output", metavar="DIR", help="New directory for the calibrated copy.")],
    more: options.MoreFiles = None,
    max_f1_drop: Annotated[
        float | None, typer.Option("--max-f1-drop", min=0.0, max=100.0, metavar="X", help="Most points of F1 to lose.")
    ] = None,
    target_speedup: Annotated[
        float | None,
        typer.Option("--target-speedup", min=1.0, metavar="X", help="Arithmetic to save: dense over spent, unpadded."),
    ] = None,
    overhead: Annotated[
        float,
        typer.Option(
            "--overhead",
            min=0.0,
            max=1.0,
            metavar="X",
            help="What asking one layer's predictor costs beyond its arithmetic, as a share of a dense run.",
        ),
    ] = 0.02,
    half: Annotated[bool, typer.Option("--half", help="Store the weights in float16, at half the size.")] = False,
    format: options.DataFormat = None,
    skip_bad: options.SkipBad = False,
    limit: Annotated[int | None, typer.Option("--limit", min=1, metavar="N", help="The first N examples only.")] = None,
    hold_out: HoldOut = None,
    batch_size: options.BatchSize = 32,
    max_length: options.MaxLength = 384,
    doc_stride: options.DocStride = 128,
    max_question_len: options.MaxQuestionLength = 64,
    max_answer_len: options.MaxAnswerLength = 30,
    model: options.Model = None,
    device: options.DeviceName = options.Device.AUTO,
    dtype: options.DtypeName = options.Dtype.AUTO,
    threads: options.Threads = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Choose the thresholds that save most for what may be lost.

    Exits with 1 when no point satisfies the wish; the nearest is written all the same.
    """
    options.set_up(quiet)
    if (max_f1_drop is None) == (target_speedup is None):
        raise typer.BadParameter("give either --max-f1-drop or --target-speedup")
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise typer.BadParameter(f"{output} exists already; name a new directory", param_hint="--output")
    examples = read_data([*data, *(more or [])], format, hold_out, limit, skip_bad)

    from transformers.utils.logging import disable_progress_bar

    from blockskim.data.windows import make_windows
    from blockskim.loading import load, window_settings
    from blockskim.training.calibration import calibrate as choose
    from blockskim.training.calibration import save_calibrated

    # This command's own progress is enough.
    disable_progress_bar()
    loaded = load(model, device.value, dtype.value, threads)
    settings = window_settings(loaded.model, loaded.tokenizer, max_length, doc_stride, max_question_len)
    windows = make_windows(examples, loaded.tokenizer, settings)
    err = progress_console()
    with err.status("recording what predictors say") as status:
        counts: Counter[str] = Counter()

        def tell(task: str, done: int) -> None:
            counts[task] += done
            status.update(f"{task}: {counts[task]:,} windows")

        result = choose(
            loaded.model,
            windows,
            max_f1_drop,
            target_speedup,
            batch_size,
            max_answer_len,
            overhead=overhead,
            progress=None if quiet else tell,
        )
    save_calibrated(loaded.name, loaded.tokenizer, result, output, half)
    if as_json:
        print_json(asdict(result))
    else:
        _show(result, loaded.model.skim_layers, output)
    if not result.satisfied:
        typer.echo("warning: no point satisfies the wish; the nearest was written", err=True)
        raise typer.Exit(1)


def _show(result: "Calibration", layers: tuple[int, ...], output: Path) -> None:
    from rich.table import Table

    out = console()
    table = Table(box=None, pad_edge=False)
    for name in ("", "speed-up", "F1", "exact match", *(f"layer {layer}" for layer in layers)):
        table.add_column(name, justify="right")
    for point in [result.dense, *result.front]:
        mark = "→" if point == result.chosen else ""
        scores = [f"{value:.2f}" if value is not None else "–" for value in (point.f1, point.exact_match)]
        thresholds = [f"{value:.4f}" if value else "–" for value in point.thresholds]
        table.add_row(mark, f"{point.flops_speedup:.3f}", *scores, *thresholds)
    out.print(f"{result.examples:,} examples; thresholds by layer, – where a layer does not skim")
    out.print(table)
    out.print(f"written to {output}")
