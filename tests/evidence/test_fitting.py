import numpy as np
import pytest

from blockskim.errors import DataError
from blockskim.evidence.fitting import best_threshold, fit_evidence
from blockskim.method.evidence import FEATURES, EvidenceModel, features


def test_known_weights_are_found_again():
    chance = np.random.default_rng(0)
    known = np.concatenate([np.ones((20_000, 1)), chance.normal(size=(20_000, 6))], axis=1)
    true = EvidenceModel((-1.0, 2.0, -0.5, 0.25, 0.5, 1.0, -1.0))
    fitted = fit_evidence(known, chance.random(20_000) < true.scores(known))
    assert np.allclose(fitted.weights, true.weights, atol=0.1)
    assert 0.2 < fitted.threshold < 0.6


def test_what_is_certain_has_finite_weights():
    known = np.stack([np.ones(80), np.repeat([-5.0, 5.0], 40), *np.zeros((5, 80))], axis=1)
    fitted = fit_evidence(known, known[:, 1] > 0)
    assert np.isfinite(fitted.weights).all()
    assert fitted.scores(known)[0] < 0.05 < 0.95 < fitted.scores(known)[-1]
    assert fitted.scores(known)[0] < fitted.threshold < fitted.scores(known)[-1]


def test_the_threshold_is_between_two_scores():
    scores = np.array([0.9, 0.8, 0.4, 0.4, 0.1])
    assert best_threshold(scores, np.array([1, 1, 0, 0, 0], bool)) == pytest.approx(0.6)
    assert best_threshold(scores, np.array([1, 1, 1, 0, 0], bool)) == pytest.approx(0.25)
    assert best_threshold(np.full(3, 0.5), np.array([1, 0, 0], bool)) == pytest.approx(0.25)


@pytest.mark.parametrize("positive", [0, 19, 61, 80])
def test_too_few_of_either_kind(positive):
    with pytest.raises(DataError, match=f"these data have {positive} and {80 - positive}"):
        fit_evidence(np.zeros((80, 7)), np.arange(80) < positive)


def test_features_of_sentences():
    keep = np.array([[0.5, np.nan, 1.0], [0.9, np.nan, np.nan]])
    known = features(keep, np.array([3.0, -np.inf, 99.0]), np.array([0.25, 0.5, 1.0]), np.array([0, 1, 9]))
    assert known[:, 0].tolist() == [1, 1, 1]
    assert known[:, 1] == pytest.approx([np.log(9) / 2, 0.0, 10.0])
    assert known[:, 2].tolist() == [0, 1, 0]
    assert known[:, 3].tolist() == [3, 0, 20]
    assert known[:, 4].tolist() == [10, 10, 10]
    assert known[:, 5].tolist() == [0.25, 0.5, 1.0]
    assert known[:, 6] == pytest.approx(np.log([1, 2, 10]))
    unread = features(np.zeros((0, 2)), np.zeros(2), np.zeros(2), np.ones(2, dtype=np.int64))
    assert unread.shape == (2, len(FEATURES))
    assert unread[:, FEATURES.index("text keep")].tolist() == [0, 0]
