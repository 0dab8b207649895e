"""Options that go together, handed on as one value.

A group is a frozen dataclass whose fields are options. A command that is decorated with ``takes_groups`` has a group as
one parameter, with a group as its default; the command line has an option for each of its fields, in its place.
"""

import inspect
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from functools import wraps
from typing import Any, get_type_hints

import typer

from blockskim.cli import options

LARGEST = 2**32 - 1
"""Of whole numbers; it is the largest seed of NumPy, and more than anybody needs of anything else."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which examples of data files are taken."""

    format: options.DataFormat = None
    skip_bad: options.SkipBad = False
    limit: options.Limit = None
    hold_out: options.HoldOut = None


@dataclass(frozen=True, slots=True)
class Windowing:
    """How contexts are cut into windows, and how many of them run together."""

    batch_size: options.BatchSize = 32
    max_length: options.MaxLength = 384
    doc_stride: options.DocStride = 128
    max_question_len: options.MaxQuestionLength = 64

    def call(self) -> dict[str, Any]:
        """How windows are cut, as calls of the library have it."""
        return {
            "max_seq_len": self.max_length,
            "doc_stride": self.doc_stride,
            "max_question_len": self.max_question_len,
        }


@dataclass(frozen=True, slots=True)
class Computing:
    """Which model runs, and on what."""

    model: options.Model = None
    device: options.DeviceName = options.Device.AUTO
    dtype: options.DtypeName = options.Dtype.AUTO
    threads: options.Threads = None


@dataclass(frozen=True, slots=True)
class TorchComputing:
    """Which model runs in PyTorch, and on what."""

    model: options.Model = None
    device: options.DeviceName = options.Device.AUTO
    dtype: options.TorchDtypeName = options.TorchDtype.AUTO
    threads: options.Threads = None


@dataclass(frozen=True, slots=True)
class Processor:
    """How many threads a command takes that computes on the processor alone."""

    device: options.ProcessorName = options.Device.AUTO
    threads: options.Threads = None

    def check(self) -> None:
        """Refuse another place to compute.

        Raises:
            BadParameter: it is asked for.
        """
        if self.device is options.Device.CUDA:
            raise typer.BadParameter("this is done on the processor; auto and cpu are right", param_hint="--device")

    def set_threads(self) -> None:
        """Have PyTorch take so many; this imports it."""
        from blockskim.inference.devices import set_threads

        set_threads(self.threads)


@dataclass(frozen=True, slots=True)
class Printing:
    """What a command prints, and where."""

    as_json: options.Json = False
    quiet: options.Quiet = False


def takes_groups(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command an option for each field of its groups, and make the groups of what was given."""
    signature = inspect.signature(command, eval_str=True)
    groups: dict[str, Any] = {
        item.name: item.annotation for item in signature.parameters.values() if is_dataclass(item.annotation)
    }
    parameters = [option for item in signature.parameters.values() for option in _options_of(item)]

    @wraps(command)
    def run(**given: Any) -> None:
        for name, value in given.items():
            _check_number(name, value)
        for name, group in groups.items():
            given[name] = group(**{item.name: given.pop(item.name) for item in fields(group)})
        command(**given)

    # What typer reads to find out which options there are.
    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {item.name: item.annotation for item in parameters}
    return run


def _check_number(name: str, value: object) -> None:
    """Refuse numbers that are too large for the machine, and what is no number at all.

    Raises:
        BadParameter: it is one.
    """
    option = f"--{name.replace('_', '-')}"
    if isinstance(value, float) and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is no finite number", param_hint=option)
    if isinstance(value, int) and value > LARGEST:
        raise typer.BadParameter(f"{value} is too large; it must be at most {LARGEST}", param_hint=option)


def _options_of(parameter: inspect.Parameter) -> Iterator[inspect.Parameter]:
    """A parameter itself, or one for each field of its group."""
    if not is_dataclass(parameter.annotation):
        yield parameter
        return
    types = get_type_hints(parameter.annotation, include_extras=True)
    for item in fields(parameter.annotation):
        yield parameter.replace(
            name=item.name, annotation=types[item.name], default=getattr(parameter.default, item.name)
        )
