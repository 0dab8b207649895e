"""Text that is printed as it stands."""

import json
import os

import pytest

from blockskim.cli.output import console, print_json
from cli_data import squad
from full_disk import full_disk


@pytest.mark.parametrize("text", ["run[red]1", "[/]", "a[bold]b[/bold]", ":dog:", "[link=x]"])
def test_what_is_printed_is_printed_as_it_stands(capsys, text):
    from rich.table import Table

    console().print(f"written to {text}")
    table = Table(title=text)
    table.add_column(text)
    table.add_row(text)
    console().print(table)
    shown = capsys.readouterr().out
    assert shown.startswith(f"written to {text}\n")
    assert shown.count(text) == 4


@pytest.mark.parametrize(
    ("command", "more"),
    [("sweep", ("--thresholds", "0.5", "--no-plot")), ("calibrate", ("--target-speedup", "1"))],
)
def test_brackets_in_a_path(call, model, tmp_path, command, more):
    data = tmp_path / "data.json"
    data.write_text(json.dumps(squad(4, 4)))
    _, out, _ = call(
        command, "--model", model, "--data", data, "--max-length", 120, "--output", tmp_path / "run[red]1", *more
    )
    assert out.splitlines()[-1] == f"written to {tmp_path / 'run[red]1'}"


def test_names_that_are_not_utf_8_come_back_from_json(capsys):
    """Two of them must not become one."""
    names = dict(zip(("y\udce8.txt", "y\udce9.txt"), ("1 東京", "2"), strict=True))
    print_json(names)
    assert json.loads(capsys.readouterr().out.encode().decode()) == names


def test_errors_and_warnings_do_not_steer_the_terminal(call, tmp_path):
    """Names from files of data are not to be trusted."""
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({"question": "Who?", "path": "\x1b[31mEVIL\x1b]0;t\x07.txt"}) + "\n")
    code, _, err = call("bulk", "answer", rows, "--file-column", "path", "--output", tmp_path / "o")
    assert code == 1
    assert "EVIL" in err and not any(character in err for character in "\x1b\x07")
    columns = tmp_path / "columns.csv"
    columns.write_text("que\x1b[31mstion,context\nWho?,A man.\n")
    code, _, err = call("bulk", "answer", columns, "--output", tmp_path / "p")
    assert code == 1
    assert "stion" in err and "\x1b" not in err


def test_no_line_is_cut_where_nobody_looks_at_a_screen(capsys, monkeypatch):
    from rich.table import Table

    monkeypatch.setenv("COLUMNS", "40")
    table = Table(box=None, show_header=False)
    table.add_row("model", "/a/" + "b" * 300)
    console().print(table)
    console().print("word " * 60)
    first, second = capsys.readouterr().out.splitlines()
    assert first.rstrip().endswith("b" * 300)
    assert second.split() == ["word"] * 60


@pytest.mark.parametrize(
    ("command", "option"), [("evaluate", "--predictions"), ("answer", "--explain"), ("highlight", "--explain")]
)
@pytest.mark.parametrize("more", [(), ("--json",)])
def test_a_file_is_written_although_nothing_can_be_printed(
    call, model, document, tmp_path, monkeypatch, command, option, more
):
    data, written = tmp_path / "data.json", tmp_path / "written"
    data.write_text(json.dumps(squad(2)))
    asked = ("--data", data) if command == "evaluate" else ("-q", "Where?", "-f", document)
    arguments = (command, *asked, "--model", model, "--max-length", 150, *more, option)
    monkeypatch.setattr("sys.stdout", os.fdopen(os.open("/dev/full", os.O_WRONLY), "w"))
    code, _, err = call(*arguments, written)
    assert (code, err) == (1, "error: standard output: No space left on device\n")
    assert written.read_text()
    # Both are told of, should both fail.
    monkeypatch.setattr("sys.stdout", os.fdopen(os.open("/dev/full", os.O_WRONLY), "w"))
    with full_disk(0):
        code, _, err = call(*arguments, written)
    assert code == 1
    assert err == f"error: {written}: File too large\nerror: standard output: No space left on device\n"


def test_a_file_is_written_although_nobody_reads_what_is_printed(call, model, document, tmp_path, monkeypatch):
    reader, writer = os.pipe()
    os.close(reader)
    monkeypatch.setattr("sys.stdout", os.fdopen(writer, "w"))
    code, _, err = call("answer", "-q", "Where?", "-f", document, "--model", model, "--explain", tmp_path / "page")
    assert (code, err) == (1, "")
    assert (tmp_path / "page").read_text()
