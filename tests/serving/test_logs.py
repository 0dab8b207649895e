"""What is logged, and what is not."""

import json
import logging

import pytest

from blockskim.serving.logs import LIFE, REQUESTS, LogSettings, configure_logs

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
