"""Worker processes: shared work, one that dies, one that can't start, and an end that loses nothing."""

import asyncio
import errno
import json
import logging
import os
import signal
import time
from types import SimpleNamespace
from unittest import mock

import pytest

from blockskim.answering.model_choice import ModelChoice
from blockskim.errors import ConfigError, DataError, ModelError
from blockskim.serving import pool as pool_module
from blockskim.serving.engine import ModelSettings
from blockskim.serving.logs import JsonLines, LogSettings
from blockskim.serving.messages import error_message, to_bytes
from blockskim.serving.pool import NotReady, WorkerPool, _Worker
from blockskim.serving.pulse import HANGING, SILENT, SLOW, Pulse
from blockskim.serving.refusals import Busy, Lost, Stopping, TimedOut
from blockskim.serving.scheduler import Capacity
from blockskim.serving.worker import work
from served import QUESTION, TEXT, plain_answerer, plain_work

SECONDS = 240

slow = pytest.mark.slow  # It starts processes.


class Told:
    """Keeps what a pool tells of."""

    def __init__(self):
        self.batches, self.jobs, self.lost = [], [], []

    def batch_done(self, worker, report):
        self.batches.append(report)

    def request_done(self, worker, report):
        self.jobs.append(report)

    def worker_lost(self, worker):
        self.lost.append(worker)


def asked(text=TEXT, **options):
    return {"kind": "answer", "pairs": [[QUESTION, text]], "options": options}


HANG = asked("z")


def run(test, count=1, model=None, target=plain_work, **capacity):
    """Run a test with a pool and what it tells of; the pool is stopped in the end."""

    async def main():
        told = Told()
        pool = WorkerPool(
            ModelSettings(ModelChoice(name=model)), Capacity(**capacity), LogSettings(), count, told, target
        )
        try:
            async with asyncio.timeout(SECONDS):
                await test(pool, told)
        finally:
            await pool.stop(0.0)
            assert all(worker.gone.is_set() and not worker.process.is_alive() for worker in pool._workers.values())

    asyncio.run(main())


async def until(condition):
    while not condition():
        await asyncio.sleep(0.01)


@slow
def test_answers_are_those_of_the_library_and_what_goes_on_is_told():
    async def test(pool, told):
        with pytest.raises(NotReady):
            await pool.ask(asked(), 20)
        await pool.start()
        assert pool.describe()["layers"] == 3
        texts = [TEXT[number:] * (number + 1) for number in range(8)]
        found = await asyncio.gather(*(pool.ask(asked(text, top_k=2), 60) for text in texts))
        qa = plain_answerer()
        assert [each["answers"] for each in found] == [[qa(QUESTION, text, top_k=2)] for text in texts]
        await until(lambda: len(told.jobs) >= 8)
        assert told.batches and set(told.batches[0].dropped) <= {1, 2}
        with pytest.raises(DataError, match="the context is empty"):
            await pool.ask(asked(" "), 20)
        with pytest.raises(ConfigError, match="top_k is 0"):
            await pool.ask(asked(top_k=0), 20)
        assert pool.waiting == 0

    run(test)


@slow
def test_two_workers_share_the_work_and_a_dead_one_is_replaced():
    async def test(pool, told):
        await pool.start()
        await until(lambda: len(pool.processes) == 2)
        hanging = [asyncio.ensure_future(pool.ask(HANG, 60)) for _ in range(2)]
        await asyncio.sleep(0.3)
        victim = pool.processes[0]
        os.kill(victim, signal.SIGKILL)
        done, pending = await asyncio.wait(hanging, return_when=asyncio.FIRST_COMPLETED)
        assert len(pending) == 1
        with pytest.raises(Lost, match="try again"):
            done.pop().result()
        assert told.lost in ([0], [1])
        await until(lambda: len(pool.processes) == 2)
        assert victim not in pool.processes
        assert (await pool.ask(asked(), 60))["answers"]
        pending.pop().cancel()

    run(test, count=2)


@slow
def test_what_takes_too_long_and_what_is_too_much():
    async def test(pool, told):
        await pool.start()
        first = asyncio.ensure_future(pool.ask(HANG, 60))
        await asyncio.sleep(0.2)
        with pytest.raises(TimedOut, match=r"0\.2 s"):
            await pool.ask(asked(), 0.2)
        second = asyncio.ensure_future(pool.ask(asked(), 60))
        await asyncio.sleep(0)
        with pytest.raises(Busy, match="2 requests wait"):
            await pool.ask(asked(), 60)
        assert pool.waiting == 2
        for task in (first, second):
            task.cancel()
        await asyncio.gather(first, second, return_exceptions=True)
        assert pool.waiting == 0

    run(test, waiting=2)


