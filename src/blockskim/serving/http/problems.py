"""From errors to statuses and one clear sentence; nothing of a traceback or a path leaves the server."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from blockskim.errors import BlockSkimError, ConfigError, DataError, ModelError
from blockskim.serving.http.schemas import MISPLACED, UNKNOWN
from blockskim.serving.messages import Failed
from blockskim.serving.pool import NotReady
from blockskim.serving.refusals import Busy, Lost, Refusal, Stopping, TimedOut


@dataclass(frozen=True, slots=True)
class Answerless:
    """What is answered where there is no answer.

    Attributes:
        status: of HTTP.
        kind: of problem, for programs and metrics.
        sentence: for people.
        headers: besides.
    """

    status: int
    kind: str
    sentence: str
    headers: dict[str, str] = field(default_factory=dict)


class TooMany(Exception):
    """A request has more pairs of a question and a text than it may."""


EXPECTED: tuple[type[Exception], ...] = (BlockSkimError, Refusal, TooMany, Failed, MemoryError)
"""What may be raised on the way of a request, short of a bug."""

OURS = "something went wrong in the service; its log has more under the id of this request"


def answerless(error: BaseException) -> Answerless:
    """What an error is answered with."""
    said = str(error)
    if isinstance(error, Busy):
        return Answerless(429, "busy", said, {"Retry-After": f"{error.retry_after:.0f}"})
    if isinstance(error, TooMany):
        return Answerless(413, "too_many_pairs", said)
    if isinstance(error, TimedOut):
        return Answerless(504, "timeout", said)
    if isinstance(error, Lost):
        # Balancers send elsewhere what gets 503, and what ended one process may end others.
        return Answerless(502, "worker_lost", said)
    if isinstance(error, Stopping | NotReady):
        kinds = {Stopping: "stopping", NotReady: "not_ready"}
        return Answerless(503, kinds[type(error)], said, {"Retry-After": "1"})
    if isinstance(error, MemoryError):
        return Answerless(503, "memory", "there is not enough memory for this request now; send less at once")
    if isinstance(error, ConfigError | DataError):
        return Answerless(422, "invalid", " ".join(said.split()))
    if isinstance(error, ModelError | Failed):
        return Answerless(500, "model", "the model failed on this request; the service's log has more under its id")
    return Answerless(500, "internal", OURS)


JSON = "application/json"

_FORMS = {"body", "one", "named", "list", "share", "amount"}
"""Parts of a place that are no names of a client's: the forms that something may have."""

_SHOULD = re.compile(r"^(?:Input|String|List|Dictionary) should")

_IS_JSON = re.compile(r"application/([^\s;]*\+)?json", re.IGNORECASE)
"""Kinds of bodies that the framework reads as JSON."""

_OWN = {MISPLACED, UNKNOWN}
"""Faults that the forms themselves tell of, in words that fit behind a place."""

_WANTED = {
    "model_attributes_type": "must be an object",
    "model_type": "must be an object",
    "dict_type": "must be an object",
    "missing": "is missing",
    "extra_forbidden": "is unknown",
}


def validation_sentence(errors: Sequence[Any], content_type: str = JSON) -> tuple[int, str]:
    """Status and sentence for a body that is not as the schema has it; of several faults the first is told.

    Args:
        errors: as pydantic tells them.
        content_type: that the body came with.
    """
    first = errors[0]
    if tuple(first["loc"]) == ("body",) and not _IS_JSON.fullmatch(content_type.partition(";")[0].strip()):
        return 415, f"the body must be sent with the header Content-Type: {JSON}"
    if first["type"] == "json_invalid":
        return 400, f"the body is not valid JSON: {first.get('ctx', {}).get('error', 'it can not be read')}"
    place = ""
    for part in first["loc"]:
        if isinstance(part, int):
            place += f"[{part}]" if place else ""
        elif part not in _FORMS:
            place += f".{part}" if place else part
    message = first["msg"]
    wanted = message if first["type"] in _OWN else _WANTED.get(first["type"], "")
    if not wanted:
        wanted, said = _SHOULD.subn("must", message)
        wanted = wanted if said else f"is wrong: {message}"
    # Names are the client's, and may be of anything.
    return 422, " ".join(f"{place[:200] or 'the body'} {wanted[:300]}".split())


def http_sentence(status: int, detail: str, method: str) -> str:
    """The sentence for what the framework refuses by itself."""
    if status == 404 and detail == "Not Found":
        return "there is no such route; /openapi.json lists them"
    if status == 405:
        return f"this route does not take {method[:20]}"
    if status == 400:
        return "the body can not be read as JSON"
    return detail
