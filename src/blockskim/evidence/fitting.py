"""Fitting what scores sentences, on sentences of which it is known whether they are evidence."""

import numpy as np
from numpy.typing import NDArray

from blockskim.errors import DataError
from blockskim.method.evidence import EvidenceModel
from blockskim.method.logistic import FEWEST, fit_logistic


def fit_evidence(known: NDArray[np.float64], is_evidence: NDArray[np.bool_]) -> EvidenceModel:
    """The most likely model, and the threshold with the best F1 of sentences.

    Args:
        known: what the model sees of sentences, as ``features`` gives it. Shape: (sentences, features)
        is_evidence: Shape: (sentences,)

    Raises:
        DataError: there are too few sentences that are evidence, or that are none.
    """
    positive = int(is_evidence.sum())
    if min(positive, len(is_evidence) - positive) < FEWEST:
        raise DataError(
            f"what tells evidence is learned from at least {FEWEST} sentences that are some and {FEWEST} that are not; "
            f"these data have {positive} and {len(is_evidence) - positive}"
        )
    weights = fit_logistic(known, is_evidence.astype(np.int64), reference=0)[1]
    fitted = EvidenceModel(tuple(weights))
    return EvidenceModel(fitted.weights, best_threshold(fitted.scores(known), is_evidence))


def best_threshold(scores: NDArray[np.float64], is_evidence: NDArray[np.bool_]) -> float:
    """The threshold with the best F1, in the middle between the scores of two sentences.

    Shapes: (sentences,), (sentences,)
    """
    order = np.argsort(-scores, kind="stable")
    found = np.cumsum(is_evidence[order])
    f1 = 2 * found / (np.arange(1, len(order) + 1) + is_evidence.sum())
    # Between equals there is no threshold.
    f1[:-1][scores[order][:-1] == scores[order][1:]] = -1.0
    best = int(np.argmax(f1))
    bounds = np.append(scores[order], 0.0)
    return float((bounds[best] + bounds[best + 1]) / 2)
