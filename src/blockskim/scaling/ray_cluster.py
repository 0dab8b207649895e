"""A Ray cluster: joining it, sharing it out among actors, and bringing the model to its machines."""

import logging
import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blockskim.answering.model_choice import ModelChoice
from blockskim.errors import BlockSkimError, ModelError
from blockskim.extras import load_ray
from blockskim.scaling.model_files import model_content, model_digest
from blockskim.scaling.processes import threads_of_each

USAGE_STATS = "RAY_USAGE_STATS_ENABLED"


def join_cluster(address: str = "") -> bool:
    """Join a cluster, unless this process belongs to one; whether it did so now.

    Args:
        address: of a cluster, as Ray takes it; "" for the one that Ray finds, or a new one on this machine.

    Raises:
        BlockSkimError: there is no such cluster.
        ConfigError: Ray is not installed.
    """
    ray = load_ray()
    if ray.is_initialized():
        return False
    # Unless it is asked for, nothing is told to anybody.
    os.environ.setdefault(USAGE_STATS, "0")
    handler = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=address or None, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        reason = " ".join(str(error).split())
        raise BlockSkimError(f"no Ray cluster can be joined at {address or 'this machine'}: {reason:.300}") from error
    if handler is not None and threading.current_thread() is threading.main_thread():
        # Ray has one of its own, which would leave no time to end in order.
        signal.signal(signal.SIGTERM, handler)
    return True


@contextmanager
def joined_cluster(address: str = "") -> Iterator[Any]:
    """The module ``ray``, in a process that belongs to a cluster: to one that is joined for as long as the block lasts.

    Args:
        address: as ``join_cluster`` takes it.

    Raises:
        BlockSkimError: there is no such cluster.
        ConfigError: Ray is not installed.
    """
    is_new = join_cluster(address)
    try:
        yield load_ray()
    finally:
        if is_new:
            load_ray().shutdown()


@dataclass(frozen=True, slots=True)
class ActorShare:
    """What each actor has of a cluster.

    Attributes:
        threads: processor threads.
        gpus: graphics cards.
    """

    threads: int
    gpus: int

    @property
    def resources(self) -> dict[str, int]:
        """As Ray has it."""
        return {"num_cpus": self.threads, "num_gpus": self.gpus}


def share_cluster(ray: Any, choice: ModelChoice, workers: int) -> ActorShare:
    """Share out the threads of a cluster among actors; none has more than the largest machine.

    Args:
        ray: the module, in a process that joined the cluster.
        choice: threads of all actors together, None for all that there are; and on what the model runs.
        workers: how many actors there are.

    Raises:
        ConfigError: there are fewer threads than actors.
    """
    sizes = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
    threads = threads_of_each(choice.threads, workers, max(1, sum(sizes))) or max(sizes, default=1)
    return ActorShare(max(1, min(threads, max(sizes, default=1))), int(choice.device == "cuda"))


@dataclass(frozen=True, slots=True)
class ModelParcel:
    """A model on its way to the machines of a cluster.

    Attributes:
        path: its directory, which the other machines may have as well, or not.
        digest: of its files.
        content: a reference to its files, by name; in a list, where Ray lets it be until it is asked for.
    """

    path: Path
    digest: str
    content: list[Any]

    @classmethod
    def of(cls, ray: Any, path: Path) -> "ModelParcel":
        """Put the files of a model where all machines can get them.

        Raises:
            ModelError: it can't be read.
        """
        return cls(path, model_digest(path), [ray.put(model_content(path))])

    @contextmanager
    def directory(self) -> Iterator[Path]:
        """The model's directory on this machine: the one of the same path if it holds the same, else a new one."""
        try:
            is_here = model_digest(self.path) == self.digest
        except ModelError:
            is_here = False
        if is_here:
            yield self.path
            return
        with tempfile.TemporaryDirectory(prefix="blockskim-model-") as folder:
            for name, content in load_ray().get(self.content[0]).items():
                (Path(folder) / name).write_bytes(content)
            yield Path(folder)
