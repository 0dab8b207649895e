import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockskim.method.logistic import RIDGE, fit_logistic, softmax


def samples(seed, count=400, classes=3):
    random = np.random.default_rng(seed)
    features = np.concatenate([np.ones((count, 1)), random.normal(0.0, [1.0, 20.0], (count, 2))], axis=1)
    weights = random.normal(0.0, [[1.0, 1.0, 0.05]], (classes, 3))
    drawn = random.random((count, 1))
    return features, (softmax(features @ weights.T).cumsum(1) < drawn).sum(1).clip(max=classes - 1)


def gain(features, classes, weights):
    """What a fit makes as large as it can, of weights on features that were brought to one scale."""
    spread = np.abs(features).mean(0) + 1e-6
    chances = softmax(features @ weights.T)[np.arange(len(classes)), classes]
    return np.log(chances).mean() - RIDGE / 2 * ((weights * spread) ** 2).sum()


@given(seed=st.integers(0, 50), reference=st.integers(0, 2))
def test_nothing_near_a_fit_is_better(seed, reference):
    features, classes = samples(seed)
    weights = fit_logistic(features, classes, reference)
    assert (weights[reference] == 0).all()
    random = np.random.default_rng(seed)
    best = gain(features, classes, weights)
    for size in (1e-3, 1e-1):
        other = weights + size * random.normal(size=weights.shape) / [1.0, 1.0, 20.0]
        other[reference] = 0.0
        assert gain(features, classes, other) <= best


def test_of_two_classes_the_chance_is_a_sigmoid():
    features, classes = samples(3, 4000, classes=2)
    weights = fit_logistic(features, classes, 0)
    chances = 1 / (1 + np.exp(-features @ weights[1]))
    assert softmax(features @ weights.T)[:, 1] == pytest.approx(chances)
    assert chances.mean() == pytest.approx(classes.mean(), abs=0.01)


def test_classes_that_can_be_told_apart_have_a_fit():
    features = np.array([[1.0, value] for value in np.linspace(-1, 1, 40)])
    weights = fit_logistic(features, (features[:, 1] > 0).astype(int), 0)
    assert np.isfinite(weights).all()
