"""Logs as lines of JSON on standard error, one an event. They hold no texts, unless that is asked for.

Then they have questions and what went wrong, in the words of errors; these may quote a part of a text.
"""

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


LONGEST_MESSAGE = 1_000
"""Characters of a message that are logged; it may quote a text of any length."""

MOST_CAUSES = 10


@dataclass(frozen=True, slots=True)
class LogSettings:
    """What is logged.

    Attributes:
        requests: every request, and not only what goes wrong.
        texts: questions, what is wrong with requests that are refused, messages of failures and of their causes, and
            warnings of documents in which nothing can be read, which name them.
        quiet: warnings and errors alone.
    """

    requests: bool = True
    texts: bool = False
    quiet: bool = False


class JsonLines(logging.Formatter):
    """A record as a line of JSON: time, level, event, and whatever the record was given in ``fields``.

    Of an error it has the type and the places in the code, and with ``texts`` its message and those of its causes.
    """

    def __init__(self, texts: bool = False) -> None:
        """Hold messages of errors, or not."""
        super().__init__()
        self._texts = texts

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
            if self._texts:
                line |= _messages(record.exc_info[1])
            line["traceback"] = [
                f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(record.exc_info[2])
            ]
        return json.dumps(line, ensure_ascii=True, default=str)


def _messages(error: BaseException) -> dict[str, Any]:
    """What an error says, and what each of those say that led to it, the nearest first."""
    causes: list[BaseException] = []
    cause = _cause(error)
    while cause is not None and cause not in causes and len(causes) < MOST_CAUSES:
        causes.append(cause)
        cause = _cause(cause)
    told = [f"{type(one).__name__}: {str(one)[:LONGEST_MESSAGE]}" for one in causes]
    return {"message": str(error)[:LONGEST_MESSAGE], **({"causes": told} if told else {})}


def _cause(error: BaseException) -> BaseException | None:
    """What led to an error, as a traceback would show it."""
    return error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def configure_logs(settings: LogSettings) -> None:
    """Send what this library and the server log to standard error, for this process."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines(settings.texts))
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
