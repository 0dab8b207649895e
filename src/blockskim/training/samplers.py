"""The order in which windows are trained on, and the share of it that each of several processes has."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

POOL = 50
"""Batches that are sorted by length together: enough for little padding, few enough for chance."""


class LengthGroupedSampler(Sampler[int]):
    """A new random order each epoch in which neighbours have similar lengths, so that batches need little padding.

    The order depends on the seed and the epoch alone, so that a resumed run goes on just where it stopped.
    """

    def __init__(self, lengths: NDArray[np.integer[Any]], batch_size: int, seed: int, group: bool = True) -> None:
        """Order windows of these lengths for batches of ``batch_size``; without ``group`` purely at random."""
        self.lengths = lengths
        self.batch_size = batch_size
        self.seed = seed
        self.group = group
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Number of windows."""
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        """Indices of windows in the epoch's order."""
        random = np.random.default_rng([self.seed, self.epoch])
        order = random.permutation(len(self.lengths))
        if not self.group:
            return map(int, order)
        pool = self.batch_size * POOL
        batches: list[NDArray[np.int64]] = []
        rest: list[NDArray[np.int64]] = []
        for first in range(0, len(order), pool):
            part = order[first : first + pool]
            part = part[np.argsort(-self.lengths[part], kind="stable")]
            whole = len(part) // self.batch_size * self.batch_size
            batches += list(part[:whole].reshape(-1, self.batch_size))
            rest.append(part[whole:])
        shuffled = [batches[index] for index in random.permutation(len(batches))]
        # What fills no batch comes last, where the loader makes a smaller batch of it.
        return map(int, np.concatenate([order[:0], *shuffled, *rest]))


class ProcessBatches(Sampler[list[int]]):
    """The batches of one of several processes: together they are those that one process alone would have."""

    def __init__(self, order: LengthGroupedSampler, batch_size: int, rank: int, processes: int) -> None:
        """Cut an order into batches and take a share of each.

        Args:
            order: of all windows.
            batch_size: windows of all processes together.
            rank: number of this process, from 0.
            processes: how many there are.
        """
        self.order = order
        self.batch_size = batch_size
        self.rank = rank
        self.processes = processes

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next."""
        self.order.set_epoch(epoch)

    def __len__(self) -> int:
        """Number of batches."""
        return -(-len(self.order) // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        """Windows of each batch that this process has."""
        order = iter(self.order)
        while batch := list(islice(order, self.batch_size)):
            # Of similar length, so that no process waits long for another. Nobody may be left without any.
            yield batch[self.rank :: self.processes] or [batch[self.rank % len(batch)]]
