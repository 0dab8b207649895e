"""Options of ``blockskim benchmark``, and the settings that they make."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from blockskim.cli import options
from blockskim.cli.option_groups import LARGEST
from blockskim.method.config import ALIGNMENTS, INPUTS
from blockskim.profiling.catalog import BASELINES, SHAPES, parse_baseline
from blockskim.profiling.schedule_notation import parse_keep
from blockskim.profiling.settings import BenchmarkSettings, RandomModelSettings

LIMIT = 128
DATA_BASELINES = "dense-sdpa,dense-sdpa-{max_length},packed"
SHAPE_BASELINES = "dense-sdpa,packed"


class Predictors(StrEnum):
    """Which layers of a random model have a predictor."""

    ALL = "all"
    SCHEDULED = "scheduled"


Data = Annotated[
    list[Path] | None,
    typer.Option("--data", metavar="FILE", help="Measure on the windows of a data file; may be repeated."),
]
Limit = Annotated[
    int | None,
    typer.Option(
        "--limit", min=1, metavar="N", help=f"So many examples of the data, chosen at random.  [default: {LIMIT}]"
    ),
]
EndToEnd = Annotated[
    bool, typer.Option("--end-to-end", help="Time tokenised windows to answers, not the model alone; with --data.")
]
Shape = Annotated[
    str | None,
    typer.Option("--shape", metavar="NAME", help=f"Measure a random model instead: {', '.join(SHAPES)}."),
]
Length = Annotated[
    int | None,
    typer.Option("--length", min=1, metavar="N", help="Tokens of the random input, for --shape.  [default: 512]"),
]
Keep = Annotated[
    str | None,
    typer.Option(
        "--keep",
        metavar="LAYER:SHARE,...|all",
        help="What the random model keeps: 3:0.5,6:0.25 leaves half of the context blocks after layer 3, a quarter "
        "after 6.",
    ),
]
KeepFull = Annotated[
    int | None,
    typer.Option("--keep-full", min=0, metavar="N", help="Samples of a batch that keep everything, for --shape."),
]
PredictorsName = Annotated[
    Predictors | None,
    typer.Option(
        "--predictors",
        help="Layers of the random model with a predictor: all but the last, or those of --keep.  [default: all for "
        "--keep all]",
    ),
]
BlockSize = Annotated[
    int | None, typer.Option("--block-size", metavar="N", help="Tokens in a block of the random model.  [default: 32]")
]
Inputs = Annotated[
    str | None,
    typer.Option(
        "--inputs",
        metavar="NAME,...",
        help=f"What predictors of the random model see: {', '.join(INPUTS)}.  [default: tiles]",
    ),
]
Alignment = Annotated[
    str | None,
    typer.Option(
        "--alignment",
        metavar="NAME",
        help=f"Where blocks of the random model begin: {', '.join(ALIGNMENTS)}.  [default: sequence]",
    ),
]
BatchSizes = Annotated[
    str, typer.Option("--batch-size", metavar="N,...", help="Samples that run together; several are measured.")
]
Against = Annotated[
    str | None,
    typer.Option(
        "--against",
        metavar="NAME,...",
        help=f"Baselines: {', '.join(BASELINES)}; with -N behind the name (dense-sdpa-384), input is padded to "
        f"N tokens.  [default: {DATA_BASELINES.format(max_length='N')} for data, N that of --max-length, "
        f"{SHAPE_BASELINES} for a shape]",
    ),
]
Repeats = Annotated[int, typer.Option("--repeats", min=1, metavar="N", help="Rounds in which all take turns.")]
Seed = Annotated[int, typer.Option("--seed", min=0, metavar="N", help="Seed of everything that is random.")]
PLOT_HELP = "Draw seconds against F1 (without answers: seconds)."
Plot = Annotated[
    Path | None,
    typer.Option("--plot", parser=options.output_path, metavar="FILE.png", help=PLOT_HELP),
]


class BenchmarkBackend(StrEnum):
    """What skims."""

    AUTO = "auto"
    TORCH = "torch"
    ONNX = "onnx"
    ONNX_INT8 = "onnx-int8"


BackendName = Annotated[
    BenchmarkBackend,
    typer.Option(
        "--backend",
        help="What skims. A model that was not exported is, into a temporary folder; auto takes onnx for one that was.",
    ),
]
SkimDtype = Annotated[
    options.Dtype, typer.Option("--dtype", help="Numbers that skimming computes in; baselines take float32.")
]


@dataclass(frozen=True, slots=True)
class OnData:
    """A run on the windows of data files."""

    data: Data = None
    more: options.MoreFiles = None
    format: options.DataFormat = None
    limit: Limit = None
    end_to_end: EndToEnd = False
    threshold: options.Threshold = None
    point: options.Point = None
    max_length: options.MaxLength = 384


@dataclass(frozen=True, slots=True)
class OnShape:
    """A run of a random model on random input."""

    shape: Shape = None
    length: Length = None
    keep: Keep = None
    keep_full: KeepFull = None
    predictors: PredictorsName = None
    block_size: BlockSize = None
    inputs: Inputs = None
    alignment: Alignment = None


@dataclass(frozen=True, slots=True)
class Measuring:
    """How it is measured."""

    batch_size: BatchSizes = "1,32"
    against: Against = None
    repeats: Repeats = 7
    seed: Seed = 0


def check_usage(on_data: OnData, on_shape: OnShape, model: str | None) -> None:
    """Refuse options of a run on data beside those of a random model.

    Raises:
        BadParameter: there are both, or neither, or no schedule for a random model.
    """
    if (on_data.data is None) == (on_shape.shape is None):
        raise typer.BadParameter("give either --data FILE or --shape NAME")
    if on_data.data is None:
        _refuse(
            "--shape",
            {
                "--limit": on_data.limit,
                "--end-to-end": on_data.end_to_end or None,
                "--threshold": on_data.threshold,
                "--point": on_data.point,
                "--model": model,
                "--format": on_data.format,
                "FILE": on_data.more or None,
            },
        )
        if on_shape.keep is None:
            raise typer.BadParameter("--shape needs --keep, the schedule by which blocks are dropped (or all)")
        return
    _refuse(
        "--data",
        {
            "--length": on_shape.length,
            "--keep": on_shape.keep,
            "--keep-full": on_shape.keep_full,
            "--predictors": on_shape.predictors,
            "--block-size": on_shape.block_size,
            "--inputs": on_shape.inputs,
            "--alignment": on_shape.alignment,
        },
    )


def check_backend(
    backend: BenchmarkBackend,
    on_shape: OnShape,
    device: options.Device,
    dtype: options.Dtype,
    baselines: Sequence[str] = (),
) -> None:
    """Refuse what ONNX Runtime can't be asked for, and what it alone can.

    Raises:
        BadParameter: it is a random model, a GPU, or a number format of PyTorch's; or a baseline is of an exported
            model, and none is measured.
    """
    if backend is BenchmarkBackend.TORCH:
        if "onnx-packed" in baselines:
            raise typer.BadParameter(
                "onnx-packed is the exported graph that is measured; it needs --backend onnx or onnx-int8",
                param_hint="--against",
            )
        return
    if on_shape.shape is not None:
        raise typer.BadParameter("random models run in PyTorch; give --data", param_hint="--backend")
    if device is options.Device.CUDA:
        raise typer.BadParameter(f"{backend.value} computes on the CPU, not on {device.value}", param_hint="--backend")
    if dtype not in (options.Dtype.FLOAT32, options.Dtype.AUTO):
        raise typer.BadParameter(
            f"{backend.value} has a number format of its own, not {dtype.value}", param_hint="--dtype"
        )


def measuring_settings(measuring: Measuring, on_data: OnData) -> BenchmarkSettings:
    """How contenders are measured.

    Raises:
        BadParameter: a batch size is none, or a baseline pads to less than a window may have.
        ConfigError: there is no such baseline, or a package that it needs is not installed.
    """
    sizes = _sizes(measuring.batch_size)
    usual = SHAPE_BASELINES if on_data.data is None else DATA_BASELINES.format(max_length=on_data.max_length)
    against = usual if measuring.against is None else measuring.against
    settings = BenchmarkSettings(
        tuple(dict.fromkeys(against.split(","))),
        sizes,
        measuring.repeats,
        end_to_end=on_data.end_to_end,
        seed=measuring.seed,
    )
    settings.check()
    if on_data.data is not None:
        _check_padding(settings.baselines, on_data.max_length)
    return settings


def _check_padding(baselines: Sequence[str], max_length: int) -> None:
    """Refuse baselines that pad to less than a window may have, before anything is loaded and exported.

    Raises:
        BadParameter: one does.
    """
    for name in baselines:
        kind, pad_to = parse_baseline(name)
        if pad_to is not None and pad_to < max_length:
            raise typer.BadParameter(
                f"{name} pads its input to {pad_to} tokens, but windows have up to {max_length}; give "
                f"{kind}-{max_length} or --max-length {pad_to}",
                param_hint="--against",
            )


def random_model_settings(on_shape: OnShape) -> RandomModelSettings | None:
    """The random model that is asked for, if there is one.

    Raises:
        BadParameter: predictors are to be in the scheduled layers, of which there are none.
        ConfigError: there is no such shape, or the schedule is impossible.
    """
    if on_shape.shape is None:
        return None
    keep = parse_keep("all" if on_shape.keep is None else on_shape.keep)
    skim: dict[str, object] = {}
    if on_shape.block_size is not None:
        skim["block_size"] = on_shape.block_size
    if on_shape.inputs is not None:
        skim["inputs"] = tuple(on_shape.inputs.split(","))
    if on_shape.alignment is not None:
        skim["alignment"] = on_shape.alignment
    if on_shape.predictors is Predictors.SCHEDULED and not keep:
        raise typer.BadParameter("--keep all schedules no layer, so it needs --predictors all")
    if on_shape.predictors is not Predictors.ALL and keep:
        skim["layers"] = tuple(keep)
    return RandomModelSettings(on_shape.shape, keep, on_shape.length or 512, on_shape.keep_full or 0, skim)


def _sizes(text: str) -> tuple[int, ...]:
    """Distinct batch sizes, in their order.

    Raises:
        BadParameter: one is no whole number, or is below 1 or too large.
    """
    sizes = []
    for word in (part.strip() for part in text.split(",")):
        # Python itself refuses to read numbers of some thousands of digits.
        number = int(word) if word.isascii() and word.isdecimal() and len(word) <= len(str(LARGEST)) else None
        if number is None or not 1 <= number <= LARGEST:
            raise typer.BadParameter(
                f"{word[:40]!r} is no batch size; it must be a whole number from 1 to {LARGEST}, or several with "
                "commas between",
                param_hint="--batch-size",
            )
        sizes.append(number)
    return tuple(dict.fromkeys(sizes))


def _refuse(option: str, others: dict[str, object]) -> None:
    """Refuse options that mean nothing beside another one."""
    for name, value in others.items():
        if value is not None:
            raise typer.BadParameter(f"{name} means nothing with {option}")
