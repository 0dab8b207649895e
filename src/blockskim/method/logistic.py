"""Multinomial logistic regression, fitted by Newton's method."""

import numpy as np
from numpy.typing import NDArray

FEWEST = 20
"""Samples of each class that a fit needs to mean something."""

RIDGE = 1e-3
"""Weight of the squared weights beside the mean log-likelihood, so that a fit exists for any data."""

STEPS = 100


def fit_logistic(features: NDArray[np.float64], classes: NDArray[np.integer], reference: int) -> NDArray[np.float64]:
    """The most likely weights of each class.

    Args:
        features: what is known of each sample. Shape: (samples, features)
        classes: the class of each, from 0. Shape: (samples,)
        reference: the class that the others are compared with; its weights are 0.

    Returns:
        Shape: (classes, features)
    """
    # The problem is convex with a ridge, and small: a solver of another library would be a dependency for 30 lines.
    spread = np.abs(features).mean(0) + 1e-6
    scaled, count = features / spread, max(int(classes.max(initial=0)), reference) + 1
    wanted = np.eye(count)[classes]
    free = [number for number in range(count) if number != reference]
    weights = np.zeros((count, features.shape[1]))
    for _ in range(STEPS):
        chances = softmax(scaled @ weights.T)
        gradient = (chances - wanted).T @ scaled / len(scaled) + RIDGE * weights
        curvature = np.block(
            [
                [
                    (scaled * (chances[:, one] * ((one == two) - chances[:, two]))[:, None]).T @ scaled / len(scaled)
                    for two in free
                ]
                for one in free
            ]
        ) + RIDGE * np.eye(len(free) * features.shape[1])
        step = np.linalg.solve(curvature, gradient[free].ravel()).reshape(len(free), -1)
        # Newton's steps are too long where nearly all outcomes are certain.
        weights[free] -= step * min(1.0, 2.0 / (np.abs(step).max() + 1e-12))
        if np.abs(step).max() < 1e-8:
            break
    fitted: NDArray[np.float64] = weights / spread
    return fitted


def softmax(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities that add to 1 along the last dimension. Shape: (…, classes)."""
    weights = np.exp(values - values.max(-1, keepdims=True))
    probabilities: NDArray[np.float64] = weights / weights.sum(-1, keepdims=True)
    return probabilities
