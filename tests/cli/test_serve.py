"""``blockskim serve`` as a process: it becomes ready, answers, loses nothing when it is told to stop, and says why not.

The shipped model answers, in ONNX Runtime; the tests need no PyTorch.
"""

import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest
from typer.main import get_command

from blockskim import QuestionAnswerer
from blockskim.cli.commands import app
from blockskim.cli.main import run
from blockskim.inference.shipped import shipped_model

for package in ("fastapi", "prometheus_client", "uvicorn"):
    pytest.importorskip(package)

SECONDS = 300
QUESTION = "Where does the red kite nest?"
TEXT = "The red kite nests in Wales. It eats worms, says the café in Cardiff! In 2024 there were 2,500 nests. "


class Service:
    """A service of its own process, with what it logs."""

    def __init__(self, *arguments, **environment):
        command = [sys.executable, "-m", "blockskim", "serve", "--port", "0", "--threads", "1"]
        command += ["--timeout", str(SECONDS), "--grace", str(SECONDS), *arguments]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment}
        )
        self.lines, self._waiting = [], queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stderr:
            self._waiting.put(line)
        self._waiting.put(None)

    def told(self, event):
        """The next line of the log about an event."""
        deadline = time.monotonic() + SECONDS
        while (line := self._waiting.get(timeout=max(0.1, deadline - time.monotonic()))) is not None:
            self.lines.append(line)
            found = json.loads(line)
            if found["event"] == event:
                return found
        raise AssertionError("".join(self.lines))

    def start(self):
        self.url = self.told("listening")["url"]
        return self.told("ready")

    def ask(self, text=TEXT, path="/", **more):
        """Status and JSON of an answer."""
        body = json.dumps({"inputs": {"question": QUESTION, "context": text}, **more}).encode()
        request = urllib.request.Request(self.url + path, body, {"content-type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=SECONDS) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def get(self, path):
        with urllib.request.urlopen(self.url + path, timeout=SECONDS) as response:
            return response.read().decode()

    def end(self, number=signal.SIGTERM):
        """Exit code and standard output, after a signal."""
        self.process.send_signal(number)
        code = self.process.wait(SECONDS)
        self._reader.join(10)
        out = self.process.stdout.read()
        self.process.stdout.close()
        self.process.stderr.close()
        return code, out


@pytest.fixture
def service():
    started = []

    def make(*arguments, **environment):
        started.append(Service(*arguments, **environment))
        return started[-1]

    yield make
    for each in started:
        if each.process.poll() is None:
            each.process.kill()
            each.process.wait(30)


@pytest.mark.slow
def test_it_answers_as_the_library_and_ends_without_losing_anything(service):
    served = service("--no-log-requests", BLOCKSKIM_MAX_PAIRS="2", BLOCKSKIM_SERVED_NAME="kite")
    ready = served.start()
    assert (ready["backend"], ready["dtype"]) == ("onnx", "float32")
    info = json.loads(served.get("/info"))
    assert (info["model"], info["limits"]["pairs"]) == ("kite", 2)
    assert "balanced" in info["points"]
    qa = QuestionAnswerer(str(shipped_model()), threads=1)
    status, answer = served.ask()
    assert (status, answer) == (200, qa(QUESTION, TEXT))
    assert served.ask(path="/models/kite", parameters={"point": "balanced"}) == (
        200,
        qa(QUESTION, TEXT, point="balanced"),
    )
    status, refused = served.ask(parameters={"point": "none"})
    assert status == 422 and "none" in refused["error"]
    metrics = served.get("/metrics")
    for name in ("batch_tokens_count", 'stage_seconds_count{stage="model"}', "context_tokens_dropped_total{layer="):
        assert f"blockskim_{name}" in metrics
    texts = [TEXT * (40 + number) for number in range(6)]
    with ThreadPoolExecutor(len(texts)) as pool:
        answers = [pool.submit(served.ask, text) for text in texts]
        while "blockskim_requests_waiting 6.0" not in served.get("/metrics"):
            if any(answer.done() for answer in answers):
                break
            time.sleep(0.01)
        code, out = served.end()
        assert (code, out) == (0, "")
        for text, answer in zip(texts, answers, strict=True):
            assert answer.result(SECONDS) == (200, qa(QUESTION, text))


@pytest.mark.slow
def test_a_worker_that_dies_is_replaced(service):
    served = service("--workers", "2")
    served.start()
    victim = served.told("worker ready")["pid"] if len(served.lines) < 3 else json.loads(served.lines[1])["pid"]
    os.kill(victim, signal.SIGKILL)
    served.told("worker lost")
    assert served.told("worker ready")["pid"] != victim
    assert served.ask()[0] == 200
    assert "blockskim_workers_lost_total 1.0" in served.get("/metrics")
    assert served.end(signal.SIGINT)[0] == 0


@pytest.mark.slow
def test_it_says_that_it_goes_before_it_does(service):
    served = service("--drain-delay", str(SECONDS))
    served.start()
    served.process.send_signal(signal.SIGTERM)
    assert served.told("draining")["seconds"] == SECONDS
    with pytest.raises(urllib.error.HTTPError, match="503"):
        served.get("/ready")
    assert served.ask()[0] == 200
    assert "blockskim_ready 0.0" in served.get("/metrics")
    host, port = served.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), 30) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nX-Long: " + b"x" * 65_536)
        assert connection.recv(65_536).startswith(b"HTTP/1.1 431 ")
    assert served.end()[0] == 0


