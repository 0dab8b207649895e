import os

import pytest
import torch

from blockskim.profiling.memory import peak_bytes

CPU = torch.device("cpu")
KIB = 1024


def test_peak_is_the_most_held_at_once():
    def run():
        first = torch.empty(4 * KIB, dtype=torch.uint8)
        second = torch.empty(3 * KIB, dtype=torch.uint8)
        del first, second
        torch.empty(5 * KIB, dtype=torch.uint8)

    assert peak_bytes(run, CPU) == 7 * KIB


def test_what_was_there_before_does_not_count():
    before = torch.ones(1000, KIB)
    assert peak_bytes(lambda: before.sum(0), CPU) < 100 * KIB
    assert peak_bytes(lambda: None, CPU) == 0


def test_temporaries_inside_of_operators_count():
    values = torch.ones(64, KIB)
    # The product is a temporary as large as the values.
    assert peak_bytes(lambda: (values * 2).sum(), CPU) >= 64 * KIB * 4


def test_the_profiler_says_nothing(capfd):
    peak_bytes(lambda: torch.ones(3), CPU)
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""


@pytest.mark.parametrize("before", [None, "3"])
def test_the_environment_is_left_as_it_was(monkeypatch, before):
    monkeypatch.delenv("KINETO_LOG_LEVEL", raising=False)
    if before is not None:
        monkeypatch.setenv("KINETO_LOG_LEVEL", before)
    seen = []
    peak_bytes(lambda: seen.append(os.environ["KINETO_LOG_LEVEL"]), CPU)
    assert seen == [before or "6"]
    assert os.environ.get("KINETO_LOG_LEVEL") == before

    def fail():
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        peak_bytes(fail, CPU)
    assert os.environ.get("KINETO_LOG_LEVEL") == before


@pytest.mark.cuda
def test_on_a_gpu_the_allocator_is_asked():
    device = torch.device("cuda")
    assert peak_bytes(lambda: torch.empty(1 << 20, dtype=torch.uint8, device=device), device) >= 1 << 20
