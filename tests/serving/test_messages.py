"""What processes tell each other arrives as it was sent."""

import json

import pytest

from blockskim.errors import ConfigError, DataError, ModelError
from blockskim.serving.batch import BatchReport
from blockskim.serving.messages import (
    Failed,
    batch_message,
    error_message,
    from_bytes,
    job_message,
    to_bytes,
    told_batch,
    told_error,
)
from blockskim.serving.refusals import Busy, Lost, Stopping, TimedOut
from blockskim.serving.scheduler import JobReport


class OutOfMemoryError(RuntimeError):
    """As PyTorch calls its own."""


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ConfigError("top_k is 0"), ConfigError),
        (DataError("the question is empty: \ud800"), DataError),
        (ModelError("no numbers"), ModelError),
        (Busy(7, 3.0), Busy),
        (TimedOut(0.5), TimedOut),
        (Stopping(), Stopping),
        (Lost(), Lost),
        (MemoryError("much"), MemoryError),
        (OutOfMemoryError("much"), MemoryError),
        (ValueError("what"), Failed),
    ],
)
def test_errors(error, kind):
    told = told_error(from_bytes(to_bytes(error_message(error))))
    assert type(told) is kind
    assert str(told) == str(error)
    assert getattr(told, "retry_after", None) == getattr(error, "retry_after", None)


def test_reports():
    batch = BatchReport(3, 500, 2, 0.25, {1: 7, 2: 0}, 90)
    assert told_batch(from_bytes(to_bytes(batch_message(batch)))["batch"]) == batch
    job = JobReport(0.1, 0.2, 0.3, 0.4)
    assert JobReport(**from_bytes(to_bytes(job_message(job)))["job"]) == job


def test_a_message_is_plain_json_whatever_it_holds():
    message = {"text": "half a pair \ud800 and 🪁", "number": 1.5, "list": [None, True]}
    assert json.loads(to_bytes(message)) == message == from_bytes(to_bytes(message))
    assert b"\n" not in to_bytes({"text": "a\nb"})
