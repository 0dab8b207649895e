"""What a benchmark measures, and how; quick to import, so that wrong settings are told at once."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from blockskim.profiling.catalog import check_shape, parse_baseline


@dataclass(frozen=True, slots=True)
class BenchmarkSettings:
    """How contenders are measured.

    Attributes:
        baselines: those that everything is compared with, by name.
        batch_sizes: samples that run together, at most; each size is measured.
        repeats: timed rounds, in which all take turns.
        warmup: rounds before these that don't count.
        end_to_end: time from tokenised windows to answers, span search included, instead of the model alone; for data
            only.
        seed: of everything that is random.
    """

    baselines: tuple[str, ...] = ()
    batch_sizes: tuple[int, ...] = (1, 32)
    repeats: int = 7
    warmup: int = 1
    end_to_end: bool = False
    seed: int = 0

    def check(self) -> None:
        """Refuse baselines that are not possible.

        Raises:
            ConfigError: there is no such baseline, or a package that it needs is not installed.
        """
        for name in self.baselines:
            parse_baseline(name)


@dataclass(frozen=True, slots=True)
class RandomModelSettings:
    """A random model of a well-known size that drops blocks on a schedule.

    Attributes:
        shape: name of its size.
        keep: share of the context blocks that is there after each layer that is named; empty to keep all.
        length: tokens of its random input.
        keep_full: the first so many samples of every batch keep everything.
        skim: skim settings that differ from the paper's.

    Raises:
        ConfigError: there is no such shape.
    """

    shape: str
    keep: Mapping[int, float]
    length: int = 512
    keep_full: int = 0
    skim: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse an unknown shape."""
        check_shape(self.shape)
