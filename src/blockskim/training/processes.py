"""Several processes that train one model: what the first does for all, and what all put together.

A launcher (``torchrun``, ``accelerate launch``) starts them and tells each its number in the environment. Each learns
from its share of every batch. Only the first one reads data files, writes and tells of the run.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed
from torch import Tensor

from blockskim.errors import BlockSkimError

T = TypeVar("T")

PATIENCE = timedelta(days=2)
"""How long processes wait for each other: the first one may have to tokenise all data. The launcher ends them when one
of them has died."""


@dataclass(frozen=True, slots=True)
class Processes:
    """The processes of a run, as one of them sees them.

    Attributes:
        rank: the number of this one, from 0.
        count: how many there are.
    """

    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the one that reads, writes and tells of the run."""
        return self.rank == 0

    def from_first(self, make: Callable[[], T]) -> T:
        """What the first process makes, in all of them.

        Raises:
            BlockSkimError: as it was raised there, in all of them.
            OSError: as it was raised there, in all of them.
        """
        if self.count == 1:
            return make()
        made: list[Any] = [None, None]
        if self.is_first:
            try:
                made[0] = make()
            except (BlockSkimError, OSError) as error:
                made[1] = error
        torch.distributed.broadcast_object_list(made)
        if made[1] is not None:
            raise made[1]
        return made[0]

    def gather(self, value: T) -> list[T]:
        """The values of all processes, in their order."""
        if self.count == 1:
            return [value]
        values: list[Any] = [None] * self.count
        torch.distributed.all_gather_object(values, value)
        return values

    def total(self, values: Tensor) -> Tensor:
        """The sum over all processes, element by element."""
        if self.count > 1:
            torch.distributed.all_reduce(values)
        return values


def join_processes(device: torch.device) -> Processes:
    """Meet the other processes of a run, if a launcher started several.

    Args:
        device: where the run computes.
    """
    from accelerate import PartialState

    state = PartialState(cpu=device.type == "cpu", timeout=PATIENCE)
    return Processes(state.process_index, state.num_processes)
