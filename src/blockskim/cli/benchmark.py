"""``blockskim benchmark``: latency, throughput and memory of skimming beside named baselines."""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from blockskim.cli import options
from blockskim.cli.data_files import read_data
from blockskim.cli.output import console, print_json, progress_console
from blockskim.method.config import ALIGNMENTS, INPUTS
from blockskim.profiling.catalog import BASELINES, SHAPES, check_shape, parse_baseline
from blockskim.profiling.schedule_notation import parse_keep

if TYPE_CHECKING:
    from blockskim.inference.runner import Thresholds
    from blockskim.model.modeling import BlockSkimForQuestionAnswering
    from blockskim.profiling.benchmark import Record
    from blockskim.profiling.workloads import Workload

OWN = "blockskim"
LIMIT = 128
TABLE_WIDTH = 240
DATA_BASELINES = "dense-sdpa,dense-sdpa-384,packed"
SHAPE_BASELINES = "dense-sdpa,packed"


class Predictors(StrEnum):
    """Which layers of a random model have a predictor."""

    ALL = "all"
    SCHEDULED = "scheduled"


def benchmark(
    data: Annotated[
        list[Path] | None,
        typer.Option("--data", metavar="FILE", help="Measure on the windows of a data file; may be repeated."),
    ] = None,
    more: options.MoreFiles = None,
    format: options.DataFormat = None,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit", min=1, metavar="N", help=f"So many examples of the data, chosen at random.  [default: {LIMIT}]"
        ),
    ] = None,
    end_to_end: Annotated[
        bool, typer.Option("--end-to-end", help="Time tokenised windows to answers, not the model alone; with --data.")
    ] = False,
    threshold: options.Threshold = None,
    point: options.Point = None,
    max_length: options.MaxLength = 384,
    shape: Annotated[
        str | None,
        typer.Option("--shape", metavar="NAME", help=f"Measure a random model instead: {', '.join(SHAPES)}."),
    ] = None,
    length: Annotated[
        int | None, typer.Option("--length", min=1, metavar="N", help="Tokens of its random input.  [default: 512]")
    ] = None,
    keep: Annotated[
        str | None,
        typer.Option(
            "--keep",
            metavar="LAYER:SHARE,...|all",
            help="What it keeps: 3:0.5,6:0.25 leaves half of its context blocks after layer 3, a quarter after 6.",
        ),
    ] = None,
    keep_full: Annotated[
        int | None, typer.Option("--keep-full", min=0, metavar="N", help="So many samples of a batch keep everything.")
    ] = None,
    predictors: Annotated[
        Predictors | None,
        typer.Option(
            "--predictors",
            help="Predictors in every layer but the last, or in those of --keep.  [default: all for --keep all]",
        ),
    ] = None,
    block_size: Annotated[
        int | None, typer.Option("--block-size", metavar="N", help="Tokens in its blocks.  [default: 32]")
    ] = None,
    inputs: Annotated[
        str | None,
        typer.Option(
            "--inputs", metavar="NAME,...", help=f"What its predictors see: {', '.join(INPUTS)}.  [default: tiles]"
        ),
    ] = None,
    alignment: Annotated[
        str | None,
        typer.Option(
            "--alignment", metavar="NAME", help=f"Where blocks begin: {', '.join(ALIGNMENTS)}.  [default: sequence]"
        ),
    ] = None,
    batch_size: Annotated[
        str, typer.Option("--batch-size", metavar="N,...", help="Samples that run together; several are measured.")
    ] = "1,32",
    against: Annotated[
        str | None,
        typer.Option(
            "--against",
            metavar="NAME,...",
            help=f"Baselines: {', '.join(BASELINES)}; with -N behind the name (dense-sdpa-384), input is padded to "
            f"N tokens.  [default: {DATA_BASELINES} for data, {SHAPE_BASELINES} for a shape]",
        ),
    ] = None,
    repeats: Annotated[int, typer.Option("--repeats", min=1, metavar="N", help="Rounds in which all take turns.")] = 7,
    seed: Annotated[int, typer.Option("--seed", min=0, metavar="N", help="Of everything that is random.")] = 0,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", metavar="FILE.png", help="Draw seconds against F1 (without answers: seconds)."),
    ] = None,
    model: options.Model = None,
    device: options.DeviceName = options.Device.AUTO,
    dtype: Annotated[
        options.Dtype, typer.Option("--dtype", help="Numbers that skimming computes in; baselines take float32.")
    ] = options.Dtype.FLOAT32,
    threads: options.Threads = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Time skimming beside baselines, on real data or a random model.

    All take turns in every round; seconds are medians over the rounds, speed-ups medians of the ratios within a round.
    """
    options.set_up(quiet)
    options.check_one_way(False, threshold, point)
    options.check_writable(plot, "--plot")
    sizes = _sizes(batch_size)
    if (data is None) == (shape is None):
        raise typer.BadParameter("give either --data FILE or --shape NAME")
    if data is None:
        _refuse(
            "--shape",
            {
                "--limit": limit,
                "--end-to-end": end_to_end or None,
                "--threshold": threshold,
                "--point": point,
                "--model": model,
                "--format": format,
                "FILE": more or None,
            },
        )
        if keep is None:
            raise typer.BadParameter("--shape needs --keep, the schedule by which blocks are dropped (or all)")
    else:
        _refuse(
            "--data",
            {
                "--length": length,
                "--keep": keep,
                "--keep-full": keep_full,
                "--predictors": predictors,
                "--block-size": block_size,
                "--inputs": inputs,
                "--alignment": alignment,
            },
        )
    baselines = list(dict.fromkeys((against or (SHAPE_BASELINES if data is None else DATA_BASELINES)).split(",")))
    for name in baselines:
        parse_baseline(name)
    schedule = parse_keep(keep or "all")
    if shape is not None:
        check_shape(shape)

    import torch
    from torch import nn

    from blockskim.extras import load_matplotlib
    from blockskim.inference.devices import choose_device, choose_dtype
    from blockskim.profiling.baselines import make_baseline
    from blockskim.profiling.benchmark import run_benchmark
    from blockskim.profiling.contenders import skim_contender
    from blockskim.profiling.matmul_rate import matmul_rate
    from blockskim.profiling.report import records_table, save_plot, speedup_table
    from blockskim.profiling.schedule import THRESHOLD

    if plot is not None:
        load_matplotlib()
    if threads is not None:
        torch.set_num_threads(threads)
    place = choose_device(device.value)
    number_format = choose_dtype(dtype.value, place)
    thresholds: Thresholds
    if shape is not None:
        settings = _skim_settings(block_size, inputs, alignment, predictors, schedule)
        network, workload = _random(shape, length or 512, settings, schedule, keep_full or 0, seed)
        nn.Module.to(network, place)
        thresholds = THRESHOLD
    else:
        network, workload, thresholds = _loaded(
            [*(data or []), *(more or [])], format, limit or LIMIT, max_length, (threshold, point), model, device, seed
        )
    own = network
    if number_format != network.dtype:
        own = copy.deepcopy(network)
        nn.Module.to(own, dtype=number_format)
    trained = shape is None
    records: list[Record] = []
    with _progress(quiet) as tell:
        tell("making the contenders")
        contenders = [
            skim_contender(OWN, own, thresholds, trained),
            *(make_baseline(name, network, own, thresholds, trained, seed) for name in baselines),
        ]
        tell("measuring how fast matrices are multiplied")
        formats = {contender.dtype for contender in contenders} - {"int8"}
        rates = {name: matmul_rate(place, getattr(torch, name)) for name in sorted(formats)}
        for size in sizes:
            records += run_benchmark(
                contenders,
                baselines,
                workload,
                size,
                place,
                rates,
                repeats,
                end_to_end=end_to_end,
                progress=tell,
            )
    if plot is not None:
        save_plot(records, plot)
    if as_json:
        print_json([record.to_dict() for record in records])
    else:
        out = console()
        # Lines that a terminal folds can be read, columns that were cut can't.
        out.width = max(out.width, TABLE_WIDTH)
        out.print(records_table(records), speedup_table(records, baselines))


def _sizes(text: str) -> list[int]:
    """Distinct batch sizes, in their order."""
    try:
        sizes = [int(part) for part in text.split(",")]
    except ValueError:
        sizes = [0]
    if min(sizes) < 1:
        raise typer.BadParameter(
            f"{text!r} is no batch size, nor several with commas between", param_hint="--batch-size"
        )
    return list(dict.fromkeys(sizes))


def _refuse(option: str, others: dict[str, object]) -> None:
    """Refuse options that mean nothing beside another one."""
    for name, value in others.items():
        if value is not None:
            raise typer.BadParameter(f"{name} means nothing with {option}")


def _skim_settings(
    block_size: int | None,
    inputs: str | None,
    alignment: str | None,
    predictors: Predictors | None,
    keep: dict[int, float],
) -> dict[str, object]:
    """What differs from the paper's choices in a random model."""
    settings: dict[str, object] = {}
    if block_size is not None:
        settings["block_size"] = block_size
    if inputs is not None:
        settings["inputs"] = tuple(inputs.split(","))
    if alignment is not None:
        settings["alignment"] = alignment
    if predictors is Predictors.SCHEDULED and not keep:
        raise typer.BadParameter("--keep all schedules no layer, so it needs --predictors all")
    if predictors is not Predictors.ALL and keep:
        settings["layers"] = tuple(keep)
    return settings


