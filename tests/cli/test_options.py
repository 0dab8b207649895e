"""The choices that the command line offers, which it may not import the library for: they are the library's."""

import pytest
from typer.main import get_command

from blockskim.answering.backend_choice import BACKENDS, ONNX_DTYPES
from blockskim.calibration.targets import MEASURES
from blockskim.cli.bulk_options import InputFormat, OnError, OutputFormat
from blockskim.cli.calibrate import Measure
from blockskim.cli.commands import app
from blockskim.cli.options import Backend, Device, Dtype, Format, TorchDtype
from blockskim.data.reading import READERS
from blockskim.inference import devices
from blockskim.scaling import raw_shards
from blockskim.scaling.plan import ON_ERROR, OUTPUT_FORMATS

OFFERED = {
    Backend: BACKENDS,
    Device: ("auto", "cpu", "cuda"),
    Dtype: {*devices.NAMES, *ONNX_DTYPES},
    TorchDtype: devices.NAMES,
    Format: READERS,
    Measure: MEASURES,
    InputFormat: raw_shards.READERS,
    OutputFormat: OUTPUT_FORMATS,
    OnError: ON_ERROR,
}


@pytest.mark.parametrize("choice", OFFERED, ids=lambda choice: choice.__name__)
def test_what_is_offered_is_what_there_is(choice):
    assert {member.value for member in choice} == set(OFFERED[choice])


def commands(group, name=""):
    """Every command below a group, by its whole name."""
    for part, command in group.commands.items():
        whole = f"{name} {part}".strip()
        yield from commands(command, whole) if hasattr(command, "commands") else [(whole, command)]


COMMANDS = dict(commands(get_command(app)))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_takes_what_all_do(name):
    options = {option for parameter in COMMANDS[name].params for option in parameter.opts}
    assert {"--device", "--threads", "--json", "--quiet"} <= options
    # What is trained on is no model yet.
    assert {"--model", "--base"} & options


@pytest.mark.parametrize("command", ["average", "make-student", "export"])
def test_what_the_processor_does_is_not_done_elsewhere(call, tmp_path, command):
    more = ("--base", "none", "--every", 2) if command == "make-student" else ("--model", "none")
    code, out, err = call(command, *more, "--output", tmp_path / "out", "--device", "cuda")
    assert (code, out) == (2, "")
    assert "this is done on the processor; auto and cpu are right" in err
