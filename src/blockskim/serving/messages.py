"""What the processes of a service tell each other: lines of JSON, so that nothing that arrives is ever run."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from blockskim.errors import BlockSkimError, ConfigError, DataError, ModelError
from blockskim.serving.batch import BatchReport
from blockskim.serving.refusals import Busy, Lost, Refusal, Stopping, TimedOut
from blockskim.serving.scheduler import JobReport
from blockskim.serving.tasks import Json

_ERRORS: dict[str, type[BlockSkimError]] = {"config": ConfigError, "data": DataError, "model": ModelError}


class Failed(Exception):
    """A worker failed on a request in a way that nobody foresaw; its log has more."""


def to_bytes(message: Mapping[str, Any]) -> bytes:
    """A message as it is sent."""
    return json.dumps(message, separators=(",", ":")).encode("ascii")


def from_bytes(data: bytes) -> Json:
    """A message that was received."""
    message: Json = json.loads(data)
    return message


def error_message(error: BaseException) -> Json:
    """An error to tell of."""
    if isinstance(error, Busy):
        return {"kind": "busy", "message": str(error), "retry_after": error.retry_after}
    kinds = {TimedOut: "late", Stopping: "stopping", Lost: "lost", MemoryError: "memory"}
    for kind, one in _ERRORS.items():
        kinds[one] = kind
    kind = next((name for one, name in kinds.items() if isinstance(error, one)), "failed")
    if type(error).__name__ == "OutOfMemoryError":
        kind = "memory"
    return {"kind": kind, "message": str(error)}


def told_error(message: Mapping[str, Any], seconds: float = 0.0) -> BaseException:
    """The error that was told of.

    Args:
        message: what ``error_message`` made.
        seconds: that the request might take.
    """
    kind, text = message["kind"], message["message"]
    if kind in _ERRORS:
        return _ERRORS[kind](text)
    if kind == "busy":
        return Busy(0, message["retry_after"])
    refusals: dict[str, Refusal] = {"late": TimedOut(seconds), "stopping": Stopping(), "lost": Lost()}
    if kind in refusals:
        return refusals[kind]
    return MemoryError(text) if kind == "memory" else Failed(text)


def batch_message(report: BatchReport) -> Json:
    """A batch to tell of."""
    return {"batch": asdict(report)}


def told_batch(message: Mapping[str, Any]) -> BatchReport:
    """The batch that was told of; JSON has names of layers as strings."""
    values = dict(message)
    return BatchReport(**values | {"dropped": {int(layer): count for layer, count in values["dropped"].items()}})


def job_message(report: JobReport) -> Json:
    """Where the time of a request went, to tell of."""
    return {"job": asdict(report)}
