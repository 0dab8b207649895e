import subprocess
import sys
import time

import pytest

from blockskim import __version__
from blockskim.cli import main
from blockskim.errors import DataError


def process(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "blockskim", *map(str, arguments)], capture_output=True, timeout=600, **options
    )


def test_help_names_every_command(call):
    code, out, _ = call("--help")
    assert code == 0
    for command in ("answer", "train", "evaluate", "make-student", "prune-heads", "average", "info"):
        assert command in out
    assert call("answer", "--help")[0] == 0


def test_version(call):
    assert call("--version")[:2] == (0, f"blockskim {__version__}\n")


@pytest.mark.parametrize("arguments", [(), ("nothing",), ("answer", "--nothing"), ("info", "extra")])
def test_usage_errors_exit_with_2(call, arguments):
    code, out, err = call(*arguments)
    assert code == 2
    assert out == ""
    assert "Usage" in err


def test_help_and_usage_errors_come_at_once():
    # An import of torch takes seconds even where these two take tenths of one.
    started = time.perf_counter()
    assert process("--help").returncode == 0
    assert process("answer").returncode == 2
    plain = time.perf_counter() - started
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import torch"], check=True)
    assert plain < 5 * (time.perf_counter() - started)


def raising(error):
    def command(*_arguments, **_options):
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (DataError("line one\n  line two"), 1, "error: line one line two\n"),
        (KeyboardInterrupt(), 130, "error: interrupted\n"),
        (PermissionError(13, "Permission denied", "/x"), 1, "error: /x: Permission denied\n"),
    ],
)
def test_errors_become_a_line(monkeypatch, capsys, error, code, message):
    monkeypatch.setattr(main, "app", raising(error))
    assert main.run([]) == code
    assert capsys.readouterr().err == message


@pytest.mark.parametrize("error", [ZeroDivisionError("mine"), OSError(5, "Input/output error")])
def test_unexpected_errors_keep_their_traceback(monkeypatch, error):
    monkeypatch.setattr(main, "app", raising(error))
    with pytest.raises(type(error)):
        main.run([])


def test_an_interrupt_inside_of_a_command(monkeypatch, call):
    monkeypatch.setattr("blockskim.cli.answer.read_documents", raising(KeyboardInterrupt()))
    code, _, err = call("answer", "-q", "Who?", "-f", "x")
    assert code == 130
    assert "interrupted" in err


def test_a_reader_that_goes_away_is_no_traceback(model, document):
    arguments = [sys.executable, "-m", "blockskim", "answer", "-q", "Who?", "-f", document, "--model", model]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        running.stdout.close()
        err = running.stderr.read().decode()
        running.stderr.close()
    assert "Traceback" not in err
    assert "BrokenPipe" not in err


def test_the_installed_command_answers(model, document):
    result = process("answer", "-q", "Who counted the nests?", "-f", document, "--model", model)
    assert result.returncode == 0, result.stderr.decode()
    assert b"Who counted the nests?" in result.stdout
    assert result.stderr == b""
