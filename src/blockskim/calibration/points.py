"""A point of the trade between speed and accuracy: thresholds, and what they do."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Point:
    """Thresholds and what they do on the calibration data.

    Attributes:
        thresholds: one per layer with a predictor; 0 where the layer doesn't skim.
        flops_speedup: dense FLOPs over FLOPs spent, on unpadded input; simulated, or measured when confirmed.
        f1_at_risk: F1 points of the dense model's answers that lose a block they begin or end in, in the simulation.
        f1: when really skimming, in percent; None when not confirmed.
        exact_match: when really skimming, in percent; None when not confirmed.
        seconds: of the confirming run; None when not confirmed.
        error: standard error of the F1 lost against the dense run, in points, paired by example; None when not
            confirmed.
        answers_lost: share of the examples whose dense answer loses a block it begins or ends in, in the simulation.
        wall_speedup: dense seconds over skimming seconds, interleaved; None when not timed.
    """

    thresholds: tuple[float, ...]
    flops_speedup: float
    f1_at_risk: float
    f1: float | None = None
    exact_match: float | None = None
    seconds: float | None = None
    error: float | None = None
    answers_lost: float = 0.0
    wall_speedup: float | None = None
