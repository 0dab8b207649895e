import itertools

import torch

from blockskim.profiling import matmul_rate as rates
from blockskim.profiling.matmul_rate import matmul_rate


def test_rate_is_operations_over_the_shortest_time(monkeypatch):
    monkeypatch.setattr(rates, "SIZES", (4, 8, 16))
    # Every product seems to take 1 second, but one of the last size 0.25.
    times = itertools.chain(*[(0.0, 1.0)] * 5, (0.0, 0.25), itertools.cycle((0.0, 1.0)))
    rate = matmul_rate(torch.device("cpu"), torch.float32, least_seconds=0.5, clock=lambda: next(times))
    assert rate == 2 * 4**3 / 0.25


def test_matrices_grow_until_a_product_takes_long_enough(monkeypatch):
    monkeypatch.setattr(rates, "SIZES", (4, 8, 16))
    times = itertools.cycle((0.0, 0.5))
    assert matmul_rate(torch.device("cpu"), torch.float32, 1.0, 2, lambda: next(times)) == 2 * 16**3 / 0.5


def test_it_runs_in_every_number_format(monkeypatch):
    monkeypatch.setattr(rates, "SIZES", (16,))
    for dtype in (torch.float32, torch.bfloat16):
        assert matmul_rate(torch.device("cpu"), dtype) > 0
