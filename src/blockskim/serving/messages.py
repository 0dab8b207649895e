"""What the processes of a service tell each other: lines of JSON, so that nothing that arrives is ever run."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from blockskim.errors import ConfigError, DataError, ModelError
from blockskim.serving.batch import BatchReport
from blockskim.serving.refusals import Busy, Lost, Refusal, Stopping, TimedOut
from blockskim.serving.scheduler import JobReport
from blockskim.serving.tasks import Json

_ERRORS: dict[str, type[Exception]] = {"config": ConfigError, "data": DataError, "model": ModelError}
_REFUSALS: dict[str, type[Refusal]] = {"busy": Busy, "late": TimedOut, "stopping": Stopping, "lost": Lost}


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
    told: Json = {"kind": _kind(error), "message": str(error)}
    if isinstance(error, Busy):
        told |= {"waiting": error.waiting, "retry_after": error.retry_after}
    if isinstance(error, TimedOut):
        told |= {"seconds": error.seconds}
    return told


def _kind(error: BaseException) -> str:
    # A GPU that has no memory left raises an error of PyTorch's own, which need not be imported here.
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return "memory"
    return next((kind for kind, one in (_ERRORS | _REFUSALS).items() if isinstance(error, one)), "failed")


def told_error(message: Mapping[str, Any]) -> Exception:
    """The error that was told of.

    Args:
        message: what ``error_message`` made.
    """
    kind, text = message["kind"], message["message"]
    if kind == "busy":
        return Busy(message["waiting"], message["retry_after"])
    if kind == "late":
        return TimedOut(message["seconds"])
    if kind == "stopping":
        return Stopping()
    if kind == "lost":
        return Lost()
    if kind == "memory":
        return MemoryError(text)
    return _ERRORS[kind](text) if kind in _ERRORS else Failed(text)


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
