"""How a calibration is carried out, apart from what it is to reach."""

from collections.abc import Callable
from dataclasses import dataclass

from blockskim.errors import ConfigError

OVERHEAD = 0.04
"""What asking the predictor of one layer, and taking out what it drops, costs beyond its FLOPs, as a share of a dense
run. It is the difference that was measured between FLOPs and wall clock, for a model with ``match`` in four of six
layers, on two cores at batch size 32 (docs/performance.md). It is more at batch size 1 and less in larger models."""

TaskProgress = Callable[[str, int], None]
"""Called with the name of a task, and how many more windows of it are done; for ``refine.REFINING``, more trials."""


@dataclass(frozen=True, slots=True)
class CalibrationSettings:
    """How points are searched for and confirmed.

    Attributes:
        batch_size: windows per batch.
        max_answer_length: most tokens in an answer.
        points: how many points are confirmed by really skimming when there is one target; of several, each gets fewer.
        max_f1_at_risk: points that put more F1 at risk are not considered.
        overhead: what asking the predictor of one layer costs beyond its FLOPs, as a share of a dense run. Layers that
            save less than that are not asked.
        trials: of Optuna, to refine what greedy search finds; 0 for none.
        seed: of these trials.

    Raises:
        ConfigError: the number of trials is negative.
    """

    batch_size: int = 32
    max_answer_length: int = 30
    points: int = 12
    max_f1_at_risk: float = 10.0
    overhead: float = OVERHEAD
    trials: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what is impossible."""
        if self.trials < 0:
            raise ConfigError(f"trials is {self.trials}; it must be at least 0")
