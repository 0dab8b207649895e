"""From requests to answers on few threads: texts are tokenised beside the model, and windows of all run in batches.

It knows nothing of HTTP. A request is a job of three parts: ``start`` tokenises and plans, ``finish`` makes the answer,
and both run on threads of their own; between them its windows wait in a ``FairQueue`` and run with those of others.
What comes of a job does not depend on the others: how its windows are cut depends on itself alone, and a backend gives
a window the same logits in any batch.
"""

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, InvalidStateError, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from blockskim.answering.text_reading import TextReading
from blockskim.inference.backend import Backend
from blockskim.inference.first_stage import Phase
from blockskim.inference.runner import Thresholds, WindowBatch
from blockskim.serving.batch import BatchReport, TurnResult, run_batch
from blockskim.serving.fair_queue import FairQueue, Turn, cut_into_turns
from blockskim.serving.refusals import Busy, Stopping, TimedOut

CROWD = 8
"""Requests that wait for each runner when there are many, and parts that a runner's share of all tokens is read in."""

Result = TypeVar("Result")
Reading = TypeVar("Reading", bound=TextReading)


@dataclass(frozen=True, slots=True)
class Capacity:
    """How much is done at once.

    Attributes:
        batch_tokens: the most in a batch.
        turn_tokens: the most that one request has run before others have their turn, and that requests which had one
            before have in a batch together. Smaller turns let short questions pass a long text sooner.
        waiting: requests that may be there; more are refused.
        runners: threads that run the model, each with batches of its own.
        long_text: characters from which a text is tokenised apart, so that short ones don't wait for it.
        crowd_tokens: the most in a batch while many requests wait, where that is more; batches grow with what waits.
            Beside the wait for a turn, that for the end of a batch is short then.
    """

    batch_tokens: int = 16_384
    turn_tokens: int = 2_048
    waiting: int = 512
    runners: int = 1
    long_text: int = 50_000
    crowd_tokens: int = 0


@dataclass(frozen=True, slots=True)
class JobReport:
    """Where the time of a request went, in seconds; None for what was not done of one that was given up.

    Attributes:
        wait: it waited for a thread, or for the model to have room.
        plan: its texts were tokenised and planned.
        model: its share of what the model took for the batches that it was in.
        finish: its answer was made of what the model gave.
    """

    wait: float
    plan: float | None = None
    model: float | None = None
    finish: float | None = None


@dataclass(eq=False, slots=True)
class _Job(Generic[Result]):
    """A request on its way."""

    start: Callable[[], TextReading]
    finish: Callable[[Any, float], Result]
    seconds: float
    long: bool
    counted: bool
    future: "Future[Result]" = field(default_factory=Future)
    began: float = field(default_factory=time.monotonic)
    taken_up: float | None = None  # since when nothing of it waits
    plan_seconds: float = 0.0
    model_seconds: float = 0.0
    reading: TextReading | None = None
    phases: Iterator[Phase] | None = None
    phase: Phase | None = None
    batches: dict[int, WindowBatch] = field(default_factory=dict)
    left: int = 0
    told: bool = False

    @property
    def expired(self) -> bool:
        return time.monotonic() - self.began > self.seconds

    @property
    def waited(self) -> float:
        """Seconds for which something of it waited and nothing was done."""
        until = time.monotonic() if self.taken_up is None else self.taken_up
        return max(0.0, until - self.began - self.plan_seconds - self.model_seconds)

    @property
    def given_up(self) -> bool:
        """Whether it ended because nobody waits for it any more."""
        return self.future.cancelled() or isinstance(self.future.exception(), TimedOut)

    def fail(self, error: BaseException) -> None:
        """End without a result, if it has not ended yet."""
        with suppress(InvalidStateError):
            self.future.set_exception(error)


