"""How a calibration is carried out, apart from what it is to reach."""

from collections.abc import Callable
from dataclasses import dataclass

from blockskim.checks import check_count, check_range

OVERHEAD = 0.025
"""What asking the predictor of one layer, and taking out what it drops, costs beyond its FLOPs, as a share of a dense
run. It is the difference that was measured between FLOPs and wall clock for the exported graph of the shipped model,
per layer that is asked: 0.021 at batch size 1, 0.028 at 32 (docs/performance.md). It is less in larger models."""

LARGEST_SEED = 2**32 - 1
"""Of NumPy, which Optuna draws from."""

TaskProgress = Callable[[str, int], None]
"""Called with the name of a task, and how many more windows of it are done; for ``search.SEARCHING``, more prices, and
for ``refine.REFINING``, more trials."""


@dataclass(frozen=True, slots=True)
class CalibrationSettings:
    """How points are searched for and confirmed.

    Attributes:
        batch_size: windows per batch.
        max_answer_length: most tokens in an answer.
        points: how many points are confirmed by really skimming when there is one target; of several, each gets fewer.
        max_f1_at_risk: points that put more F1 at risk are not considered, unless a target allows to lose more.
        overhead: what asking the predictor of one layer costs beyond its FLOPs, as a share of a dense run. Layers that
            save less than that are not asked.
        trials: of Optuna, to look around what the search finds; 0 for none.
        seed: of these trials.

    Raises:
        ConfigError: one is impossible.
    """

    batch_size: int = 32
    max_answer_length: int = 30
    points: int = 12
    max_f1_at_risk: float = 10.0
    overhead: float = OVERHEAD
    trials: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        """Bring numbers to Python's own and refuse what is impossible."""
        least = {"batch_size": 1, "max_answer_length": 1, "points": 1, "trials": 0, "seed": 0}
        for name in least:
            object.__setattr__(self, name, check_count(name, getattr(self, name), least[name]))
        check_range("seed", self.seed, 0, LARGEST_SEED)
        for name in ("max_f1_at_risk", "overhead"):
            object.__setattr__(self, name, check_range(name, getattr(self, name), 0.0))