@slow
def test_stopping_finishes_what_runs():
    async def test(pool, told):
        await pool.start()
        tasks = [asyncio.ensure_future(pool.ask(asked(TEXT * 30), 60)) for _ in range(6)]
        await asyncio.sleep(0)
        assert await pool.stop(60.0)
        assert all(found["answers"] for found in await asyncio.gather(*tasks))
        assert not pool.ready
        with pytest.raises(Stopping):
            await pool.ask(asked(), 1)
        assert told.lost == []

    run(test)


@slow
def test_stopping_gives_up_what_hangs():
    async def test(pool, told):
        await pool.start()
        task = asyncio.ensure_future(pool.ask(HANG, 60))
        await asyncio.sleep(0.2)
        began = time.monotonic()
        assert not await pool.stop(0.1)
        assert time.monotonic() - began < 40
        with pytest.raises(Stopping):
            await task

    run(test)


@slow
def test_a_model_that_can_not_be_loaded_is_told_of(tmp_path):
    async def test(pool, told):
        with pytest.raises(Exception, match=r"nothing|needs PyTorch"):
            await pool.start()

    run(test, model=str(tmp_path / "nothing"), target=work)


class Process:
    """Of a worker: only to be killed ends it."""

    def __init__(self):
        self.gone, self.pid = False, 1

    def kill(self):
        self.gone = True

    def join(self, seconds=None):
        pass

    def is_alive(self):
        return not self.gone


