"""Outputs that can't be written are refused before anything is read."""

import os

import pytest

DIRECTORIES = {
    "train": ("--base", "none", "--train", "none", "--hold-out", 0.1),
    "calibrate": ("--data", "none", "--max-f1-drop", 1),
    "calibrate-confidence": ("--data", "none"),
    "calibrate-evidence": ("--data", "none"),
    "sweep": ("--data", "none", "--thresholds", "0.5", "--no-plot"),
    "prune-heads": ("--data", "none", "--total", 1),
    "make-student": ("--base", "./none", "--every", 2),
    "average": ("--model", "./none", "--model", "./none"),
    "export": ("--model", "./none"),
    "bulk answer": ("none",),
    "bulk highlight": ("none",),
    "bulk prune": ("none",),
}
"""Commands that write a directory, and what they need besides."""

FILES = {
    ("evaluate", "--predictions"): ("--data", "none"),
    ("predict", "--predictions"): ("--data", "none"),
    ("answer", "--explain"): ("-q", "Who?", "-f", "none"),
    ("highlight", "--explain"): ("-q", "Who?", "-f", "none"),
    ("benchmark", "--plot"): ("--data", "none"),
}
"""Commands that write a file, and the option that names it."""

OUTPUTS = [*((command, "--output", more) for command, more in DIRECTORIES.items())]
OUTPUTS += [(command, option, more) for (command, option), more in FILES.items()]


@pytest.fixture(params=OUTPUTS, ids=lambda output: " ".join(output[:2]))
def write(request, call):
    """Runs a command with an output."""
    command, option, more = request.param
    return lambda path: call(*command.split(), option, path, *more)


def test_an_empty_path(write):
    code, out, err = write("")
    assert (code, out) == (2, "")
    assert "the path is empty" in err


def test_a_dash_is_no_file_and_not_standard_output(write, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = write("-")
    assert (code, out) == (2, "")
    assert "the path is '-'" in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("below", ["x", "x/y"])
def test_a_path_below_a_file(write, tmp_path, below):
    (tmp_path / "file").write_text("text")
    code, out, err = write(tmp_path / "file" / below)
    assert (code, out) == (2, "")
    assert str(tmp_path / "file") in err


def test_a_folder_that_can_not_be_written_to(write, tmp_path, monkeypatch):
    # The tests may run as root, who may write anywhere.
    (tmp_path / "folder").mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: not str(path).startswith(str(tmp_path / "folder")))
    code, out, err = write(tmp_path / "folder" / "x")
    assert (code, out) == (2, "")
    assert str(tmp_path / "folder" / "x") in err
    assert "can't be written" in err
    assert list((tmp_path / "folder").iterdir()) == []


@pytest.mark.parametrize("command", [name for name in DIRECTORIES if not name.startswith(("train", "sweep", "bulk"))])
def test_a_link_to_nothing(call, tmp_path, command):
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    code, _, err = call(command, "--output", tmp_path / "link", *DIRECTORIES[command])
    assert code == 2
    assert "link to nothing" in err


@pytest.mark.parametrize("command", FILES, ids=" ".join)
@pytest.mark.parametrize("target", ["missing/file", "link"])
def test_a_file_that_is_a_link_to_no_folder_or_to_itself(call, tmp_path, command, target):
    name, option = command
    (tmp_path / "link").symlink_to(tmp_path / target)
    code, out, err = call(name, option, tmp_path / "link", *FILES[command])
    assert (code, out) == (2, "")
    assert ("there is no directory" if target == "missing/file" else "leads back to itself") in err


def test_the_folder_that_the_command_runs_in_may_be_the_output(call, plain, model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, err = call("average", "--model", model, "--model", model, "--output", ".")
    assert (code, err) == (0, "")
    assert (tmp_path / "config.json").is_file()
    assert not list(tmp_path.parent.glob(f"{tmp_path.name}.*"))


def test_what_calibration_keeps_beside_its_output_must_have_room_there(call, tmp_path, monkeypatch):
    (tmp_path / "parent" / "folder").mkdir(parents=True)
    (tmp_path / "parent" / "out").symlink_to(tmp_path / "parent" / "folder")
    monkeypatch.setattr(os, "access", lambda path, mode: not str(path).endswith("parent"))
    code, out, err = call("calibrate", "--output", tmp_path / "parent" / "out", *DIRECTORIES["calibrate"])
    assert (code, out) == (2, "")
    assert "can't be written" in err
