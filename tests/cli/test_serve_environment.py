"""What of the environment can't be a setting of the service."""

import json

import pytest

from blockskim.cli.main import run

for package in ("fastapi", "httptools", "prometheus_client", "uvicorn"):
    pytest.importorskip(package)


@pytest.fixture
def served(monkeypatch):
    """Keeps what would be served."""
    calls = []
    monkeypatch.setattr("blockskim.serving.http.serve.serve", lambda *given: calls.append(given))
    return calls


@pytest.mark.parametrize("value", ["", " ", "\n"])
def test_a_key_that_is_there_and_blank_opens_nothing(monkeypatch, capsys, served, value):
    monkeypatch.setenv("BLOCKSKIM_API_KEY", value)
    assert run(["serve"]) == 2
    assert "the key is empty" in capsys.readouterr().err
    assert served == []


@pytest.mark.parametrize("variable", [None, "", "other"])
def test_a_key_of_the_command_line_comes_first(monkeypatch, served, variable):
    if variable is not None:
        monkeypatch.setenv("BLOCKSKIM_API_KEY", variable)
    assert run(["serve", "--api-key", "secret"]) == 0
    assert served[0][2].api_key == "secret"


def test_without_a_variable_there_is_no_key(monkeypatch, served):
    monkeypatch.delenv("BLOCKSKIM_API_KEY", raising=False)
    assert run(["serve"]) == 0
    assert served[0][2].api_key is None


@pytest.mark.parametrize(("arguments", "port"), [([], 8080), (["--port", "9"], 9)])
def test_where_kubernetes_says_a_service_is_stands_for_no_port(monkeypatch, capsys, served, arguments, port):
    monkeypatch.setenv("BLOCKSKIM_PORT", "tcp://10.0.171.239:8080")
    assert run(["serve", *arguments]) == 0
    assert served[0][5] == port
    (line,) = capsys.readouterr().err.splitlines()
    told = json.loads(line)
    assert (told["level"], told["event"], told["port"]) == ("warning", "variable ignored", port)
    assert (told["variable"], told["value"]) == ("BLOCKSKIM_PORT", "tcp://10.0.171.239:8080")


@pytest.mark.parametrize("value", ["tcp", "tcp://10.0.171.239", "http://10.0.171.239:8080", "8080 9090"])
def test_another_port_that_is_none_is_refused(monkeypatch, capsys, served, value):
    monkeypatch.setenv("BLOCKSKIM_PORT", value)
    assert run(["serve"]) == 2
    assert "--port" in capsys.readouterr().err
    assert served == []


def test_a_link_on_the_command_line_is_no_port(capsys, served):
    assert run(["serve", "--port", "tcp://10.0.171.239:8080"]) == 2
    assert "--port" in capsys.readouterr().err


def test_options_of_the_end_and_of_connections_reach_the_service(monkeypatch, served):
    monkeypatch.setenv("BLOCKSKIM_DRAIN_DELAY", "12.5")
    assert run(["serve", "--keep-alive", "650", "--grace", "7"]) == 0
    assert served[0][7:] == (7.0, 12.5, 650)