class Clock:
    """Seconds pass only where somebody waits for a process."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        return self.now

    def gone(self, process):
        """The event that a process has ended."""

        def wait(seconds):
            self.now += 0.0 if process.gone else seconds
            return process.gone

        return SimpleNamespace(is_set=lambda: process.gone, wait=wait)


def a_worker(number=0, process=None, **state):
    """A worker without a process of its own."""
    return _Worker(number, process or Process(), None, Pulse(3.0), **state)


@pytest.fixture
def pool():
    """A pool without processes."""
    return WorkerPool(ModelSettings(), Capacity(), LogSettings(), 3, Told())


def stopped(pool, monkeypatch, **state):
    """Processes of three workers, and the seconds that it takes to stop them without a grace."""
    clock = Clock()
    monkeypatch.setattr(pool_module, "time", clock)
    processes = [Process() for _ in range(3)]
    for number, process in enumerate(processes):
        pool._workers[number] = a_worker(number, process, gone=clock.gone(process), **state)
    assert asyncio.run(pool.stop(0.0))
    return processes, clock.now


def test_workers_that_still_load_are_not_waited_for(pool, monkeypatch):
    processes, seconds = stopped(pool, monkeypatch)
    assert all(process.gone for process in processes)
    assert seconds == 0


def test_workers_that_do_not_stop_have_one_deadline(pool, monkeypatch):
    processes, seconds = stopped(pool, monkeypatch, ready=True)
    assert all(process.gone for process in processes)
    assert seconds == pool_module.SECONDS_TO_STOP
    assert all(worker.outgoing.get() == {"stop": 0.0} for worker in pool._workers.values())


def test_why_a_worker_can_not_replace_another_is_logged(pool, caplog):
    caplog.set_level(logging.ERROR, "blockskim.serving")
    pool._told(a_worker(1), {"unable": error_message(ModelError("kite: its weights are damaged"))})
    (line,) = (json.loads(JsonLines().format(record)) for record in caplog.records)
    assert (line["level"], line["event"], line["worker"]) == ("error", "worker unable", 1)
    assert line["reason"] == "kite: its weights are damaged"


def test_a_worker_is_told_the_id_of_a_request(pool):
    worker = pool._workers[0] = a_worker(ready=True)

    async def ask():
        asking = asyncio.ensure_future(pool.ask(asked(), 20, "my-id"))
        await asyncio.sleep(0)
        sent = worker.outgoing.get()
        pool._told(worker, {"id": sent["id"], "result": {"answers": []}})
        return sent, await asking

    sent, found = asyncio.run(ask())
    assert (sent["request"], found) == ("my-id", {"answers": []})


@pytest.mark.parametrize(
    "error", [OSError(errno.EMFILE, "Too many open files"), RuntimeError("can't start new thread")]
)
def test_a_worker_that_can_not_be_started_is_tried_again(pool, monkeypatch, caplog, error):
    caplog.set_level(logging.ERROR, "blockskim.serving")
    tries = []

    def spawn(slot):
        tries.append(slot)
        if len(tries) < 3:
            raise error

    async def no_pause(seconds):
        pauses.append(seconds)

    pauses = []
    monkeypatch.setattr(pool, "_spawn", spawn)
    monkeypatch.setattr(pool_module.asyncio, "sleep", no_pause)
    asyncio.run(pool._replace(2, 0.0))
    assert tries == [2, 2, 2]
    assert pauses == [0.0, 0.0, 1.0]
    lines = [json.loads(JsonLines().format(record)) for record in caplog.records]
    assert [(line["event"], line["worker"], line["reason"]) for line in lines] == [
        ("worker not started", 2, str(error))
    ] * 2


class Pipe:
    """To a worker that tells an answer and then nothing."""

    def __init__(self):
        self.told, self.closed = [to_bytes({"id": 1, "result": {}})], False

    def recv_bytes(self):
        if not self.told:
            raise EOFError
        return self.told.pop()

    def send_bytes(self, data):
        raise OSError

    def close(self):
        self.closed = True


@pytest.mark.parametrize("failing", ["from_bytes", "to_bytes"])
def test_a_worker_that_can_not_be_talked_with_is_replaced(pool, monkeypatch, caplog, failing):
    caplog.set_level(logging.ERROR, "blockskim.serving")
    spawned, worker = [], _Worker(1, Process(), Pipe(), Pulse(3.0), ready=True)
    monkeypatch.setattr(pool_module, failing, mock.Mock(side_effect=MemoryError))
    monkeypatch.setattr(pool, "_spawn", spawned.append)

    async def talk():
        loop = asyncio.get_running_loop()
        waiting = worker.pending[1] = loop.create_future()
        worker.outgoing.put_first({"ping": True})
        if failing == "to_bytes":
            worker.outgoing.put_first(None)
            await asyncio.to_thread(pool._write, worker, loop)
            assert worker.process.gone and worker.connection.told.pop()
        await asyncio.to_thread(pool._read, worker, loop)
        with pytest.raises(Lost):
            await waiting
        await until(lambda: spawned)

    asyncio.run(asyncio.wait_for(talk(), SECONDS))
    assert (worker.process.gone, worker.ready, spawned) == (True, False, [1])
    first, second = (json.loads(JsonLines().format(record)) for record in caplog.records)
    assert (first["event"], first["error"], first["worker"]) == ("talking with a worker failed", "MemoryError", 1)
    assert second["event"] == "worker lost"


@pytest.mark.parametrize("failing", ["process", "thread"])
def test_what_was_begun_of_a_worker_that_can_not_be_started_is_ended(pool, monkeypatch, failing):
    made = []

    class Unstartable(Process):
        def __init__(self, **_given):
            super().__init__()
            self.pid = None
            made.append(self)

        def start(self):
            if failing == "process":
                raise OSError(errno.ENOMEM, "Cannot allocate memory")
            self.pid = 1

    class Thread:
        def __init__(self, **_given):
            pass

        def start(self):
            raise RuntimeError("can't start new thread")

    ends = [SimpleNamespace(closed=False) for _ in range(2)]
    for end in ends:
        end.close = lambda end=end: setattr(end, "closed", True)
    context = SimpleNamespace(Pipe=lambda: tuple(ends), Process=Unstartable)
    monkeypatch.setattr(pool_module.multiprocessing, "get_context", lambda _kind: context)
    monkeypatch.setattr(pool_module.threading, "Thread", Thread)

    async def spawn():
        with pytest.raises((OSError, RuntimeError)):
            pool._spawn(0)

    asyncio.run(spawn())
    assert pool._workers == {}
    assert all(end.closed for end in ends)
    assert made[0].gone == (failing == "thread")


def test_pauses_have_an_end_however_often_a_worker_fails(pool):
    pool._failures[1] = 10**6
    assert pool._next_pause(1) == pool_module.LONGEST_PAUSE


def test_a_worker_that_says_nothing_is_not_ready_and_is_killed_in_the_end(pool, caplog):
    caplog.set_level(logging.ERROR, "blockskim.serving")
    worker = pool._workers[0] = a_worker(ready=True)
    seconds = 0
    while not worker.process.gone:
        pool._check(worker)
        seconds += 1
        assert pool.ready == (seconds <= SLOW)
    assert (seconds, worker.ready) == (SILENT + 2, False)
    # It was asked once, as it never answered.
    assert worker.outgoing.get() == {"ping": True}
    assert not worker.outgoing._first
    (line,) = (json.loads(JsonLines().format(record)) for record in caplog.records)
    assert (line["event"], line["worker"], line["reason"]) == ("worker hangs", 0, "it has told nothing for 30 s")


def test_a_worker_that_goes_on_is_left_alone_however_long_it_takes(pool):
    worker = pool._workers[0] = a_worker(ready=True)
    for batch in range(10 * int(HANGING)):
        pool._check(worker)
        pool._told(worker, {"running": batch})
        assert pool.ready
    for _ in range(10 * int(HANGING)):
        pool._check(worker)
        pool._told(worker, {"running": None})
        assert pool.ready
    assert not worker.process.gone


def test_a_worker_that_seems_to_hang_is_given_nothing_while_there_is_another(pool):
    for number in range(2):
        pool._workers[number] = a_worker(number, ready=True)
    pool._workers[0].pulse.silence = SLOW
    assert pool.ready

    async def ask():
        asking = [asyncio.ensure_future(pool.ask(asked(), 20)) for _ in range(4)]
        await asyncio.sleep(0)
        found = [len(worker.pending) for worker in pool._workers.values()]
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        return found

    assert asyncio.run(ask()) == [0, 4]
    # Better one that is slow than none.
    pool._workers[1].ready = False
    assert not pool.ready
    assert asyncio.run(ask()) == [4, 0]


def test_a_request_that_nobody_waits_for_is_not_kept_for_a_worker_that_reads_nothing(pool):
    worker = pool._workers[0] = a_worker(ready=True)

    async def ask():
        asking = [asyncio.ensure_future(pool.ask(asked(), 0.01)) for _ in range(3)]
        await asyncio.sleep(0)
        assert worker.outgoing.get()["asked"] == asked()
        return await asyncio.gather(*asking, return_exceptions=True)

    assert all(isinstance(error, TimedOut) for error in asyncio.run(ask()))
    assert not worker.outgoing._requests
    # What was sent is cancelled there.
    assert list(worker.outgoing._first) == [{"cancel": 1}]


@pytest.mark.parametrize("hangs", [True, False])
def test_what_is_given_up_before_a_worker_knows_of_it_waited(pool, monkeypatch, hangs):
    worker, told = a_worker(ready=True), Told()
    pool._workers[0], pool._observer = worker, told

    async def no_worker(slot, pause):
        pass

    monkeypatch.setattr(pool, "_replace", no_worker)

    async def ask():
        asking = [asyncio.ensure_future(pool.ask(asked(), 0.01)) for _ in range(3)]
        await asyncio.sleep(0)
        worker.outgoing.get()
        await asyncio.gather(*asking, return_exceptions=True)
        # One was sent, and is the worker's to tell of.
        waits = [(job.wait > 0, job.plan, job.model) for job in told.jobs]
        assert waits == [(True, None, None)] * 2
        if not hangs:
            pool._told(worker, {"running": None})
        pool._ended(worker)

    asyncio.run(ask())
    assert (len(told.jobs), told.lost) == (3 if hangs else 2, [0])


def test_while_it_drains_it_is_not_ready_and_answers(pool):
    worker = pool._workers[0] = a_worker(ready=True)
    assert pool.ready
    pool.drain()
    assert not pool.ready

    async def ask():
        asking = asyncio.ensure_future(pool.ask(asked(), 20))
        await asyncio.sleep(0)
        pool._told(worker, {"id": worker.outgoing.get()["id"], "result": {"answers": []}})
        return await asking

    assert asyncio.run(ask()) == {"answers": []}


@slow
def test_a_worker_that_is_stopped_is_replaced(monkeypatch):
    monkeypatch.setattr(pool_module, "SECONDS", 0.01)

    async def test(pool, told):
        await pool.start()
        (victim,) = pool.processes
        hanging = asyncio.ensure_future(pool.ask(asked(), 60))
        os.kill(victim, signal.SIGSTOP)
        with pytest.raises(Lost):
            await hanging
        assert told.lost == [0]
        await until(lambda: pool.ready)
        assert pool.processes != [victim]
        assert (await pool.ask(asked(), 60))["answers"]

    run(test)


def test_there_is_room_until_as_many_wait_as_may():
    pool = WorkerPool(ModelSettings(), Capacity(waiting=2), LogSettings(), 1, Told())
    worker = pool._workers[0] = a_worker(ready=True)
    worker.pending[1] = None
    pool.check_room()
    worker.pending[2] = None
    with pytest.raises(Busy, match="2 requests wait"):
        pool.check_room()
