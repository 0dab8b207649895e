"""What HTTP asks of whatever answers, be it in this process or in others."""

from collections.abc import Mapping
from typing import Any, Protocol

from blockskim.serving.batch import BatchReport
from blockskim.serving.scheduler import JobReport
from blockskim.serving.tasks import Json


class Service(Protocol):
    """Answers tasks, for an event loop."""

    @property
    def ready(self) -> bool:
        """Whether a question would be answered at once."""

    @property
    def waiting(self) -> int:
        """Number of requests that are there and have no answer."""

    def describe(self) -> Json:
        """Which model answers, and on what."""

    def check_room(self) -> None:
        """See to it that another request may wait, before any work is put into it.

        Raises:
            Busy: as many requests as may wait are there.
        """

    async def ask(self, asked: Mapping[str, Any], seconds: float, request_id: str = "") -> Json:
        """Answer a task; to cancel it drops what waits of it.

        Args:
            asked: the task, as ``Engine.ask`` takes it.
            seconds: after which it is given up.
            request_id: under which the process that answers logs what goes wrong.

        Raises:
            BlockSkimError: something is wrong with the request, or with the model.
            Refusal: it can't be answered now.
        """


class Observer(Protocol):
    """Is told what goes on, on any thread."""

    def batch_done(self, worker: int, report: BatchReport) -> None:
        """A worker ran a batch."""

    def request_done(self, worker: int, report: JobReport) -> None:
        """A worker answered a request, or it was given up."""

    def worker_lost(self, worker: int) -> None:
        """A worker ended by itself, or had to be ended."""
