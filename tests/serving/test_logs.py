"""What is logged, and what is not."""

import json
import logging

import pytest

from blockskim.serving.logs import LIFE, LONGEST_MESSAGE, MOST_CAUSES, REQUESTS, LogSettings, configure_logs

NAMES = ("", "blockskim", "blockskim.answering", REQUESTS.name, "uvicorn.error", "uvicorn.access", "asyncio")


@pytest.fixture(autouse=True)
def as_found():
    """Leave logging as it was."""
    loggers = [logging.getLogger(name) for name in NAMES]
    found = [(logger, logger.handlers, logger.level, logger.propagate) for logger in loggers]
    yield
    for logger, handlers, level, propagate in found:
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)


@pytest.mark.parametrize(
    ("settings", "events"),
    [
        (LogSettings(), ["listening", "request", "worker lost"]),
        (LogSettings(requests=False), ["listening", "worker lost"]),
        (LogSettings(quiet=True), ["worker lost"]),
    ],
)
def test_what_is_logged_is_chosen(capsys, settings, events):
    configure_logs(settings)
    LIFE.info("listening")
    REQUESTS.info("request")
    LIFE.error("worker lost")
    assert [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()] == events


def failure():
    """Told of as it comes from a model: what failed, why, and what was in the way of that."""
    try:
        try:
            raise OSError("the kite is gone")
        except OSError as error:
            raise RuntimeError("no kite") from error
    except RuntimeError:
        try:
            raise ValueError("nothing to see")
        except ValueError as error:
            return error


@pytest.mark.parametrize("texts", [False, True])
def test_what_an_error_says_is_logged_with_texts_alone(capsys, texts):
    configure_logs(LogSettings(texts=texts))
    LIFE.error("a request failed", exc_info=failure())
    line = json.loads(capsys.readouterr().err)
    assert line["error"] == "ValueError"
    assert any("failure" in place for place in line["traceback"])
    told = {"message": "nothing to see", "causes": ["RuntimeError: no kite", "OSError: the kite is gone"]}
    assert {name: line[name] for name in told if name in line} == (told if texts else {})
    assert texts or "kite" not in json.dumps(line)


def test_messages_and_causes_have_an_end(capsys):
    configure_logs(LogSettings(texts=True))
    first = last = RuntimeError("x" * 5_000)
    for number in range(50):
        last.__cause__ = RuntimeError(f"{number}" + "x" * 5_000)
        last = last.__cause__
    LIFE.error("a request failed", exc_info=first)
    last.__cause__ = first
    LIFE.error("a request failed", exc_info=last)
    line, other = map(json.loads, capsys.readouterr().err.splitlines())
    assert (line["message"], len(line["causes"])) == ("x" * LONGEST_MESSAGE, MOST_CAUSES)
    assert all(len(each) < LONGEST_MESSAGE + 100 for each in [*line["causes"], *other["causes"]])


def test_what_was_raised_in_place_of_another_error_hides_it(capsys):
    configure_logs(LogSettings(texts=True))
    try:
        try:
            raise OSError("hidden")
        except OSError:
            raise ValueError("shown") from None
    except ValueError as error:
        LIFE.error("a request failed", exc_info=error)
    line = json.loads(capsys.readouterr().err)
    assert (line["message"], "causes" in line) == ("shown", False)
