"""Models and texts for the command line, and a way to run it without a process."""

import json
import logging
import os

import pytest

from blockskim.cli.main import run
from blockskim.cli.progress import PlainLines
from tiny_answerers import TEXT, save_model, save_plain


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """A Block-Skim model directory."""
    return str(save_model(tmp_path_factory.mktemp("model")))


@pytest.fixture(scope="session")
def pointed(tmp_path_factory):
    """Directory of a Block-Skim model with operating points."""
    points = {"exact": 0.0, "fast": [0.6, 0.7]}
    return str(save_model(tmp_path_factory.mktemp("pointed"), points=points))


@pytest.fixture(scope="session")
def confident(tmp_path_factory):
    """Directory of a Block-Skim model whose confidence was calibrated; it says "no answer" to all."""
    directory = save_model(tmp_path_factory.mktemp("confident"))
    path = directory / "config.json"
    weights = {"right": [0.0, 0.5, 0.0, 0.5], "none": [9.0, -0.1, 0.0, 0.0], "no_answer_threshold": 0.5}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"confidence": weights}))
    return str(directory)


@pytest.fixture(scope="session")
def plain(tmp_path_factory):
    """Directory of a plain QA checkpoint."""
    return str(save_plain(tmp_path_factory.mktemp("plain")))


@pytest.fixture
def document(tmp_path):
    """A text file."""
    path = tmp_path / "text.txt"
    path.write_text(TEXT, encoding="utf-8")
    return str(path)


@pytest.fixture(autouse=True)
def as_found(monkeypatch):
    """Leave logging and the environment as they were."""
    # `serve` has levels of its own for some parts, and a handler for all.
    loggers = [
        logging.getLogger(name) for name in ("", "blockskim", "blockskim.answering", "blockskim.serving.requests")
    ]
    found = [(logger, logger.handlers, logger.level, logger.propagate) for logger in loggers]
    environment = dict(os.environ)
    yield
    for logger, handlers, level, propagate in found:
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)
    for name in set(os.environ) - set(environment):
        del os.environ[name]


@pytest.fixture(autouse=True)
def lines(monkeypatch):
    """Lines about long runs, which go here and not to standard error, so that tests see what else is there."""
    written = []
    monkeypatch.setattr(PlainLines, "print", lambda _, line: written.append(line))
    return written


@pytest.fixture
def call(capsys):
    """Runs a command: (exit code, standard output, standard error)."""

    def invoke(*arguments):
        code = run([str(argument) for argument in arguments])
        output = capsys.readouterr()
        return code, output.out, output.err

    return invoke
