"""What long runs tell logs of their progress."""

import json

import pytest

from blockskim.cli import progress as reporting
from blockskim.cli.progress import PlainLines, duration, status_line, task_progress, window_progress
from cli_data import squad


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "data.json"
    path.write_text(json.dumps(squad(4, 4)))
    return path


def clock_of(*times):
    """A clock that shows these times, one after the other."""
    return iter(times).__next__


def test_a_line_comes_once_a_minute_with_rate_and_time_left(lines):
    plain = PlainLines(clock_of(0, 0, 30, 60, 90, 125), every=60)
    plain.begin("windows", 1000)
    for _ in range(4):
        plain.advance(100)
    assert lines == ["200 of 1,000 windows, 3.33 windows/s, 4 min left", lines[1]]
    assert lines[1] == "400 of 1,000 windows, 3.2 windows/s, 3 min left"


def test_a_run_that_goes_on_is_not_faster_for_what_was_done_before(lines):
    plain = PlainLines(clock_of(0, 0, 60), every=60)
    plain.begin("steps", 200, done=100)
    plain.reach(106, "loss 2.500")
    assert lines == ["106 of 200 steps, loss 2.500, 0.1 steps/s, 16 min left"]


def test_without_a_total_there_is_no_time_left(lines):
    plain = PlainLines(clock_of(0, 0, 60), every=60)
    plain.begin("windows")
    plain.advance(60)
    assert lines == ["60 windows, 1 windows/s"]


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0 s"), (99, "99 s"), (100, "2 min"), (3600, "60 min"), (12000, "3 h 20 min")]
)
def test_durations(seconds, shown):
    assert duration(seconds) == shown


def test_tasks_follow_each_other(lines, monkeypatch):
    monkeypatch.setattr(reporting, "CLOCK", lambda: 0.0)
    with task_progress(False, "calibrating", lambda task: ("windows", 4)) as progress:
        for task in ("recording", "recording", "confirming"):
            progress(task, 2)
    assert lines == ["calibrating", "recording", "4 windows in 0 s", "confirming"]


def test_lines_tell_of_windows_whose_number_is_set(lines, monkeypatch):
    monkeypatch.setattr(reporting, "CLOCK", clock_of(0, 0, 10, 100, 110, 120, 130, 140, 200, 210))
    with window_progress(False, start="reading twice") as bar:
        bar.update(8, 16)
        bar.update(16, 24)
        bar.update(24, 24)
        bar.update(8, 24)
        bar.update(24, 24)
    assert lines == [
        "reading twice",
        "16 of 24 windows, 0.16 windows/s, 50 s left",
        "24 windows in 2 min",
        "24 of 24 windows, 0.343 windows/s, 0 s left",
        "24 windows in 80 s",
    ]


def test_steps_are_counted_whatever_is_said_of_them(lines, monkeypatch):
    monkeypatch.setattr(reporting, "CLOCK", clock_of(0, 0, 60, 90, 100))
    with status_line(False, "measuring", "rounds", 2) as progress:
        progress("exporting: round and round", 0)
        progress("one", 1)
        progress("another", 1)
    counted = ["1 of 2 rounds, one, 0.0167 rounds/s, 60 s left", "2 rounds in 2 min"]
    assert lines == ["measuring", "exporting: round and round", *counted]


def test_quiet_says_nothing(lines):
    with window_progress(True, 10, "start") as bar:
        bar.advance(10)
        bar.update(10, 10)
        bar.say("line")
    with task_progress(True, "start", lambda task: ("windows", 4)) as progress:
        assert progress is None
    assert lines == []


SHORT = ("--max-length", 120)
"""What tiny models can read."""

COMMANDS = {
    "evaluate": ("--compare-dense",),
    "sweep": ("--thresholds", "0.5"),
    "calibrate": ("--target-speedup", "1", "--output", "OUT"),
    "prune-heads": ("--total", "1", "--output", "OUT"),
    "predict": ("--predictions", "OUT"),
    "benchmark": ("--repeats", "1", "--batch-size", "2", "--against", "packed", "--threads", "1"),
}


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("quiet", [False, True])
def test_long_commands_tell_logs_what_they_do(call, model, data, tmp_path, lines, command, quiet, monkeypatch):
    monkeypatch.setattr(reporting, "EVERY", 0.0)
    more = [tmp_path / "out" if word == "OUT" else word for word in COMMANDS[command]]
    code, out, err = call(command, "--model", model, "--data", data, *SHORT, "--json", *more, *["--quiet"] * quiet)
    assert code in (0, 1), err
    json.loads(out)
    if quiet:
        assert lines == []
        return
    assert "16 windows" in lines[0]
    assert "cpu, float32" in lines[0] or "cpu, bfloat16" in lines[0]
    assert any("/s" in line for line in lines[1:])


@pytest.mark.slow
def test_training_tells_logs_of_steps_evaluations_and_checkpoints(call, plain, data, tmp_path, lines, monkeypatch):
    monkeypatch.setattr(reporting, "EVERY", 0.0)
    changes = ("epochs=1", "batch_size=1", "windows.max_length=120", "windows.doc_stride=20", "precision=float32")
    small = [word for change in (*changes, "windows.max_question_length=10") for word in ("--set", change)]
    arguments = ("train", "--base", plain, "--train", data, "--hold-out", 0.5, *small, "--json", "--device", "cpu")
    code, out, err = call(*arguments, "--output", tmp_path / "run")
    assert code == 0, err
    assert [json.loads(line)["step"] for line in out.splitlines()] == [4]
    while "tokenised" in lines[0]:
        del lines[0]
    assert lines[0].startswith("training: 4 examples, 4 windows, 4 steps, cpu, float32")
    assert lines[1].startswith("1 of 4 steps, ")
    assert lines[1].endswith(" left")
    assert any(line.startswith("evaluated at step 4, exact match ") for line in lines)
    assert "saved checkpoint-4" in lines
    del lines[:]
    assert call(*arguments, "--output", tmp_path / "quiet", "--quiet")[0] == 0
    assert lines == []
