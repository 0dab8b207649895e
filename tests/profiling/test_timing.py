import gc

import pytest

from blockskim.profiling.timing import paired_speedup, spread_of, time_rounds


class FakeClock:
    """A clock that only runs when it is told to."""

    def __init__(self):
        self.now = 0.0
        self.order = []

    def __call__(self):
        return self.now

    def taking(self, name, *durations):
        """Something that takes these times, one after the other."""
        left = iter(durations)

        def run():
            self.order.append(name)
            self.now += next(left)

        return run


@pytest.mark.slow
def test_rounds_are_interleaved_and_the_first_one_rotates():
    clock = FakeClock()
    runs = {name: clock.taking(name, 1, 1, 1, 1) for name in "abc"}
    time_rounds(runs, rounds=3, warmup=1, clock=clock)
    assert "".join(clock.order) == "abc" + "bca" + "cab" + "abc"


def test_seconds_are_those_of_each_round_without_the_warm_up():
    clock = FakeClock()
    runs = {"slow": clock.taking("slow", 100, 3, 4), "fast": clock.taking("fast", 50, 1, 2)}
    assert time_rounds(runs, rounds=2, warmup=1, clock=clock) == {"slow": [3, 4], "fast": [1, 2]}


def test_waiting_for_the_device_counts():
    clock = FakeClock()

    def wait():
        clock.now += 10

    assert time_rounds({"a": clock.taking("a", 1)}, 1, warmup=0, clock=clock, synchronize=wait) == {"a": [11]}


def test_progress_is_told_of_every_round():
    clock = FakeClock()
    told = []
    time_rounds({"a": clock.taking("a", 1, 1, 1)}, 2, 1, clock, progress=lambda: told.append(clock.now))
    assert told == [1, 2, 3]


@pytest.mark.slow
def test_the_garbage_collector_rests_and_comes_back():
    seen = []
    time_rounds({"a": lambda: seen.append(gc.isenabled())}, 2, 0)
    assert seen == [False, False]
    assert gc.isenabled()
    with pytest.raises(ZeroDivisionError):
        time_rounds({"a": lambda: 1 / 0}, 1)
    assert gc.isenabled()


def test_speedups_are_paired():
    # Twice as slow a machine in the second round changes no ratio.
    assert paired_speedup([2.0, 4.0, 2.0], [1.0, 2.0, 1.0]) == spread_of([2.0, 2.0, 2.0])
    # The median of the ratios, not the ratio of the medians (which is 4).
    assert paired_speedup([1.0, 8.0, 4.0], [1.0, 1.0, 2.0]).median == 2.0


def test_spread():
    spread = spread_of([5.0, 1.0, 2.0, 4.0, 3.0])
    assert (spread.minimum, spread.lower, spread.median, spread.upper) == (1.0, 2.0, 3.0, 4.0)
    assert spread_of([7.0]).lower == spread_of([7.0]).upper == 7.0
    with pytest.raises(ValueError, match="nothing"):
        spread_of([])
