"""Worker processes: shared work, one that dies, one that can't start, and an end that loses nothing."""

import asyncio
import os
import signal
import time

import pytest

from blockskim.errors import ConfigError, DataError
from blockskim.serving.engine import ModelSettings
from blockskim.serving.logs import LogSettings
from blockskim.serving.pool import NotReady, WorkerPool
from blockskim.serving.refusals import Busy, Lost, Stopping, TimedOut
from blockskim.serving.scheduler import Capacity
from blockskim.serving.worker import work
from served import QUESTION, TEXT, plain_answerer, plain_work

SECONDS = 240

pytestmark = pytest.mark.slow


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
        pool = WorkerPool(ModelSettings(model), Capacity(**capacity), LogSettings(), count, told, target)
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


def test_a_model_that_can_not_be_loaded_is_told_of(tmp_path):
    async def test(pool, told):
        with pytest.raises(Exception, match=r"nothing|needs PyTorch"):
            await pool.start()

    run(test, model=str(tmp_path / "nothing"), target=work)
