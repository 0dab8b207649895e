"""Shards made by actors on a Ray cluster, each with a model of its own.

This process reads the input and writes the output; the actors need neither. One that died is replaced, on another
machine if its own is gone, and its shard goes to one that is free. A shard is written when it is whole, so a dead actor
leaves nothing.
"""

import logging
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from blockskim.errors import BlockSkimError
from blockskim.scaling.output import OutputDirectory, ShardReport
from blockskim.scaling.plan import BulkPlan
from blockskim.scaling.processes import sendable_error, set_tokenizer_threads
from blockskim.scaling.raw_shards import RawShard
from blockskim.scaling.ray_cluster import ModelParcel, joined_cluster, share_cluster
from blockskim.scaling.shard_files import shard_schema
from blockskim.scaling.shard_worker import ShardWorker

logger = logging.getLogger(__name__)

MOST_DEATHS = 4
"""What so many actors died of, a shard or loading the model, ends the run."""

SECONDS_TO_START = 60.0
"""After so long without any actor, a warning says that the cluster may have no room for one."""


class ShardActor:
    """Makes shards, with one model that is loaded when it is first needed."""

    def __init__(self, plan: BulkPlan, schema: Any, model: ModelParcel, threads: int) -> None:
        """Make shards of a run, of which ``schema`` is what ``shard_schema`` gave where the input lies."""
        set_tokenizer_threads(threads)
        self._plan = plan
        self._schema = schema
        self._model = model
        self._threads = threads
        self._worker: ShardWorker | None = None
        self._open = ExitStack()

    def load(self) -> BlockSkimError | OSError | None:
        """Load the model; what is wrong, if anything is."""
        try:
            self._loaded()
        except (BlockSkimError, OSError) as error:
            return sendable_error(error)
        return None

    def make(self, shard: RawShard) -> tuple[ShardReport, bytes] | BlockSkimError | OSError:
        """The report about a shard and the content of its file, or what is wrong."""
        try:
            return self._loaded().make(shard)
        except (BlockSkimError, OSError) as error:
            return sendable_error(error)

    def _loaded(self) -> ShardWorker:
        if self._worker is None:
            # A temporary directory stays for as long as the actor: models may read their files later, too.
            directory = self._open.enter_context(self._model.directory())
            self._worker = ShardWorker(self._plan, self._schema, directory, self._threads)
        return self._worker


def run_on_ray(
    plan: BulkPlan, model: Path, shards: Iterator[RawShard], workers: int, address: str
) -> Iterator[ShardReport]:
    """Have shards made by actors.

    Args:
        plan: of the run.
        model: directory of the model.
        shards: what is to be made; read as the actors get on.
        workers: how many actors there are at most.
        address: of the cluster; "" for the one that Ray finds, or a new one on this machine.

    Yields:
        Reports, as shards are written.

    Raises:
        BlockSkimError: there is no cluster, an actor could not load the model, met a row at which the run stops, or
            died again and again.
        OSError: a shard can't be written; ``filename`` is its file.
    """
    output = OutputDirectory(plan.output, plan.output_format)
    schema = shard_schema(plan)
    # Actors have another working directory than this process.
    here = Path.cwd()
    abroad = replace(plan, files=tuple(replace(file, folder=here) for file in plan.files))
    with joined_cluster(address) as ray:
        share = share_cluster(ray, plan.model, workers)
        kind = ray.remote(ShardActor).options(**share.resources, max_restarts=0, scheduling_strategy="SPREAD")
        parcel = ModelParcel.of(ray, model)
        team = _Team(ray, lambda: kind.remote(abroad, schema, parcel, share.threads), shards)
        try:
            for made in team.results(workers):
                yield output.write(*made)
        finally:
            team.end()


class _Team:
    """Actors and what each of them works on."""

    def __init__(self, ray: Any, start: Callable[[], Any], shards: Iterator[RawShard]) -> None:
        self._ray = ray
        self._start = start
        self._shards = shards
        self._is_read = False
        self._again: deque[RawShard] = deque()
        # What is waited for, the actor that does it, and the shard; none while it loads its model.
        self._busy: dict[Any, tuple[Any, RawShard | None]] = {}
        self._idle: list[Any] = []
        self._deaths: Counter[int] = Counter()

    def results(self, workers: int) -> Iterator[tuple[ShardReport, bytes]]:
        """What so many actors make of all shards.

        Raises:
            BlockSkimError: what one raised, or that too many died.
            OSError: what one raised.
        """
        for _ in range(workers):
            self._add_actor()
        has_started = False
        # Actors that never start, as the cluster has no room for them, hold up nobody.
        while not self._is_read or self._again or any(shard is not None for _, shard in self._busy.values()):
            done, _ = self._ray.wait(list(self._busy), num_returns=1, timeout=SECONDS_TO_START)
            if not done and not has_started:
                logger.warning("no actor has started yet; does the cluster have room for one? It has %s", self._room())
            for reference in done:
                actor, shard = self._busy.pop(reference)
                try:
                    result = self._ray.get(reference)
                except self._ray.exceptions.RayTaskError:
                    raise
                except self._ray.exceptions.RayError as error:
                    self._replace(actor, shard, error)
                    continue
                if isinstance(result, BaseException):
                    raise result
                has_started = True
                self._give(actor)
                if result is not None:
                    yield result

    def end(self) -> None:
        """End all actors."""
        for actor in [*self._idle, *(actor for actor, _ in self._busy.values())]:
            self._kill(actor)

    def _add_actor(self) -> None:
        actor = self._start()
        self._busy[actor.load.remote()] = actor, None

    def _give(self, actor: Any) -> None:
        """Have an actor make the next shard, if there is one."""
        shard = self._again.popleft() if self._again else None
        if shard is None and not self._is_read:
            shard = next(self._shards, None)
            self._is_read = shard is None
        if shard is None:
            self._idle.append(actor)
        else:
            self._busy[actor.make.remote(shard)] = actor, shard

    def _replace(self, actor: Any, shard: RawShard | None, error: Exception) -> None:
        """Start another actor in place of one that died, or can't be reached, and have its shard made.

        Raises:
            BlockSkimError: the same has happened too often.
        """
        self._kill(actor)
        reason = -1 if shard is None else shard.number
        self._deaths[reason] += 1
        if self._deaths[reason] == MOST_DEATHS:
            what = "loaded the model"
            if shard is not None:
                what = f"had rows {shard.first:,} to {shard.first + len(shard.rows) - 1:,}"
            raise BlockSkimError(
                f"{MOST_DEATHS} actors died while they {what}, perhaps for lack of memory; what is done stays, and the "
                "same command goes on from there"
            ) from error
        self._add_actor()
        if shard is not None:
            self._again.append(shard)
            # The new one may find no room.
            if self._idle:
                self._give(self._idle.pop())

    def _kill(self, actor: Any) -> None:
        # It may be gone, and the cluster, too.
        with suppress(Exception):
            self._ray.kill(actor)

    def _room(self) -> str:
        room = self._ray.available_resources()
        return ", ".join(f"{name} {room.get(name, 0):g}" for name in ("CPU", "GPU"))
