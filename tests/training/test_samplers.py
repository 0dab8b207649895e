"""The order of training: complete, grouped by length, the same for the same seed and epoch."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from blockskim.training.samplers import LengthGroupedSampler, ProcessBatches


@given(count=st.integers(0, 500), batch_size=st.integers(1, 20), group=st.booleans(), epoch=st.integers(0, 3))
def test_every_window_comes_once_an_epoch(count, batch_size, group, epoch):
    sampler = LengthGroupedSampler(np.arange(count) % 50 + 1, batch_size, 7, group)
    sampler.set_epoch(epoch)
    order = list(sampler)
    assert sorted(order) == list(range(count))
    assert order == list(sampler)


def test_batches_hold_similar_lengths_and_epochs_differ():
    lengths = np.random.default_rng(0).integers(20, 384, 4000)
    sampler = LengthGroupedSampler(lengths, 16, 3)

    def padding(order):
        sorted_lengths = lengths[order].reshape(-1, 16)
        return (sorted_lengths.max(1, keepdims=True) - sorted_lengths).sum() / lengths.sum()

    first = list(sampler)
    assert padding(first) < 0.05 < 0.5 < padding(list(LengthGroupedSampler(lengths, 16, 3, group=False)))
    sampler.set_epoch(1)
    assert list(sampler) != first
    # Long batches are not all at one end.
    means = lengths[first].reshape(-1, 16).mean(1)
    assert abs(means[:100].mean() - means[-100:].mean()) < 60


@given(count=st.integers(1, 200), batch_size=st.integers(1, 12), processes=st.integers(1, 4), epoch=st.integers(0, 2))
def test_the_batches_of_all_processes_are_those_of_one(count, batch_size, processes, epoch):
    lengths = np.arange(count) % 50 + 1
    order = LengthGroupedSampler(lengths, batch_size, 7)
    order.set_epoch(epoch)
    whole = list(order)
    shares = []
    for rank in range(processes):
        batches = ProcessBatches(LengthGroupedSampler(lengths, batch_size, 7), batch_size, rank, processes)
        batches.set_epoch(epoch)
        shares.append(list(batches))
        assert len(shares[-1]) == len(batches) == -(-count // batch_size)
        assert all(shares[-1])
    for number, parts in enumerate(zip(*shares, strict=True)):
        batch = whole[number * batch_size : (number + 1) * batch_size]
        assert set().union(*parts) == set(batch)
        # Where there are fewer windows than processes some are read twice.
        assert sum(map(len, parts)) == max(len(batch), processes)
        assert max(map(len, parts)) - min(map(len, parts)) <= 1