class Scheduler:
    """Jobs in, answers out; any thread may submit."""

    def __init__(
        self,
        backend: Backend,
        capacity: Capacity | None = None,
        on_batch: Callable[[BatchReport], None] | None = None,
        on_done: Callable[[JobReport], None] | None = None,
        on_fault: Callable[[BaseException], None] | None = None,
    ) -> None:
        """Start the threads.

        Args:
            backend: what computes; several threads use it at once if the capacity has several runners.
            capacity: how much is done at once.
            on_batch: told of every batch, on the thread that ran it.
            on_done: told of every answer, on the thread that made it, and of what was given up.
            on_fault: told of what a thread that runs the model failed on beside the model; the jobs of the batch fail.
        """
        self.capacity = Capacity() if capacity is None else capacity
        self._backend = backend
        self._on_batch = on_batch
        self._on_done = on_done
        self._on_fault = on_fault
        self._queue: FairQueue[_Job[Any]] = FairQueue(self.capacity.turn_tokens)
        self._jobs: set[_Job[Any]] = set()
        self._changed = threading.Condition()
        self._taking = True
        self._running = True
        self._pace = 0.0
        self._numbers = itertools.count()
        self._batches: set[int] = set()
        self._short = ThreadPoolExecutor(2, thread_name_prefix="blockskim-texts")
        self._long = ThreadPoolExecutor(1, thread_name_prefix="blockskim-long-texts")
        self._threads = [
            threading.Thread(target=self._run, name=f"blockskim-model-{number}", daemon=True)
            for number in range(self.capacity.runners)
        ]
        for thread in self._threads:
            thread.start()

    def __len__(self) -> int:
        """Number of jobs that have not ended."""
        return len(self._jobs)

    @property
    def waiting_tokens(self) -> int:
        """Tokens of windows that wait to be run."""
        return self._queue.tokens

    @property
    def oldest_batch(self) -> int | None:
        """The number of the batch that runs longest by now; None while none runs."""
        with self._changed:
            return min(self._batches, default=None)

    def submit(
        self,
        start: Callable[[], Reading],
        finish: Callable[[Reading, float], Result],
        seconds: float = 60.0,
        characters: int = 0,
        counted: bool = True,
    ) -> "Future[Result]":
        """Take a job.

        Args:
            start: tokenises and plans; what it raises is the job's.
            finish: makes the result of what was read, given the seconds that this took without waiting.
            seconds: after which the job is given up and its windows are dropped.
            characters: of its texts.
            counted: whether its time and its batches are told of.

        Returns:
            The result to come. To cancel it takes what waits of the job out of the queue.

        Raises:
            Busy: as many jobs as may wait are there.
            Stopping: the scheduler was closed.
        """
        job = _Job(start, finish, seconds, characters >= self.capacity.long_text, counted)
        with self._changed:
            if not self._taking:
                raise Stopping
            if len(self._jobs) >= self.capacity.waiting:
                raise Busy(len(self._jobs), self._retry_after())
            self._jobs.add(job)
        job.future.add_done_callback(lambda _: self._forget(job))
        self._beside(job, self._begin)
        return job.future

    def close(self, grace: float = 30.0) -> bool:
        """Take no more jobs, finish those that are there, and stop the threads.

        Args:
            grace: seconds after which what is left is given up.

        Returns:
            Whether everything was finished.
        """
        until = time.monotonic() + grace
        with self._changed:
            self._taking = False
            while self._jobs and time.monotonic() < until:
                self._changed.wait(max(0.0, until - time.monotonic()))
            left = list(self._jobs)
            self._running = False
            self._changed.notify_all()
        for job in left:
            job.fail(Stopping())
        for pool in (self._short, self._long):
            pool.shutdown(wait=False, cancel_futures=True)
        for thread in self._threads:
            thread.join(5.0)
        return not left

    def _retry_after(self) -> float:
        """Seconds until about half of what waits is done."""
        return float(min(60.0, max(1.0, round(self._queue.tokens / self._pace / 2)))) if self._pace else 1.0

    def _forget(self, job: _Job[Any]) -> None:
        """A job ended, in whatever way."""
        with self._changed:
            self._queue.drop(job)
            self._jobs.discard(job)
            self._changed.notify_all()
        if job.given_up:
            # It waited, too: a service that answers nobody in time would tell of no wait otherwise.
            self._tell(job, JobReport(job.waited, job.plan_seconds or None, job.model_seconds or None))

    def _tell(self, job: _Job[Any], report: JobReport) -> None:
        """Tell where the time of a job went, once."""
        if self._on_done is not None and job.counted and not job.told:
            job.told = True
            self._on_done(report)

    @contextmanager
    def _numbered(self) -> Iterator[None]:
        """A batch, from its beginning to its end."""
        number = next(self._numbers)
        with self._changed:
            self._batches.add(number)
        try:
            yield
        finally:
            with self._changed:
                self._batches.discard(number)

    def _beside(self, job: _Job[Any], step: Callable[[_Job[Any]], None]) -> None:
        """Do a step of a job on a thread for texts; whatever it raises is the job's."""

        def guarded() -> None:
            if job.future.done():
                return
            if job.expired:
                job.fail(TimedOut(job.seconds))
                return
            job.taken_up = time.monotonic()
            try:
                step(job)
            except Exception as error:
                job.fail(error)

        job.taken_up = None
        try:
            (self._long if job.long else self._short).submit(guarded)
        except RuntimeError:
            # The pool was shut down in the meantime.
            job.fail(Stopping())

    def _begin(self, job: _Job[Any]) -> None:
        began = time.monotonic()
        job.reading = job.start()
        job.phases = job.reading.phases()
        job.plan_seconds = time.monotonic() - began
        self._advance(job)

    def _advance(self, job: _Job[Any]) -> None:
        """Take in what was run of a job, and let its next phase wait; or make its answer."""
        assert job.reading is not None and job.phases is not None
        if job.phase is not None:
            # In their order, whichever was done first: sums of floating-point numbers depend on it.
            job.reading.take([job.batches[number] for number in sorted(job.batches)], job.phase)
        job.batches, job.phase = {}, next(job.phases, None)
        if job.phase is None:
            self._finish(job, job.reading)
            return
        turns = cut_into_turns(job.phase, min(self.capacity.turn_tokens, self.capacity.batch_tokens))
        if not turns:
            self._advance(job)
            return
        with self._changed:
            if not job.future.done():
                job.left, job.taken_up = len(turns), None
                # Predictors that one asks beside its own would count as arithmetic of the other.
                self._queue.put(job, turns, (_hashable(job.reading.thresholds), job.reading.asking))
                # Whoever closes waits here, too, and would take the only call.
                self._changed.notify_all()

    def _finish(self, job: _Job[Any], reading: TextReading) -> None:
        read = job.taken_up = time.monotonic()
        result = job.finish(reading, job.plan_seconds + job.model_seconds)
        self._tell(job, JobReport(job.waited, job.plan_seconds, job.model_seconds, time.monotonic() - read))
        with suppress(InvalidStateError):
            job.future.set_result(result)

    def _run(self) -> None:
        """Run batches until the end."""
        while self._running:
            batch: Sequence[tuple[_Job[Any], Turn]] = ()
            try:
                batch = self._next_batch()
                if batch:
                    with self._numbered():
                        self._run_batch(batch)
            except BaseException as error:
                # Nobody may wait for ever for a thread that failed.
                for job in [job for job, _ in batch] or list(self._jobs):
                    job.fail(error)
                if self._on_fault is not None:
                    self._on_fault(error)

    def _next_batch(self) -> Sequence[tuple[_Job[Any], Turn]]:
        """What is run next, once something waits; nothing where all of it was late, and at the end."""
        with self._changed:
            while self._running and not len(self._queue):
                self._changed.wait()
            if not self._running:
                return ()
            late = [job for job in self._queue.jobs() if job.expired]
            for job in late:
                self._queue.drop(job)
            batch = self._queue.take(self._most_tokens(), self.capacity.turn_tokens)
            now, waiting = time.monotonic(), set(self._queue.jobs())
            for job, _ in batch:
                job.taken_up = None if job in waiting else now
        for job in late:
            job.fail(TimedOut(job.seconds))
        return batch

    def _most_tokens(self) -> int:
        """How many tokens the next batch may have."""
        # What waits is shared out: a runner that took all of it would leave the others without work.
        share = -(-self._queue.tokens // self.capacity.runners)
        most = min(self.capacity.batch_tokens, share)
        crowded = len(self._queue) >= CROWD * self.capacity.runners
        return max(most, min(self.capacity.crowd_tokens, share // CROWD)) if crowded else most

    def _run_batch(self, batch: Sequence[tuple[_Job[Any], Turn]]) -> None:
        reading = batch[0][0].reading
        assert reading is not None
        try:
            results, report = run_batch(self._backend, [turn for _, turn in batch], reading.thresholds, reading.asking)
        except BaseException as error:
            for job, _ in batch:
                job.fail(error)
            return
        if report.seconds > 0:
            pace = self.capacity.runners * report.tokens / report.seconds
            self._pace = pace if not self._pace else 0.9 * self._pace + 0.1 * pace
        # Told of before any answer can be made of it.
        if self._on_batch is not None and any(job.counted for job, _ in batch):
            self._on_batch(report)
        for (job, turn), result in zip(batch, results, strict=True):
            self._deliver(job, turn, result)

    def _deliver(self, job: _Job[Any], turn: Turn, result: TurnResult) -> None:
        """Hand what came of a turn to its job."""
        if result.batch is None:
            job.fail(result.error or RuntimeError("a batch gave nothing"))
            return
        with self._changed:
            job.batches[turn.number] = result.batch
            job.model_seconds += result.seconds
            job.left -= 1
            complete = job.left == 0
        if complete:
            self._beside(job, self._advance)


def _hashable(thresholds: Thresholds) -> float | tuple[float, ...] | None:
    return thresholds if thresholds is None or isinstance(thresholds, float | int) else tuple(thresholds)
