"""Options that several commands share, each declared once, and what they set up."""

import logging
import os
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from blockskim.atomic import check_new, must_stay
from blockskim.checks import MOST_THREADS
from blockskim.cli.output import printable
from blockskim.errors import ConfigError


class Device(StrEnum):
    """Where to compute."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class Dtype(StrEnum):
    """What numbers to compute in."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"
    INT8 = "int8"


class TorchDtype(StrEnum):
    """What numbers PyTorch computes in."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


class Format(StrEnum):
    """How a data file is laid out."""

    SQUAD = "squad"
    MRQA = "mrqa"
    HOTPOTQA = "hotpotqa"
    HOTPOTQA_PSEUDO = "hotpotqa-pseudo"


class Backend(StrEnum):
    """What computes."""

    AUTO = "auto"
    TORCH = "torch"
    ONNX = "onnx"


def output_path(text: str) -> Path:
    """The path of something to be written, from what was given on the command line.

    Raises:
        BadParameter: it is empty, which Path takes for the current folder, or "-", which would be a file of this name.
    """
    if not text.strip():
        raise typer.BadParameter("the path is empty; name a file or a directory")
    if text == "-":
        raise typer.BadParameter("the path is '-', which is not taken for standard output; name a file or a directory")
    return Path(text)


Model = Annotated[
    str | None,
    typer.Option(
        "--model", metavar="DIR_OR_HUB_ID", help="Model directory or hub id.  [default: the model that comes along]"
    ),
]
DeviceName = Annotated[Device, typer.Option("--device", help="Where to compute; auto takes a GPU if there is one.")]
ProcessorName = Annotated[
    Device, typer.Option("--device", help="This is done on the processor: auto and cpu are the same, cuda is refused.")
]
DtypeName = Annotated[
    Dtype,
    typer.Option(
        "--dtype",
        help="Number format. auto: float32 for an exported graph; in PyTorch bfloat16 where the processor multiplies "
        "it in hardware, else float32. int8 is for a graph that has it.",
    ),
]
TorchDtypeName = Annotated[
    TorchDtype,
    typer.Option("--dtype", help="Number format; auto: bfloat16 where the processor multiplies it in hardware."),
]
BackendName = Annotated[
    Backend, typer.Option("--backend", help="onnx runs an exported model; auto takes it for a directory that has one.")
]


Threads = Annotated[
    int | None,
    typer.Option("--threads", min=1, max=MOST_THREADS, metavar="N", help="Processor threads."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else on standard output.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress and no warnings.")]

BatchSize = Annotated[int, typer.Option("--batch-size", min=1, metavar="N", help="Windows that run together.")]
MaxLength = Annotated[
    int, typer.Option("--max-length", min=1, metavar="N", help="Tokens in a window, question included.")
]
DocStride = Annotated[
    int,
    typer.Option("--doc-stride", min=0, metavar="N", help="Tokens by which windows overlap, half a window at most."),
]
MaxQuestionLength = Annotated[
    int, typer.Option("--max-question-len", min=1, metavar="N", help="Tokens of a question that are read.")
]
MaxAnswerLength = Annotated[int, typer.Option("--max-answer-len", min=1, metavar="N", help="Most tokens in an answer.")]
MaxCost = Annotated[
    float | None,
    typer.Option(
        "--max-cost",
        min=0.0,
        max=1.0,
        metavar="SHARE",
        help="Bound of the FLOPs for reading a text, as a share of the dense model's. The best passages come first; "
        "question and one block are always read, whatever they cost.",
    ),
]
NoAnswerThreshold = Annotated[
    float | None,
    typer.Option(
        "--no-answer-threshold",
        min=0.0,
        max=1.0,
        metavar="P",
        help='Confidence of "no answer" above which it is given.  [default: as calibrated; 1 never gives it]',
    ),
]
Threshold = Annotated[
    float | None,
    typer.Option(
        "--threshold",
        min=0.0,
        max=1.0,
        metavar="P",
        help="Drop blocks with a lower keep probability, in every layer.  [default: the model's own thresholds]",
    ),
]
Point = Annotated[
    str | None,
    typer.Option("--point", metavar="NAME", help="Skim at an operating point of the model; info shows which it has."),
]
Dense = Annotated[bool, typer.Option("--dense", help="Skip nothing, as a model without Block-Skim.")]
DataFormat = Annotated[
    Format | None, typer.Option("--format", help="Format of the data files.  [default: told by their content]")
]
SkipBad = Annotated[
    bool, typer.Option("--skip-bad", help="Leave out records that are wrong and count them, instead of stopping.")
]
Limit = Annotated[int | None, typer.Option("--limit", min=1, metavar="N", help="The first N examples only.")]
HoldOut = Annotated[
    float | None,
    typer.Option(
        "--hold-out",
        min=0.0,
        max=0.99,
        metavar="FRACTION",
        help="Part of the articles that training leaves out and evaluation is on; always the same part of a file.",
    ),
]
EvaluationData = Annotated[
    list[Path], typer.Option("--data", metavar="FILE", help="Data to evaluate on; may be repeated, plain or gzip.")
]
MoreFiles = Annotated[
    list[Path] | None, typer.Argument(metavar="FILE", help="More files of the same kind.", show_default=False)
]


def set_up(quiet: bool) -> None:
    """Send the library's warnings to standard error, one per line, and keep its dependencies silent."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    # Read when PyTorch is imported, whose libraries warn of what users can't change.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    if quiet:
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    handler = logging.StreamHandler()
    handler.setFormatter(_OneLine("warning: %(message)s"))
    logger = logging.getLogger("blockskim")
    logger.handlers = [handler]
    logger.propagate = False
    logger.setLevel(logging.ERROR if quiet else logging.WARNING)