@pytest.mark.slow
def test_a_model_that_is_not_there(service):
    served = service("--model", "./nothing-here")
    assert served.process.wait(SECONDS) == 1
    *_, last = served.process.stderr if served._reader.join(30) else list(served._waiting.queue)[:-1]
    assert last.startswith("error: ")
    assert "nothing-here" in last


def test_a_port_that_is_taken(capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert run(["serve", "--port", str(port)]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert f"127.0.0.1 port {port} can't be listened on" in told.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--port", "70000"], "--port"),
        (["--host", "no such host"], "can't be listened on"),
        (["--host", ""], "host is ''; it must be an address of this machine, or 0.0.0.0 for all of them"),
        (["--api-key", " "], "the key is empty"),
        (["--api-key", ""], "the key is empty"),
        (["--api-key", "secret\n"], "the key ends with white space"),
        (["--cors-origin", "https://example.org/"], "origin is 'https://example.org/'"),
        (["--keep-alive", "0"], "--keep-alive"),
        (["--drain-delay", "-1"], "--drain-delay"),
        (["--max-waiting", "0"], "--max-waiting"),
        (["--workers", "0"], "--workers"),
        (["--timeout", "nan"], "--timeout"),
        (["--timeout", "inf"], "no finite number"),
        (["--grace", "inf"], "no finite number"),
        (["--grace", "nan"], "--grace"),
    ],
)
def test_settings_that_are_impossible(capsys, arguments, told):
    assert run(["serve", *arguments]) == 2
    assert told in capsys.readouterr().err


def test_a_setting_of_the_environment_that_is_impossible(capsys, monkeypatch):
    monkeypatch.setenv("BLOCKSKIM_PORT", "x")
    assert run(["serve"]) == 2
    assert "--port" in capsys.readouterr().err


def test_every_option_may_stand_in_the_environment(capsys):
    assert run(["serve", "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for name in ("MODEL", "BACKEND", "POINT", "HOST", "PORT", "API_KEY", "MAX_BODY", "GRACE", "WORKERS", "LOG_TEXTS"):
        assert f"BLOCKSKIM_{name}" in shown


def test_the_variable_of_an_option_is_its_name():
    for option in get_command(app).commands["serve"].params:
        variable = option.envvar or f"BLOCKSKIM_{option.name.upper()}"
        named = {name.removeprefix("--").replace("-", "_").upper() for name in option.opts}
        assert option.name == "help" or variable.removeprefix("BLOCKSKIM_") in named


def test_what_is_not_installed_is_named(capsys, monkeypatch):
    monkeypatch.setattr("blockskim.extras.has", lambda package: package != "uvicorn")
    assert run(["serve"]) == 2
    assert "pip install 'blockskim[serve]'" in capsys.readouterr().err
