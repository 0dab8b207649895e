"""How well predictors separate relevant blocks from irrelevant ones, apart from any threshold."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Bools = NDArray[np.bool_]


def area_under_roc(scores: Floats, relevant: Bools) -> float:
    """Chance that a random relevant block scores above a random irrelevant one; ties count half.

    NaN when there are blocks of one kind alone. Shape: (blocks,) each
    """
    positive, negative = int(relevant.sum()), int((~relevant).sum())
    if not positive or not negative:
        return float("nan")
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return float((ranks[relevant].sum() - positive * (positive + 1) / 2) / (positive * negative))


def kept_at_recall(scores: Floats, relevant: Bools, recall: float = 0.98) -> float:
    """Share of blocks to keep so that ``recall`` of the relevant ones stay; NaN when none is. Shape: (blocks,) each."""
    if not relevant.any():
        return float("nan")
    return float((scores >= recall_threshold(scores, relevant, recall)).mean())


def recall_threshold(scores: Floats, relevant: Bools, recall: float) -> float:
    """The highest threshold that at least ``recall`` of the relevant blocks reach. Shape: (blocks,) each."""
    ranked = np.sort(scores[relevant])[::-1]
    return float(ranked[max(1, int(np.ceil(recall * len(ranked) - 1e-9))) - 1])


def precision_recall(scores: Floats, relevant: Bools, threshold: float = 0.5) -> tuple[float, float, float]:
    """Precision, recall and share kept at a threshold; NaN where there is nothing to divide by.

    Shape: (blocks,) each
    """
    kept = scores >= threshold
    right = float((kept & relevant).sum())
    precision = right / kept.sum() if kept.any() else float("nan")
    recall = right / relevant.sum() if relevant.any() else float("nan")
    return float(precision), float(recall), float(kept.mean()) if len(kept) else float("nan")
