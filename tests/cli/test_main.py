import errno
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

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
    for command in (
        "answer",
        "highlight",
        "prune",
        "rank",
        "train",
        "evaluate",
        "make-student",
        "prune-heads",
        "average",
        "export",
        "calibrate-confidence",
        "calibrate-evidence",
        "bulk",
        "serve",
        "info",
    ):
        assert command in out
    assert call("answer", "--help")[0] == 0
    code, out, _ = call("bulk", "--help")
    assert code == 0
    for job in ("answer", "highlight", "prune"):
        assert f"  {job} " in out


def test_version(call):
    assert call("--version")[:2] == (0, f"blockskim {__version__}\n")


@pytest.mark.parametrize("arguments", [(), ("bulk",), ("nothing",), ("answer", "--nothing"), ("info", "extra")])
def test_usage_errors_exit_with_2(call, arguments):
    code, out, err = call(*arguments)
    assert code == 2
    assert out == ""
    assert "Usage" in err


@pytest.mark.slow
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
        (OSError(errno.ENOSPC, "No space left", "/x"), 1, "error: /x: No space left\n"),
        *((OSError(number, "Disk"), 1, "error: Disk\n") for number in (errno.ENOSPC, errno.EDQUOT, errno.EIO)),
    ],
)
def test_errors_become_a_line(monkeypatch, capsys, error, code, message):
    monkeypatch.setattr(main, "app", raising(error))
    assert main.run([]) == code
    assert capsys.readouterr().err == message


@pytest.mark.parametrize("error", [ZeroDivisionError("mine"), OSError(errno.ENOTCONN, "not connected")])
def test_unexpected_errors_keep_their_traceback(monkeypatch, error):
    monkeypatch.setattr(main, "app", raising(error))
    with pytest.raises(type(error)):
        main.run([])


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 4398046510080 bytes."),
        type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory."),
    ],
)
def test_a_lack_of_memory_is_a_line(monkeypatch, capsys, error):
    monkeypatch.setattr(main, "app", raising(error))
    assert main.run([]) == 1
    assert capsys.readouterr().err.startswith("error: there is not enough memory; smaller batches")


def test_memory_that_the_machine_lacks_is_told_of(call):
    shape = ("benchmark", "--shape", "bert-mini", "--keep", "1:0.5", "--quiet")
    for more in (("--length", 4 * 10**9), ("--length", 64, "--batch-size", 4 * 10**9)):
        code, out, err = call(*shape, *more)
        assert (code, out) == (1, "")
        assert err.startswith("error: there is not enough memory") and err.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "told"),
    [(OSError(errno.ENOSPC, "No space left"), False), (OSError(errno.EACCES, "No"), True), (KeyError(1), True)],
)
def test_a_full_disk_is_no_traceback_of_a_thread(monkeypatch, capsys, error, told):
    monkeypatch.setattr(threading, "excepthook", main.tell_of_thread)
    thread = threading.Thread(target=raising(error))
    thread.start()
    thread.join()
    assert ("Traceback" in capsys.readouterr().err) == told


def test_messages_are_cut_to_a_readable_length(monkeypatch, capsys):
    monkeypatch.setattr(main, "app", raising(DataError("x" * 100_000)))
    assert main.run([]) == 1
    assert capsys.readouterr().err == f"error: {'x' * main.LONGEST_LINE}…\n"


def test_an_interrupt_inside_of_a_command(monkeypatch, call):
    monkeypatch.setattr("blockskim.cli.answer.read_documents", raising(KeyboardInterrupt()))
    code, _, err = call("answer", "-q", "Who?", "-f", "x")
    assert code == 130
    assert "interrupted" in err


@pytest.mark.slow
def test_a_reader_that_goes_away_is_no_traceback(model, document):
    arguments = [sys.executable, "-m", "blockskim", "answer", "-q", "Who?", "-f", document, "--model", model]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        running.stdout.close()
        err = running.stderr.read().decode()
        running.stderr.close()
    assert "Traceback" not in err
    assert "BrokenPipe" not in err


@pytest.mark.slow
def test_the_installed_command_answers(model, document):
    result = process("answer", "-q", "Who counted the nests?", "-f", document, "--model", model)
    assert result.returncode == 0, result.stderr.decode()
    assert b"Who counted the nests?" in result.stdout
    assert result.stderr == b""


IN_THE_FIRST_MOMENTS = """
import os, signal, sys
from importlib.abc import MetaPathFinder

class Interrupt(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "typer":
            os.kill(os.getpid(), signal.SIGINT)
            for _ in range(1000000): pass

sys.meta_path.insert(0, Interrupt())
sys.argv = ["blockskim", "--version"]
from blockskim.cli.main import main
main()
"""


def test_an_interrupt_while_commands_are_imported_is_no_traceback():
    # Whoever runs the tests in the background may have interrupts ignored.
    result = subprocess.run(
        [sys.executable, "-c", IN_THE_FIRST_MOMENTS],
        capture_output=True,
        timeout=60,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert (result.returncode, result.stdout, result.stderr) == (130, b"", b"error: interrupted\n")


def closing(*numbers):
    """What closes standard files of a process before it starts."""
    return lambda: [os.close(number) for number in numbers]


@pytest.mark.parametrize(
    ("closed", "arguments", "code", "message"),
    [
        ((0,), ("answer", "-q", "Who?", "-"), 1, b"error: standard input is closed"),
        ((1,), ("--version",), 1, b"error: standard output is closed; what was printed is lost\n"),
        ((2,), ("--version",), 0, b""),
        ((2,), ("answer", "-q", "Who?", "-f", "nowhere"), 1, b""),
        ((0, 1, 2), ("--version",), 1, b""),
    ],
)
def test_closed_streams(closed, arguments, code, message):
    result = process(*arguments, preexec_fn=closing(*closed))
    assert result.returncode == code
    assert result.stderr.startswith(message)
    assert result.stderr.count(b"\n") == (1 if message else 0)


def test_input_that_can_not_be_read_is_told_of(call, monkeypatch):
    class Broken:
        buffer = SimpleNamespace(read=raising(OSError(errno.EISDIR, "Is a directory")))

    monkeypatch.setattr(sys, "stdin", Broken)
    code, _, err = call("answer", "-q", "Who?", "-")
    assert (code, err) == (1, "error: standard input: can't be read: Is a directory\n")


FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="no /dev/full")


@needs_full
@pytest.mark.parametrize("more", [(), ("--json",)])
def test_standard_output_that_is_full(model, capsys, monkeypatch, more):
    with FULL.open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert main.run(["info", "--model", model, *more]) == 1
    assert capsys.readouterr().err == "error: standard output: No space left on device\n"


@needs_full
def test_an_error_that_can_not_be_written_is_no_traceback():
    with FULL.open("wb") as full:
        arguments = [sys.executable, "-m", "blockskim", "answer", "-q", "x", "-f", "none"]
        assert subprocess.run(arguments, stderr=full, timeout=60).returncode == 1


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (("--threads", 10**22), "1024"),
        (("--limit", 10**22), f"{10**22} is too large; it must be at most 4294967295"),
        (("--batch-size", 10**22), "too large"),
        (("--threshold", "nan"), "--threshold"),
        (("--max-length", 2**32), "--max-length"),
    ],
)
def test_numbers_that_are_too_large_or_none(call, tmp_path, option, message):
    code, out, err = call("evaluate", "--data", tmp_path / "none", *option)
    assert (code, out) == (2, "")
    assert message in " ".join(err.split())
