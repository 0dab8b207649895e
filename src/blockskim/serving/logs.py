"""Logs as lines of JSON on standard error, one an event. They never hold texts; questions if that is asked for."""

import json
import logging
import time
import traceback
from dataclasses import dataclass
from typing import Any

REQUESTS = logging.getLogger("blockskim.serving.requests")
"""One record a request."""

LIFE = logging.getLogger("blockskim.serving.life")
"""Of the service itself: starts, stops, workers that were lost."""


@dataclass(frozen=True, slots=True)
class LogSettings:
    """What is logged.

    Attributes:
        requests: every request, and not only what goes wrong.
        texts: questions, and warnings of documents in which nothing can be read, which name them.
        quiet: warnings and errors alone.
    """

    requests: bool = True
    texts: bool = False
    quiet: bool = False


class JsonLines(logging.Formatter):
    """A record as a line of JSON: time, level, event, and whatever the record was given in ``fields``."""

    def format(self, record: logging.LogRecord) -> str:
        """Make the line."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {
            "time": f"{moment}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info and record.exc_info[1] is not None:
            line["error"] = type(record.exc_info[1]).__name__
            # The message of an error may quote a text.
            line["traceback"] = [
                f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(record.exc_info[2])
            ]
        return json.dumps(line, ensure_ascii=True, default=str)


def configure_logs(settings: LogSettings) -> None:
    """Send what this library and the server log to standard error, for this process."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    ours = logging.getLogger("blockskim")
    ours.handlers = []
    ours.propagate = True
    ours.setLevel(logging.WARNING if settings.quiet else logging.INFO)
    REQUESTS.setLevel(logging.INFO if settings.requests and not settings.quiet else logging.WARNING)
    # They tell of texts, by the names that clients gave them.
    logging.getLogger("blockskim.answering").setLevel(logging.WARNING if settings.texts else logging.ERROR)
    for name in ("uvicorn.error", "uvicorn.access", "asyncio"):
        logging.getLogger(name).handlers = []
        logging.getLogger(name).propagate = True
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("uvicorn.access").setLevel(logging.CRITICAL)
