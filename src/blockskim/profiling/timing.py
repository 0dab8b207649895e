"""Fair timing of several things: interleaved rounds, so that whatever the machine does besides hits all of them alike.

Every round runs every contender once, a round later the next one goes first. Figures are compared within a round and
then summed up by their median: a machine that slows down halfway changes seconds, but hardly a ratio.
"""

import gc
import statistics
import time
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

Clock = Callable[[], float]
"""Seconds since some moment."""

Synchronize = Callable[[], None]
"""Waits until the device has done all that was asked of it."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Where measured values lie: their middle, smallest, and lower and upper quartile."""

    median: float
    minimum: float
    lower: float
    upper: float


def spread_of(values: Sequence[float]) -> Spread:
    """Sum up values; quartiles are interpolated between the two nearest.

    Raises:
        ValueError: there is no value.
    """
    if not values:
        raise ValueError("nothing was measured")
    if len(values) == 1:
        return Spread(values[0], values[0], values[0], values[0])
    lower, median, upper = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(median, min(values), lower, upper)


def paired_speedup(baseline: Sequence[float], seconds: Sequence[float]) -> Spread:
    """How much faster ``seconds`` are than those of a baseline, round by round."""
    return spread_of([theirs / ours for theirs, ours in zip(baseline, seconds, strict=True)])


def time_rounds(
    runs: Mapping[str, Callable[[], object]],
    rounds: int,
    warmup: int = 1,
    clock: Clock = time.perf_counter,
    synchronize: Synchronize | None = None,
    progress: Callable[[], None] | None = None,
) -> dict[str, list[float]]:
    """Time contenders against each other.

    Args:
        runs: what to time, by name.
        rounds: how often each is timed.
        warmup: rounds before these that don't count.
        clock: what to read the time from.
        synchronize: called before each reading of the clock; for devices that work on their own.
        progress: called after every round, those of the warm-up included.

    Returns:
        Seconds of each round, by name.
    """
    names = list(runs)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    was_enabled = gc.isenabled()
    try:
        for number in range(warmup + rounds):
            gc.collect()
            gc.disable()
            first = number % len(names)
            for name in names[first:] + names[:first]:
                if synchronize is not None:
                    synchronize()
                started = clock()
                runs[name]()
                if synchronize is not None:
                    synchronize()
                taken = clock() - started
                if number >= warmup:
                    seconds[name].append(taken)
            if was_enabled:
                gc.enable()
            if progress is not None:
                progress()
    finally:
        if was_enabled:
            gc.enable()
    return seconds


def timed(part: str, run: Callable[..., Any], seconds: MutableMapping[str, float]) -> Callable[..., Any]:
    """The same function, which adds what it takes to a part's seconds.

    Args:
        part: what it is a part of.
        run: the function.
        seconds: by part.
    """

    def measured(*args: Any, **kwargs: Any) -> Any:
        started = time.perf_counter()
        result = run(*args, **kwargs)
        seconds[part] += time.perf_counter() - started
        return result

    return measured
