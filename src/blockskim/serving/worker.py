"""A process that answers: it reads tasks from a pipe and writes results to it, until the pipe is closed."""

import logging
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import Any

from blockskim.errors import BlockSkimError
from blockskim.evidence.question_answerer import QuestionAnswerer
from blockskim.serving.engine import Engine, ModelSettings, fitting_capacity, load_answerer
from blockskim.serving.logs import LogSettings, configure_logs
from blockskim.serving.messages import batch_message, error_message, from_bytes, job_message, to_bytes
from blockskim.serving.refusals import Refusal
from blockskim.serving.scheduler import Capacity
from blockskim.serving.tasks import Json

logger = logging.getLogger(__name__)

SWITCH_SECONDS = 0.0005
"""How long a thread keeps the interpreter while another wants it. The model gives it up for every operation and gets it
back after so long, while a text is being tokenised; Python's own 5 ms would be a large part of a short question."""

OURS = frozenset({"failed", "model", "memory"})
"""Kinds of errors that are no fault of a request's."""

MOST_NOTED = 16
"""Reports that wait for a message to go along with; with so many, one is sent that has nothing else."""


def work(connection: Connection, settings: ModelSettings, capacity: Capacity, logs: LogSettings) -> None:
    """Answer what comes from a pipe, in a process of its own.

    Args:
        connection: both ways.
        settings: what to load.
        capacity: how much is done at once.
        logs: how to log.
    """
    # Whoever started this process is told to stop, and tells it.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    configure_logs(logs)
    sys.setswitchinterval(SWITCH_SECONDS)
    sender = _Sender(connection)
    try:
        answerer = load_answerer(settings)
    except BlockSkimError as error:
        sender.send({"unable": error_message(error)})
        return
    serve_answerer(connection, answerer, fitting_capacity(answerer, capacity, settings.choice.threads))


def serve_answerer(connection: Connection, answerer: QuestionAnswerer, capacity: Capacity) -> None:
    """Warm an answerer up and answer what comes from a pipe until it is closed, or the model fails on everything.

    Args:
        connection: both ways.
        answerer: with the model.
        capacity: how much is done at once.
    """
    sender = _Sender(connection)
    broken, tells_broken = Pipe(duplex=False)

    def end(event: str, error: BaseException) -> None:
        logger.error(event, exc_info=error)
        # It may have stopped in the meantime.
        with suppress(OSError):
            tells_broken.send_bytes(b"broken")

    engine = Engine(
        answerer,
        capacity,
        lambda report: sender.note(batch_message(report)),
        lambda report: sender.note(job_message(report)),
        lambda error: end("a thread that runs the model failed, so this worker ends", error),
    )
    try:
        engine.warm_up()
    except BlockSkimError as error:
        sender.send({"unable": error_message(error)})
        return
    sender.send({"ready": engine.describe()})
    grace = _serve(connection, sender, engine, broken, _checker(engine, end))
    if grace is None:
        # Whoever asks learns at once that this worker is gone, and that what it had is lost.
        sender.close()
        engine.close(0.0)
    else:
        sender.send({"stopped": engine.close(grace)})


class _Sender:
    """Writes messages of several threads to a pipe, whole.

    Reports go along with the next message: each message by itself would wake the process that reads them.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._noted: deque[Json] = deque()

    def note(self, report: Json) -> None:
        """Tell of something before long; a thread that runs the model need not wait while an answer is sent."""
        self._noted.append(report)
        if len(self._noted) >= MOST_NOTED:
            self.send({})

    def send(self, message: Mapping[str, Any]) -> None:
        """Tell of something now."""
        noted: list[Json] = []
        # Other threads take from it, too.
        with suppress(IndexError):
            while True:
                noted.append(self._noted.popleft())
        data = to_bytes({**message, "reports": noted} if noted else message)
        # Nobody is there any more to be told; the reading end finds out, too.
        with self._lock, suppress(OSError):
            self._connection.send_bytes(data)

    def close(self) -> None:
        """Close the pipe; what is told after this is told to nobody."""
        with self._lock:
            self._connection.close()


def _serve(
    connection: Connection, sender: _Sender, engine: Engine, broken: Connection, check: Callable[[], None]
) -> float | None:
    """Take tasks until there are no more, or until the model fails on everything.

    Args:
        connection: tasks come from it.
        sender: takes their results.
        engine: answers them.
        broken: something comes from it once this worker has to end.
        check: finds out whether the model still works.

    Returns:
        Seconds in which to finish what is there; None if nobody waits for it, or the model fails on everything.
    """
    futures: dict[int, Future[Json]] = {}

    def answered(number: int, request_id: str, future: "Future[Json]") -> None:
        futures.pop(number, None)
        if future.cancelled():
            return
        error = future.exception()
        if error is None:
            try:
                sender.send({"id": number, "result": future.result()})
                return
            except Exception as failure:
                # A future keeps to itself what is raised here, and somebody waits for an answer.
                error = failure
        told = error_message(error)
        if told["kind"] in OURS:
            logger.error("a request failed", exc_info=error, extra={"fields": {"id": request_id}})
        sender.send({"id": number, "error": told})
        # The pipe is closed if the model fails again, so the answer has to be sent before.
        if told["kind"] in OURS:
            check()

    while True:
        if broken in wait([connection, broken]):
            return None
        try:
            message = from_bytes(connection.recv_bytes())
        except (EOFError, OSError):
            # Whoever asked is gone.
            return None
        if "cancel" in message:
            left = futures.get(message["cancel"])
            if left is not None:
                left.cancel()
        elif "ping" in message:
            sender.send({"running": engine.scheduler.oldest_batch})
        elif "stop" in message:
            grace: float = message["stop"]
            return grace
        else:
            number, request_id = message["id"], message["request"]
            try:
                future = engine.ask(message["asked"], message["seconds"])
            except Exception as error:
                future = Future()
                future.set_exception(error)
            futures[number] = future
            future.add_done_callback(partial(answered, number, request_id))


def _checker(engine: Engine, end: Callable[[str, BaseException], None]) -> Callable[[], None]:
    """What finds out whether a model still answers the warm-up texts, beside everything else.

    A device can be broken for good, so that each request fails at once. Such a worker would be the least busy of all
    and be given nearly every request; it has to end, so that another takes its place.

    Args:
        engine: with the model.
        end: is told of the failure once the model fails on these texts as well, and ends the worker.

    Returns:
        What starts a check, unless one runs.
    """
    running = threading.Lock()

    def run() -> None:
        try:
            engine.warm_up()
        except Refusal:
            # That too much waits, or that the engine stops, says nothing of the model.
            pass
        except Exception as error:
            end("the model fails on the warm-up texts as well, so this worker ends", error)
        finally:
            running.release()

    def check() -> None:
        if running.acquire(blocking=False):
            threading.Thread(target=run, name="blockskim-check", daemon=True).start()

    return check