class _OneLine(logging.Formatter):
    """Messages on one line, without what would steer the terminal."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        return printable(super().formatMessage(record))


def check_one_way(dense: bool, threshold: float | None, point: str | None = None) -> None:
    """Refuse a threshold or an operating point for a run that drops nothing, and one beside the other.

    Raises:
        BadParameter: two of them are given.
    """
    if dense and threshold is not None:
        raise typer.BadParameter("--dense skips nothing, so it can't go with --threshold")
    if dense and point is not None:
        raise typer.BadParameter("--dense skips nothing, so it can't go with --point")
    if threshold is not None and point is not None:
        raise typer.BadParameter("--threshold and --point both say what to drop; give one of them")


def check_new_output(output: Path, beside: bool = False) -> None:
    """Refuse an output directory that is there already and not empty, or can't be made.

    Args:
        output: the directory.
        beside: whether something is to be kept beside it.

    Raises:
        BadParameter: it is, or can't.
    """
    try:
        check_new(output)
    except ConfigError as error:
        raise typer.BadParameter(str(error), param_hint="--output") from None
    # It is made in its parent, under a temporary name.
    if must_stay(output):
        _check_can_make_in(output, output, "--output")
    if beside or not must_stay(output):
        _check_can_make_in(output.absolute().parent, output, "--output")


def check_output_folder(output: Path | None) -> None:
    """Refuse an output directory that files can't be written to, and one that can't be made.

    Raises:
        BadParameter: they can't.
    """
    if output is None:
        return
    if output.exists() and not output.is_dir():
        raise typer.BadParameter(f"{output} is a file; name a directory", param_hint="--output")
    _check_can_make_in(output.absolute(), output, "--output")


def check_writable(path: Path | None, option: str) -> None:
    """Refuse an output file that can't be written, before hours of work and not after.

    Raises:
        BadParameter: its folder does not exist or can't be written to, or it is a folder itself.
    """
    if path is None:
        return
    if path.is_dir():
        raise typer.BadParameter(f"{path} is a directory; name a file", param_hint=option)
    # Of a link, the file is made that it points to.
    target = Path(os.path.realpath(path)) if path.is_symlink() else path
    if not target.parent.is_dir():
        raise typer.BadParameter(f"there is no directory {target.parent}", param_hint=option)
    if target.is_symlink():
        raise typer.BadParameter(f"{path} is a link that leads back to itself; name a file", param_hint=option)
    if path.exists() and not path.is_file():
        # A pipe or a device is written to; a file is made anew beside itself.
        if not os.access(path, os.W_OK):
            raise typer.BadParameter(f"{path} can't be written", param_hint=option)
        return
    _check_can_make_in(path.resolve().parent, path, option)


def check_not_lost(path: Path | None, inputs: Iterable[Path], option: str, what: str) -> None:
    """Refuse an output file that is one of the inputs.

    Args:
        path: the output; None for none.
        inputs: the files that are read.
        option: that named the output.
        what: the inputs hold.

    Raises:
        BadParameter: it is one of them.
    """
    # A pipe or a terminal loses nothing when it is written to.
    if path is not None and path.is_file() and path.resolve() in [file.resolve() for file in inputs]:
        raise typer.BadParameter(f"{path} holds {what}, which would be lost; name another file", param_hint=option)


def _check_can_make_in(folder: Path, output: Path, option: str) -> None:
    """Refuse an output whose folder is below a file, or whose next folder that exists can't be written to."""
    for place in (folder, *folder.parents):
        if place.is_dir():
            if not os.access(place, os.W_OK | os.X_OK):
                raise typer.BadParameter(
                    f"{output} can't be written: no files can be made in {place}", param_hint=option
                )
            return
        if place.exists() or place.is_symlink():
            raise typer.BadParameter(f"{output} can't be written: {place} is no directory", param_hint=option)
