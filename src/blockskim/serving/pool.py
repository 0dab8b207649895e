"""Worker processes behind an event loop: each request goes to the least busy one, and one that dies is replaced.

A worker that dies takes the requests with it that it worked on; each of them is answered with ``Lost``. Nothing is
asked twice, as what made one worker die might make another die. One that hangs is killed once it is clear that it does.
"""

import asyncio
import itertools
import multiprocessing
import threading
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from blockskim.serving.engine import ModelSettings
from blockskim.serving.logs import LIFE, LogSettings
from blockskim.serving.messages import from_bytes, to_bytes, told_batch, told_error
from blockskim.serving.outgoing import Outgoing
from blockskim.serving.pulse import SECONDS, Pulse
from blockskim.serving.refusals import Busy, Lost, Refusal, Stopping, TimedOut
from blockskim.serving.scheduler import Capacity, JobReport
from blockskim.serving.service import Observer
from blockskim.serving.tasks import Json, characters_asked
from blockskim.serving.worker import work

LONGEST_PAUSE = 30.0
"""Seconds between two tries to replace a worker that dies again and again; the first try comes at once."""

SECONDS_TO_END = 5.0
"""For a process that speaks no more, or was killed."""

SECONDS_TO_STOP = 10.0
"""For all workers together to end by themselves, once they have been told to."""


class NotReady(Refusal):
    """No worker is ready yet."""

    def __init__(self) -> None:
        """Say so."""
        super().__init__("the model is not ready yet; try again in a few seconds")


@dataclass(eq=False)
class _Worker:
    """A worker process, seen from the event loop.

    Only the thread that reads from it waits for the process: of two threads that wait for the same one, the slower is
    told that it still runs.
    """

    number: int
    process: BaseProcess
    connection: Connection
    pulse: Pulse
    gone: threading.Event = field(default_factory=threading.Event)
    outgoing: Outgoing = field(default_factory=Outgoing)
    pending: dict[int, "asyncio.Future[Json]"] = field(default_factory=dict)
    ready: bool = False
    stopping: bool = False
    size: dict[int, int] = field(default_factory=dict)
    untold: list[float] = field(default_factory=list)  # waits of what was cancelled there since it answered last

    @property
    def load(self) -> tuple[bool, int]:
        """Whether it seems to hang, and characters of the requests that it works on, each with something for itself."""
        return not self.pulse.well, sum(self.size.values()) + 1_000 * len(self.size)


