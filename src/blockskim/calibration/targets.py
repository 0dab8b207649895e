"""What an operating point is to reach, and which of the measured points reaches it."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from blockskim.calibration.points import Point
from blockskim.checks import is_number
from blockskim.errors import ConfigError, ModelError

MEASURES = ("flops", "seconds")


@dataclass(frozen=True, slots=True)
class Target:
    """How much may be lost, or how much is to be saved.

    Attributes:
        max_f1_drop: most F1, in points, that may be lost against the dense run; the fastest such point is taken.
        target_speedup: wanted speed-up over the dense run on the same unpadded input; the point with the best F1 that
            has it is taken. Not together with ``max_f1_drop``.
        max_answers_lost: largest share of the examples whose dense answer may lose a block that it begins or ends in,
            beside one of the others or alone.
        by: what the speed-up is of: ``"flops"``, or ``"seconds"`` of wall clock, interleaved with the dense run.

    Raises:
        ConfigError: nothing is asked for, or something impossible.

    Examples:
        >>> from blockskim import Target
        >>> str(Target(max_f1_drop=0.5))
        'at most 0.5 F1 lost'
    """

    max_f1_drop: float | None = None
    target_speedup: float | None = None
    max_answers_lost: float | None = None
    by: str = "flops"

    def __post_init__(self) -> None:
        """Refuse what is impossible."""
        drop, target, lost = self.max_f1_drop, self.target_speedup, self.max_answers_lost
        if drop is not None and target is not None:
            raise ConfigError("give either the most F1 to lose or the speed-up to reach")
        if drop is None and target is None and lost is None:
            raise ConfigError("give the most F1 to lose, the speed-up to reach or the share of answers to lose")
        for value in (drop, target, lost):
            if value is not None and not is_number(value):
                raise ConfigError(f"a target has {value!r:.80}; it must be a number")
        if drop is not None and not 0 <= drop <= 100:
            raise ConfigError(f"the most F1 to lose is {drop}; it must be from 0 to 100 points")
        if target is not None and not (target >= 1 and math.isfinite(target)):
            raise ConfigError(f"the speed-up to reach is {target}; it must be a finite number of at least 1")
        if lost is not None and not 0 <= lost <= 1:
            raise ConfigError(f"the share of answers to lose is {lost}; it must be from 0 to 1")
        if self.by not in MEASURES:
            raise ConfigError(f"a speed-up by {self.by!r} can't be measured; it is by {' or '.join(MEASURES)}")
        if self.by == "seconds" and target is None:
            raise ConfigError("seconds are the measure of a speed-up to reach; give one")

    def __str__(self) -> str:
        """The target in words."""
        parts = []
        if self.max_f1_drop is not None:
            parts.append(f"at most {self.max_f1_drop:g} F1 lost")
        if self.target_speedup is not None:
            parts.append(f"{self.target_speedup:g}× by {self.by}")
        if self.max_answers_lost is not None:
            parts.append(f"at most {self.max_answers_lost:.3g} of the answers lost")
        return ", ".join(parts)


def parse_target(text: str, max_answers_lost: float | None = None, by: str = "flops") -> Target:
    """Read a target: ``0.5`` for the most F1 points to lose, ``2x`` for the speed-up to reach.

    Args:
        text: the target.
        max_answers_lost: largest share of the examples whose dense answer may lose a block.
        by: what a speed-up is of; left out for a target of F1.

    Raises:
        ConfigError: the text is neither, or the number is impossible.
    """
    number = text.strip().removesuffix("x").removesuffix("×")
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if math.isnan(value):
        raise ConfigError(f"{text!r} is no target; it must be the most F1 points to lose (0.5) or a speed-up (2x)")
    if number == text.strip():
        return Target(max_f1_drop=value, max_answers_lost=max_answers_lost)
    return Target(target_speedup=value, max_answers_lost=max_answers_lost, by=by)


def known_targets(record: Mapping[str, Any], points: Iterable[str], source: object) -> dict[str, Target]:
    """The targets that points of a model were chosen for, by name, as far as they are known.

    Args:
        record: what ``read_calibration`` gives.
        points: names of the points.
        source: the file that it was read from, for messages.

    Raises:
        ModelError: a target is damaged or impossible.
    """
    known = record.get("points", {})
    targets = {}
    for name in points:
        if name in known:
            try:
                targets[name] = Target(**known[name]["target"])
            except (ConfigError, KeyError, TypeError) as error:
                raise ModelError(f"{source} is damaged: the target of point {name!r:.80}: {error!s:.200}") from error
    return targets


def choose(target: Target, dense: Point, front: Sequence[Point]) -> tuple[Point, bool]:
    """The point for a target, and whether it satisfies the target; if none does, it is the nearest.

    Args:
        target: what is wanted.
        dense: the run with nothing dropped.
        front: confirmed points.
    """
    bounded = [
        point
        for point in front
        if target.max_answers_lost is None or point.answers_lost <= target.max_answers_lost + 1e-9
    ]
    if target.target_speedup is None:
        return max([dense, *_losing_little_enough(bounded, dense, target)], key=lambda point: point.flops_speedup), True
    fast_enough = [point for point in bounded if _speed(point, target) >= target.target_speedup]
    if target.target_speedup <= 1:
        # As fast as itself, by any clock.
        fast_enough.append(dense)
    if fast_enough:
        return max(fast_enough, key=lambda point: (point.f1, point.flops_speedup)), True
    # Ahead of points that were not timed or are slower by the clock than it: skimming costs something, too.
    return max([dense, *bounded], key=lambda point: 1.0 if point is dense else _speed(point, target)), False


def _losing_little_enough(front: Sequence[Point], dense: Point, target: Target) -> list[Point]:
    """Points that lose no more F1 than is asked for, both by what is at risk and by what was measured.

    On some thousands of examples the error of what is measured is as large as a target: the luckiest of many points
    would be taken, and one unlucky point would rule out all that are faster. What is dropped more can't lose less, so
    the losses that count are the rising ones that are nearest to those measured.
    """
    if target.max_f1_drop is None:
        return list(front)
    ordered = sorted(front, key=lambda point: point.flops_speedup)
    losses = nearest_rising([_f1(dense) - _f1(point) for point in ordered])
    most = target.max_f1_drop + 1e-9
    return [point for point, lost in zip(ordered, losses, strict=True) if max(lost, point.f1_at_risk) <= most]


def _f1(point: Point) -> float:
    assert point.f1 is not None  # It was confirmed.
    return point.f1


def nearest_rising(values: Sequence[float]) -> list[float]:
    """The numbers nearest to given ones, by the sum of squares, of which none is below the one before.

    Isotonic regression by pooling neighbours that are in the wrong order (Ayer et al., 1955).
    """
    pools: list[tuple[float, int]] = []
    for value in values:
        mean, count = value, 1
        while pools and pools[-1][0] > mean:
            before, members = pools.pop()
            mean, count = (before * members + mean * count) / (members + count), members + count
        pools.append((mean, count))
    return [mean for mean, count in pools for _ in range(count)]


def _speed(point: Point, target: Target) -> float:
    """Speed-up by the target's measure; by seconds, points that were not timed have none."""
    if target.by == "flops":
        return point.flops_speedup
    return 0.0 if point.wall_speedup is None else point.wall_speedup