def _random(
    shape: str, length: int, settings: dict[str, object], keep: dict[int, float], keep_full: int, seed: int
) -> "tuple[BlockSkimForQuestionAnswering, Workload]":
    """A random model on a schedule, and random samples for it."""
    from blockskim.method.config import SkimConfig
    from blockskim.profiling.random_models import random_skim
    from blockskim.profiling.schedule import install_schedule
    from blockskim.profiling.workloads import random_workload

    network = random_skim(shape, length, SkimConfig.paper(**settings), seed)
    workload = random_workload(shape, network, length, seed)
    install_schedule(network, keep, workload.blocks, keep_full, seed)
    return network, workload


def _loaded(
    files: Sequence[Path],
    format: options.Format | None,
    limit: int,
    max_length: int,
    skimming: tuple[float | None, str | None],
    model: str | None,
    device: options.Device,
    seed: int,
) -> "tuple[BlockSkimForQuestionAnswering, Workload, Thresholds]":
    """A model in float32, the windows of data files, and what to skim with, given a threshold or a point."""
    from blockskim.data.windows import make_windows
    from blockskim.errors import DataError
    from blockskim.inference.loading import load
    from blockskim.inference.operating_point import choose_thresholds
    from blockskim.inference.window_settings import window_settings
    from blockskim.profiling.workloads import Workload, choose_examples

    examples = choose_examples(read_data(files, format), limit, seed)
    if not examples:
        raise DataError(f"{files[0]} holds no questions")
    loaded = load(model, device.value, "float32")
    threshold, point = skimming
    thresholds = choose_thresholds(loaded.model, threshold=threshold, point=point, name=loaded.name)
    settings = window_settings(loaded.model, loaded.tokenizer, max_length)
    windows = make_windows(examples, loaded.tokenizer, settings)
    names = ", ".join(file.name for file in files)
    return loaded.model, Workload(f"{names}, {len(examples)} examples", windows), thresholds


@contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[str], None]]:
    """A line on standard error that says what is going on; nothing when nobody is to see it."""
    out = progress_console()
    if quiet or not out.is_terminal:
        yield lambda message: None
        return
    with out.status("") as status:
        yield status.update
