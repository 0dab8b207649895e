"""Shards made by several processes, each with a model of its own.

A process gets a shard through a pipe when it is free, writes it, and sends back the report. Nothing is shared, so that
one which is killed, at whatever moment, holds up nobody.
"""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path

from blockskim.errors import BlockSkimError, ConfigError
from blockskim.scaling.output import ShardReport
from blockskim.scaling.plan import BulkPlan
from blockskim.scaling.raw_shards import RawShard
from blockskim.scaling.shard_worker import ShardWorker

AHEAD = 2
"""Shards that are read before a process is free for them."""

SECONDS_TO_END = 10.0


class _Hand:
    """A process and the shard that it works on."""

    def __init__(self, plan: BulkPlan, model: Path, threads: int | None) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, other = context.Pipe()
        self.process: SpawnProcess = context.Process(target=_serve, args=(other, plan, model, threads), daemon=True)
        self.process.start()
        # The process has it now, and its end is to be seen here.
        other.close()
        self.shard: RawShard | None = None

    def give(self, shard: RawShard) -> None:
        """Have a shard made."""
        self.shard = shard
        # It may be dead, which `take` finds out.
        with suppress(OSError):
            self.pipe.send(shard)

    def take(self) -> ShardReport:
        """The report about the shard that was given.

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
        report: ShardReport = result
        return report

    def end(self) -> None:
        """End the process, at once if it is working."""
        self.pipe.close()
        if self.shard is not None:
            self.process.terminate()
        self.process.join(SECONDS_TO_END)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


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
    try:
        while True:
            if not is_read and len(ahead) < AHEAD:
                shard = next(shards, None)
                is_read = shard is None
                ahead.extend([] if shard is None else [shard])
            free = [hand for hand in hands if hand.shard is None]
            if ahead and not free and len(hands) < workers:
                free = [_Hand(plan, model, threads)]
                hands += free
            if ahead and free:
                free[0].give(ahead.popleft())
                continue
            busy = [hand for hand in hands if hand.shard is not None]
            if is_read and not ahead and not busy:
                return
            pipes = {hand.pipe: hand for hand in busy}
            # With room to read ahead there is something better to do than to wait. A dead process's pipe is ready, too.
            for pipe in wait(list(pipes), timeout=None if is_read or len(ahead) == AHEAD else 0):
                yield pipes[pipe].take()  # type: ignore[index] # it gives what it was given
    finally:
        for hand in hands:
            hand.end()


def _serve(pipe: Connection, plan: BulkPlan, model: Path, threads: int | None) -> None:
    """What a process does: make shards until there are no more."""
    # An interrupt goes to all processes of a terminal; the one that was called ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if threads is not None:
        # The tokenizers library starts its threads when it is first used.
        os.environ["RAYON_NUM_THREADS"] = str(threads)
    try:
        worker = ShardWorker(plan, model, threads)
        while True:
            pipe.send(worker.run(pipe.recv()))
    except EOFError:
        return
    except (BlockSkimError, OSError) as error:
        # There may be nobody to hear of it.
        with suppress(OSError):
            pipe.send(_bare(error))


def _bare(error: BlockSkimError | OSError) -> BlockSkimError | OSError:
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
