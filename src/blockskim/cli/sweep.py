"""``blockskim sweep``: scores and cost of a model over a range of thresholds, or over its calibrated points."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from blockskim.atomic import write_whole
from blockskim.cli import options
from blockskim.cli.data_files import HoldOut, read_data
from blockskim.cli.output import console, print_json, window_progress

if TYPE_CHECKING:
    from blockskim.evaluation.sweep import Setting, SweepRecord

RESULTS = "sweep.json"
PARTIAL = "sweep.partial.json"


def sweep(
    data: Annotated[
        list[Path], typer.Option("--data", metavar="FILE", help="Data to evaluate on; may be repeated, plain or gzip.")
    ],
    more: options.MoreFiles = None,
    thresholds: Annotated[
        str | None,
        typer.Option("--thresholds", metavar="P,P,...", help="Thresholds to skim with, each in every layer."),
    ] = None,
    calibrated: Annotated[
        bool,
        typer.Option("--calibrated", help="Skim at the model's operating points and the front of its calibration."),
    ] = False,
    seconds: Annotated[
        bool, typer.Option("--seconds", help="Time everything, too, in turns with the dense model.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", metavar="DIR", help=f"Write {RESULTS} and plots there; a killed run goes on."),
    ] = None,
    plot: Annotated[bool, typer.Option("--plot/--no-plot", help="Draw plots into --output.")] = True,
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
    """Show what is lost and what is saved over a range of thresholds.

    F1 lost is given in percent of the own dense F1, so that models compare that are not equally good.
    """
    options.set_up(quiet)
    if thresholds is None and not calibrated:
        raise typer.BadParameter("give --thresholds P,P,... or --calibrated")
    if output is not None:
        _check_output(output)

    from blockskim.evaluation.sweep import parse_thresholds
    from blockskim.extras import load_matplotlib

    values = () if thresholds is None else parse_thresholds(thresholds)
    if output is not None and plot:
        load_matplotlib()
    examples = read_data([*data, *(more or [])], format, hold_out, limit, skip_bad)

    from blockskim.calibration.cache import calibration_key
    from blockskim.calibration.calibrate import read_calibration
    from blockskim.data.windows import make_windows
    from blockskim.errors import ConfigError
    from blockskim.evaluation.published import PEERS
    from blockskim.evaluation.sweep import calibrated_settings, global_settings, run_sweep, sweep_work
    from blockskim.evaluation.sweep_report import save_sweep_plots, sweep_table
    from blockskim.inference.loading import load, window_settings

    loaded = load(model, device.value, dtype.value, threads)
    network = loaded.model
    if not loaded.skims:
        raise ConfigError(f"a sweep needs a Block-Skim model; {loaded.name} is a plain one, without predictors")
    settings: list[Setting] = global_settings(values, network.skim_layers)
    if calibrated:
        settings += calibrated_settings(network, read_calibration(loaded.name))
    windows = make_windows(
        examples,
        loaded.tokenizer,
        window_settings(network, loaded.tokenizer, max_length, doc_stride, max_question_len),
    )
    known: Sequence[SweepRecord] = ()
    key = ""
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        key = calibration_key(network, windows, batch_size, max_answer_len)
        known = _known(output / PARTIAL, key, seconds)

    def keep(records: "Sequence[SweepRecord]") -> None:
        if output is not None:
            part = {"key": key, "seconds": seconds, "records": [record.to_dict() for record in records]}
            write_whole(output / PARTIAL, json.dumps(part) + "\n")

    with window_progress(quiet, sweep_work(windows, settings, batch_size, seconds, known)) as bar:
        records = run_sweep(
            network, windows, settings, batch_size, max_answer_len, seconds, known, keep, progress=bar.advance
        )
    found: dict[str, Any] = {
        "examples": len(examples),
        "windows": len(windows),
        "max_length": max_length,
        "batch_size": batch_size,
        "device": str(network.device),
        "dtype": str(network.dtype).removeprefix("torch."),
        "records": [record.to_dict() for record in records],
        "peers": [
            {"name": peer.name, "f1": peer.f1, "dense_f1": peer.dense_f1, "speedup": peer.speedup, "arxiv": peer.source}
            for peer in PEERS
        ],
    }
    if output is not None:
        if plot:
            save_sweep_plots(records, max_length, output)
        write_whole(output / RESULTS, json.dumps(found, indent=1) + "\n")
        (output / PARTIAL).unlink(missing_ok=True)
    if as_json:
        print_json(found)
        return
    out = console()
    out.print(f"{len(examples):,} examples, {len(windows):,} windows; F1 lost in percent of the dense F1")
    out.print(sweep_table(records, max_length))
    if output is not None:
        out.print(f"written to {output}")


def _check_output(output: Path) -> None:
    """Refuse a folder that can't be written to, or that holds the results of another sweep."""
    if (output / RESULTS).exists():
        raise typer.BadParameter(f"{output} holds the results of a sweep; name another", param_hint="--output")
    if output.exists() and not output.is_dir():
        raise typer.BadParameter(f"{output} is no directory", param_hint="--output")


def _known(path: Path, key: str, seconds: bool) -> "list[SweepRecord]":
    """What a killed run of the same sweep has measured."""
    from blockskim.errors import ConfigError
    from blockskim.evaluation.sweep import SweepRecord

    try:
        part = json.loads(path.read_text(encoding="utf-8"))
        if (part["key"], part["seconds"]) != (key, seconds):
            return []
        return [SweepRecord.from_dict(values) for values in part["records"]]
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError, ConfigError):
        typer.echo(f"warning: {path} can't be read; everything is measured anew", err=True)
        return []