class WorkerPool:
    """A ``Service`` whose answers come from worker processes. All of it belongs to one event loop."""

    def __init__(
        self,
        settings: ModelSettings,
        capacity: Capacity,
        logs: LogSettings,
        count: int,
        observer: Observer,
        target: Callable[[Connection, ModelSettings, Capacity, LogSettings], None] = work,
        timeout: float = 30.0,
    ) -> None:
        """Prepare; ``start`` starts the processes.

        Args:
            settings: what each worker loads.
            capacity: of each worker; ``waiting`` of all together.
            logs: how workers log.
            count: number of workers.
            observer: told what goes on.
            target: what a worker process does.
            timeout: seconds that a request may take; a worker that hangs for several times as long is replaced.
        """
        self._work = (settings, capacity, logs)
        self._capacity = capacity
        self._count = count
        self._target = target
        self._timeout = timeout
        self._observer = observer
        self._workers: dict[int, _Worker] = {}
        self._numbers = itertools.count(1)
        self._description: Json = {}
        self._stopping = False
        self._draining = False
        self._unable: Exception | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._failures: dict[int, int] = {}
        self._pace = 0.0
        self._last_answer = 0.0

    @property
    def ready(self) -> bool:
        """Whether a worker is ready and seems to be well, and none of this is about to stop."""
        stopping = self._stopping or self._draining
        return not stopping and any(worker.ready and worker.pulse.well for worker in self._workers.values())

    @property
    def waiting(self) -> int:
        """Number of requests that are there and have no answer."""
        return sum(len(worker.pending) for worker in self._workers.values())

    @property
    def processes(self) -> list[int]:
        """Process ids of the workers that are ready."""
        return [worker.process.pid for worker in self._workers.values() if worker.ready and worker.process.pid]

    def describe(self) -> Json:
        """Which model answers, and on what; empty before the first worker is ready."""
        return self._description

    async def start(self) -> None:
        """Start all workers and wait until one of them is ready.

        Raises:
            BlockSkimError: the model can't be loaded.
        """
        for slot in range(self._count):
            self._spawn(slot)
        self._keep(self._watch())
        while not self.ready:
            if self._unable is not None:
                raise self._unable
            await asyncio.sleep(0.02)

    def check_room(self) -> None:
        """See to it that another request may wait; see ``Service``."""
        if self.waiting >= self._capacity.waiting:
            raise Busy(self.waiting, min(60.0, max(1.0, round(self._pace * self.waiting / 2))))

    async def ask(self, asked: Mapping[str, Any], seconds: float, request_id: str = "") -> Json:
        """Answer a task; see ``Service``."""
        if self._stopping:
            raise Stopping
        self.check_room()
        ready = [worker for worker in self._workers.values() if worker.ready and not worker.stopping]
        if not ready:
            raise NotReady
        worker, number, began = min(ready, key=lambda one: one.load), next(self._numbers), time.monotonic()
        future: asyncio.Future[Json] = asyncio.get_running_loop().create_future()
        size = characters_asked(asked)
        worker.pending[number], worker.size[number] = future, size
        message = {"id": number, "asked": asked, "seconds": seconds, "request": request_id}
        worker.outgoing.put_request(number, message)
        try:
            return await asyncio.wait_for(future, seconds)
        except TimeoutError:
            raise TimedOut(seconds) from None
        finally:
            if worker.pending.pop(number, None) is not None:
                self._give_up(worker, number, time.monotonic() - began)
            worker.size.pop(number, None)

    def _give_up(self, worker: _Worker, number: int, waited: float) -> None:
        """Nobody waits for a request any more; see to it that its wait is told of."""
        if worker.outgoing.drop(number):
            self._observer.request_done(worker.number, JobReport(waited))
        else:
            # The worker tells of it, unless it hangs.
            worker.outgoing.put_first({"cancel": number})
            worker.untold.append(waited)

    def drain(self) -> None:
        """Say that none of this is ready any more, and go on answering."""
        self._draining = True

    async def stop(self, grace: float) -> bool:
        """Finish what is there and end all workers.

        Those that still load have nothing to finish, and hear nothing before they are done; they are killed.

        Returns:
            Whether everything was finished within ``grace`` seconds.
        """
        self._stopping = True
        for task in self._tasks:
            task.cancel()
        until = time.monotonic() + grace
        while self.waiting and time.monotonic() < until:
            await asyncio.sleep(0.02)
        finished = not self.waiting
        workers = list(self._workers.values())
        for worker in workers:
            worker.stopping = True
            if worker.ready:
                worker.outgoing.put_first({"stop": max(0.0, until - time.monotonic())})
            else:
                _kill(worker)
        await asyncio.to_thread(_wait_for, workers, SECONDS_TO_STOP)
        self.kill()
        return finished

    def kill(self) -> None:
        """End whatever workers are there, at once."""
        self._stopping = True
        workers = list(self._workers.values())
        for worker in workers:
            _kill(worker)
        _wait_for(workers, SECONDS_TO_END)

    def _spawn(self, slot: int) -> None:
        """Start a worker in a slot, and the threads that talk with it."""
        context, name = multiprocessing.get_context("spawn"), f"blockskim-worker-{slot}"
        ours, theirs = context.Pipe()
        process = context.Process(target=self._target, args=(theirs, *self._work), name=name, daemon=True)
        worker, loop = _Worker(slot, process, ours, Pulse(self._timeout)), asyncio.get_running_loop()
        try:
            with closing(theirs):
                process.start()
            for target in (self._read, self._write):
                threading.Thread(target=target, args=(worker, loop), name=name, daemon=True).start()
        except (OSError, RuntimeError):
            # A thread that listens already must not call it lost.
            worker.stopping = True
            if process.pid is not None:
                process.kill()
            ours.close()
            raise
        self._workers[slot] = worker

    def _read(self, worker: _Worker, loop: asyncio.AbstractEventLoop) -> None:
        """Hand what a worker tells to the event loop, until it ends."""

        def on_loop(call: Callable[..., None], *values: Any) -> None:
            # The loop may have ended before the worker.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(call, *values)

        try:
            while True:
                message = from_bytes(worker.connection.recv_bytes())
                for report in message.pop("reports", ()):
                    if "batch" in report:
                        self._observer.batch_done(worker.number, told_batch(report["batch"]))
                    else:
                        self._observer.request_done(worker.number, JobReport(**report["job"]))
                if message:
                    on_loop(self._told, worker, message)
        except (EOFError, OSError):
            pass
        except Exception as error:
            # Too little memory for an answer, say: nobody may wait for a worker that is heard no more.
            _give_worker_up(worker, error)
        # The process may take a while to end, and answers nothing more.
        on_loop(setattr, worker, "ready", False)
        worker.process.join(SECONDS_TO_END)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()
        worker.gone.set()
        worker.outgoing.put_first(None)
        on_loop(self._ended, worker)

    def _write(self, worker: _Worker, _loop: asyncio.AbstractEventLoop) -> None:
        """Send what there is to send: a pipe that is full must not hold up the event loop."""
        while (message := worker.outgoing.get()) is not None:
            try:
                worker.connection.send_bytes(to_bytes(message))
            except OSError:
                pass
            except Exception as error:
                _give_worker_up(worker, error)
        worker.connection.close()

    async def _watch(self) -> None:
        """Ask workers whether they still work, and kill those that hang, so that others take their place."""
        while True:
            await asyncio.sleep(SECONDS)
            for worker in list(self._workers.values()):
                # A model may take long to load, and tells nothing meanwhile.
                if worker.ready and not worker.stopping:
                    self._check(worker)

    def _check(self, worker: _Worker) -> None:
        """See to a worker that is ready, a second after the last time."""
        if fault := worker.pulse.fault:
            fields = {"worker": worker.number, "pid": worker.process.pid, "reason": fault}
            LIFE.error("worker hangs", extra={"fields": fields})
            worker.ready = False
            _kill(worker)
        elif worker.pulse.tick():
            worker.outgoing.put_first({"ping": True})

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something beside everything else, until this stops."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _told(self, worker: _Worker, message: Json) -> None:
        if "running" in message:
            worker.pulse.answered(message["running"])
            worker.untold.clear()
        elif "ready" in message:
            worker.ready = True
            self._failures[worker.number] = 0
            self._description = message["ready"]
            LIFE.info("worker ready", extra={"fields": {"worker": worker.number, "pid": worker.process.pid}})
        elif "unable" in message:
            # Once the service runs nobody waits for this error; it is logged in any case.
            self._unable = told_error(message["unable"])
            LIFE.error("worker unable", extra={"fields": {"worker": worker.number, "reason": str(self._unable)}})
        elif "id" in message:
            self._answered(worker, message)

    def _answered(self, worker: _Worker, message: Json) -> None:
        future = worker.pending.pop(message["id"], None)
        if future is None or future.done():
            return
        now = time.monotonic()
        if self._last_answer:
            gap = min(1.0, now - self._last_answer)
            self._pace = 0.95 * self._pace + 0.05 * gap if self._pace else gap
        self._last_answer = now
        if "error" in message:
            future.set_exception(told_error(message["error"]))
        else:
            future.set_result(message["result"])

    def _ended(self, worker: _Worker) -> None:
        """A worker is gone: answer what it had, and put another in its place unless it was to end."""
        worker.ready = False
        for future in worker.pending.values():
            if not future.done():
                future.set_exception(Stopping() if self._stopping else Lost())
        worker.pending.clear()
        if self._stopping or worker.stopping:
            return
        for waited in worker.untold:
            self._observer.request_done(worker.number, JobReport(waited))
        self._observer.worker_lost(worker.number)
        pause = self._next_pause(worker.number)
        LIFE.error("worker lost", extra={"fields": {"worker": worker.number, "replaced_in": pause}})
        self._keep(self._replace(worker.number, pause))

    def _next_pause(self, slot: int) -> float:
        """Seconds until the worker of a slot is replaced, which failed once more."""
        failures = self._failures[slot] = self._failures.get(slot, 0) + 1
        # No power of a number of failures that has no end.
        return 0.0 if failures == 1 else min(LONGEST_PAUSE, 2.0 ** min(failures - 2, 10))

    async def _replace(self, slot: int, pause: float) -> None:
        """Put another worker into a slot; where the system has no room for a process, try until it has."""
        while True:
            await asyncio.sleep(pause)
            if self._stopping:
                return
            try:
                self._spawn(slot)
                return
            # Too many open files, too little memory, too many processes or threads.
            except (OSError, RuntimeError) as error:
                pause = self._next_pause(slot)
                fields = {"worker": slot, "reason": str(error), "replaced_in": pause}
                LIFE.error("worker not started", extra={"fields": fields})


def _give_worker_up(worker: _Worker, error: Exception) -> None:
    """Kill a worker that can't be talked with, so that another takes its place."""
    fields = {"worker": worker.number, "pid": worker.process.pid}
    LIFE.error("talking with a worker failed", exc_info=error, extra={"fields": fields})
    _kill(worker)


def _kill(worker: _Worker) -> None:
    """Kill a worker's process, if it has not ended yet."""
    if not worker.gone.is_set():
        worker.process.kill()


def _wait_for(workers: Sequence[_Worker], seconds: float) -> None:
    """Wait until workers are gone, for so many seconds at most for all of them."""
    until = time.monotonic() + seconds
    for worker in workers:
        worker.gone.wait(max(0.0, until - time.monotonic()))
