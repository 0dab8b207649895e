"""Shards made by several processes, each with a model of its own.

A process gets a shard through a pipe when it is free, writes it, and sends back the report. Nothing is shared, so that
one which is killed, at whatever moment, holds up nobody.
"""

import logging
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

from blockskim.errors import BlockSkimError, ConfigError
from blockskim.scaling.output import ShardReport
from blockskim.scaling.plan import BulkPlan
from blockskim.scaling.raw_shards import RawShard
from blockskim.scaling.shard_files import shard_schema
from blockskim.scaling.shard_worker import ShardWorker

SECONDS_TO_END = 10.0


def threads_of_each(threads: int | None, workers: int, cores: int) -> int | None:
    """Processor threads for each of several processes; None leaves the choice to the backend.

    Args:
        threads: of all together; None for all cores.
        workers: how many processes there are.
        cores: of the machine.

    Raises:
        ConfigError: there are fewer threads than processes.
    """
    if workers == 1:
        return threads
    if threads is not None and threads < workers:
        raise ConfigError(f"{workers} workers need a thread each, and threads is {threads}")
    return max(1, (threads or cores) // workers)


def set_tokenizer_threads(threads: int) -> None:
    """Set the threads of the tokenizers library, which starts them when it is first used."""
    os.environ["RAYON_NUM_THREADS"] = str(threads)


class _Hand:
    """A process and the shard that it works on."""

    def __init__(self, plan: BulkPlan, schema: Any, model: Path, threads: int | None) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, other = context.Pipe()
        level = logging.getLogger("blockskim").getEffectiveLevel()
        arguments = (other, plan, schema, model, threads, level)
        self.process: SpawnProcess = context.Process(target=_serve, args=arguments, daemon=True)
        self.process.start()
        # The process has it now, and its end is to be seen here.
        other.close()
        self.is_starting = True
        self.shard: RawShard | None = None

    @property
    def is_free(self) -> bool:
        """Whether a shard may be given to it."""
        return not self.is_starting and self.shard is None

    def give(self, shard: RawShard) -> None:
        """Have a shard made."""
        self.shard = shard
        # It may be dead, which `take` finds out.
        with suppress(OSError):
            self.pipe.send(shard)

    def take(self) -> ShardReport | None:
        """The report about the shard that was given; None when the process has its model and is free.

        Raises:
            BlockSkimError: what the process raised, or that it died.
            OSError: the shard can't be written.
        """
        shard, self.shard = self.shard, None
        try:
            result = self.pipe.recv()
        except (EOFError, OSError) as error:
            self.process.join(SECONDS_TO_END)
            raise BlockSkimError(_death(self.process.exitcode, shard)) from error
        if isinstance(result, BaseException):
            raise result
        self.is_starting = False
        report: ShardReport | None = result
        return report

    def stop(self) -> None:
        """Tell the process to end, at once if it is working."""
        self.pipe.close()
        if not self.is_free:
            self.process.terminate()

    def wait_for_end(self) -> None:
        """Wait until a process that was told to end has ended."""
        self.process.join(SECONDS_TO_END)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


@contextmanager
def interrupts_kept_off() -> Iterator[None]:
    """Keep interrupts off processes that are started in the block, for good, and off this thread meanwhile.

    An interrupt goes to all processes of a terminal, and before they can ignore it they would show where they were. One
    that comes meanwhile is not lost: this process has it when the block has ended.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows has none: workers may show where they were.
        yield
        return
    # It is started with the first process, and lets interrupts through again.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def run_in_processes(
    plan: BulkPlan, model: Path, shards: Iterator[RawShard], workers: int, threads: int | None
) -> Iterator[ShardReport]:
    """Have shards made by processes.

    Args:
        plan: of the run.
        model: directory of the model.
        shards: what is to be made; read as the processes get on.
        workers: how many processes there are at most.
        threads: processor threads of each.

    Yields:
        Reports, as shards are finished.

    Raises:
        BlockSkimError: a process could not load the model, met a row at which the run stops, or died.
        OSError: a shard can't be written; ``filename`` is its file.
    """
    hands: list[_Hand] = []
    ahead: deque[RawShard] = deque()
    is_read = False
    schema = shard_schema(plan)
    try:
        while True:
            if not is_read and len(ahead) < workers:
                shard = next(shards, None)
                is_read = shard is None
                ahead.extend([] if shard is None else [shard])
            free = [hand for hand in hands if hand.is_free]
            if ahead and free:
                free[0].give(ahead.popleft())
                continue
            if len(hands) < workers and len(ahead) > sum(hand.is_starting for hand in hands):
                with interrupts_kept_off():
                    hands.append(_Hand(plan, schema, model, threads))
                continue
            if is_read and not ahead and all(hand.shard is None for hand in hands):
                return
            pipes = {hand.pipe: hand for hand in hands if not hand.is_free}
            # With room to read ahead there is something better to do than to wait. A dead process's pipe is ready, too.
            for pipe in wait(list(pipes), timeout=None if is_read or len(ahead) == workers else 0):
                report = pipes[pipe].take()  # type: ignore[index] # it gives what it was given
                if report is not None:
                    yield report
    finally:
        for hand in hands:
            hand.stop()
        for hand in hands:
            hand.wait_for_end()


def _serve(pipe: Connection, plan: BulkPlan, schema: Any, model: Path, threads: int | None, level: int) -> None:
    """What a process does: load the model, say so, and make shards until there are no more."""
    # An interrupt goes to all processes of a terminal; the one that was called ends the others. Where it could be kept
    # off before, it waits, and is gone now.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    logging.getLogger("blockskim").setLevel(level)
    if threads is not None:
        set_tokenizer_threads(threads)
    try:
        worker = ShardWorker(plan, schema, model, threads)
        # Nothing is sent here before: what nobody reads makes the other end lose what was said.
        pipe.send(None)
        while True:
            pipe.send(worker.run(pipe.recv()))
    except EOFError:
        return
    except (BlockSkimError, OSError) as error:
        # There may be nobody to hear of it.
        with suppress(OSError):
            pipe.send(sendable_error(error))


def sendable_error(error: BlockSkimError | OSError) -> BlockSkimError | OSError:
    """An error that can be sent: its message, and its class if that is one of those with a meaning of its own."""
    if isinstance(error, OSError):
        return OSError(error.errno, error.strerror, error.filename)
    return ConfigError(str(error)) if isinstance(error, ConfigError) else BlockSkimError(str(error))


def _end_with_parent() -> None:
    """End this process at once when the one that started it is gone, however that ended."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _death(code: int | None, shard: RawShard | None) -> str:
    """What is said of a process that died."""
    if code is not None and code < 0:
        names = {int(number): number.name for number in signal.Signals}
        name = names.get(-code, f"signal {-code}")
        how = f"was ended by {name}" + (", perhaps for lack of memory" if name == "SIGKILL" else "")
    else:
        how = f"ended with code {code}"
    rows = "" if shard is None else f" while it had rows {shard.first:,} to {shard.first + len(shard.rows) - 1:,}"
    return f"a worker process {how}{rows}; what is done stays, and the same command goes on from there"
