"""The check of cold models in ``benchmarks/``: what it counts, on a tiny model whose answers are taken for right."""

import importlib.util
import itertools
import json
import sys
from pathlib import Path

import pytest

from blockskim import QuestionAnswerer
from tiny_answerers import save_model

FILE = Path(__file__).parents[2] / "benchmarks" / "cold_threads.py"


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def cold_threads(directory, monkeypatch):
    spec = importlib.util.spec_from_file_location("cold_threads", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    alone = QuestionAnswerer(directory)
    found = [(question, text, alone(question, text)["answer"]) for question, text, _ in module.QUESTIONS]
    monkeypatch.setattr(module, "QUESTIONS", found)
    arguments = ["cold_threads", "--model", str(directory), "--bursts", "3", "--fresh", "1", "--threads", "4"]
    monkeypatch.setattr(sys, "argv", [*arguments, "--json"])
    return module


@pytest.mark.slow
def test_right_answers_are_counted(cold_threads, capsys):
    assert cold_threads.main() == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["bursts"], record["answers"], record["wrong"], record["errors"]) == (4, 16, 0, 0)
    assert record["details"] == {}


def test_wrong_answers_and_errors_are_told_of(cold_threads, capsys, monkeypatch):
    real, calls = QuestionAnswerer.__call__, itertools.count(1)

    def spoiled(self, question, text):
        number = next(calls)
        if number == 20:
            raise KeyError(1)
        found = real(self, question, text)
        return found | {"score": 0.5} if number > 22 else found

    monkeypatch.setattr(QuestionAnswerer, "__call__", spoiled)
    assert cold_threads.main() == 1
    record = json.loads(capsys.readouterr().out)
    # One thread alone asks eight times, and then come sixteen calls.
    assert (record["answers"], record["errors"], record["wrong"]) == (16, 1, 2)
    assert "error: KeyError: 1" in record["details"]
