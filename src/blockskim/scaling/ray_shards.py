"""Shards made by actors on a Ray cluster, each with a model of its own.

This process reads the input and writes the output; the actors need neither. Ray starts an actor anew that died, on
another machine if its own is gone, and gives it the shard once more. A shard is written when it is whole, so what a
dead actor leaves is nothing.
"""

import logging
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from blockskim.errors import BlockSkimError
from blockskim.scaling.output import OutputDirectory, ShardReport
from blockskim.scaling.plan import BulkPlan
from blockskim.scaling.processes import sendable_error
from blockskim.scaling.raw_shards import RawShard
from blockskim.scaling.ray_cluster import ModelParcel, joined_cluster, set_tokenizer_threads, share_cluster
from blockskim.scaling.shard_worker import ShardWorker

logger = logging.getLogger(__name__)

RESTARTS = 3
"""How often an actor is started anew, and a shard given to it once more. What makes an actor die every time ends the
run."""

SECONDS_TO_START = 60.0
"""After so long without any actor, a warning says that the cluster may have no room for one."""


class ShardActor:
    """Makes shards, with one model that is loaded when it is first needed."""

    def __init__(self, plan: BulkPlan, model: ModelParcel, threads: int) -> None:
        """Make shards of a run."""
        set_tokenizer_threads(threads)
        self._plan = plan
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
            self._worker = ShardWorker(self._plan, directory, self._threads)
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
    with joined_cluster(address) as ray:
        share = share_cluster(ray, plan.model, workers)
        kind = ray.remote(ShardActor).options(
            **share.resources, max_restarts=RESTARTS, max_task_retries=RESTARTS, scheduling_strategy="SPREAD"
        )
        parcel = ModelParcel.of(ray, model)
        actors = [kind.remote(plan, parcel, share.threads) for _ in range(workers)]
        try:
            for made in _results(ray, actors, shards):
                yield output.write(*made)
        finally:
            for actor in actors:
                # They may be gone, and the cluster, too.
                with suppress(Exception):
                    ray.kill(actor)


def _results(ray: Any, actors: list[Any], shards: Iterator[RawShard]) -> Iterator[tuple[ShardReport, bytes]]:
    """What actors make of shards, each of which goes to one that is free."""
    busy: dict[Any, tuple[Any, RawShard | None]] = {actor.load.remote(): (actor, None) for actor in actors}
    following = next(shards, None)
    has_started = False
    # Actors that never start, as the cluster has no room for them, hold up nobody.
    while following is not None or any(shard is not None for _, shard in busy.values()):
        done, _ = ray.wait(list(busy), num_returns=1, timeout=SECONDS_TO_START)
        if not done and not has_started:
            logger.warning("no actor has started yet; does the cluster have room for one? %s", _room(ray))
        for reference in done:
            actor, shard = busy.pop(reference)
            made = _got(ray, reference, shard)
            has_started = True
            if following is not None:
                busy[actor.make.remote(following)] = actor, following
                following = next(shards, None)
            if made is not None:
                yield made


def _got(ray: Any, reference: Any, shard: RawShard | None) -> tuple[ShardReport, bytes] | None:
    """What an actor made; None when it has its model and is free.

    Raises:
        BlockSkimError: what it raised, or that it died.
        OSError: likewise.
    """
    try:
        result: Any = ray.get(reference)
    except ray.exceptions.RayActorError as error:
        rows = "" if shard is None else f" while it had rows {shard.first:,} to {shard.first + len(shard.rows) - 1:,}"
        raise BlockSkimError(
            f"an actor died{rows}, perhaps for lack of memory, as it did each time that Ray started it anew; what is "
            "done stays, and the same command goes on from there"
        ) from error
    if isinstance(result, BaseException):
        raise result
    made: tuple[ShardReport, bytes] | None = result
    return made


def _room(ray: Any) -> str:
    return ", ".join(f"{name} {count:g}" for name, count in ray.available_resources().items() if name in ("CPU", "GPU"))
