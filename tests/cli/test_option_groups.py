from dataclasses import dataclass
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from blockskim.cli import options
from blockskim.cli.option_groups import Computing, Selection, Windowing, takes_groups

Size = Annotated[int, typer.Option("--size", min=1, metavar="N", help="How large.")]


@dataclass(frozen=True)
class Shape:
    """A group of options."""

    size: Size = 3
    name: Annotated[str, typer.Option("--name", help="What it is called.")] = "square"


calls = []


@takes_groups
def command(
    first: Annotated[str, typer.Option("--first")],
    shape: Shape = Shape(name="circle"),
    last: Annotated[bool, typer.Option("--last")] = False,
) -> None:
    """Do something."""
    calls.append((first, shape, last))


@pytest.fixture
def call():
    app = typer.Typer(rich_markup_mode=None)
    app.command()(command)
    calls.clear()
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--first", "x"), ("x", Shape(3, "circle"), False)),
        (("--first", "x", "--size", 7, "--last"), ("x", Shape(7, "circle"), True)),
        (("--name", "y", "--first", "x"), ("x", Shape(3, "y"), False)),
    ],
)
def test_a_command_gets_the_group_that_was_given(call, arguments, expected):
    assert call(*arguments).exit_code == 0
    assert calls == [expected]


def test_help_has_the_options_of_a_group_in_its_place(call):
    text = call("--help").output
    places = [text.index(name) for name in ("--first", "--size N", "--name", "--last")]
    assert places == sorted(places)
    assert "[default: 3; x>=1]" in text and "[default: circle]" in text and "--shape" not in text


@pytest.mark.parametrize("arguments", [("--first", "x", "--size", 0), ("--size", 2), ("--first", "x", "--shape", 1)])
def test_options_of_a_group_are_checked_as_any(call, arguments):
    assert call(*arguments).exit_code == 2
    assert calls == []


def test_the_command_keeps_its_name_and_what_it_says():
    assert (command.__name__, command.__doc__) == ("command", "Do something.")


def test_defaults_of_the_groups_that_commands_share():
    assert Selection() == Selection(format=None, skip_bad=False, limit=None, hold_out=None)
    assert Windowing() == Windowing(batch_size=32, max_length=384, doc_stride=128, max_question_len=64)
    assert Computing() == Computing(model=None, device=options.Device.AUTO, dtype=options.Dtype.AUTO, threads=None)
