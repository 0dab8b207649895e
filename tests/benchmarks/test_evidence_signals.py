"""``benchmarks/evidence_signals.py``: what is left out has no weight, and a fold does not see its questions."""

from types import SimpleNamespace

import numpy as np
import pytest

from blockskim.method.evidence import FEATURES


@pytest.fixture
def known(script):
    """Tasks of 40 sentences, of which those that share words with the question are evidence."""
    sentences_of = script("evidence").Sentences
    chance = np.random.default_rng(0)

    def task():
        features = chance.normal(size=(40, len(FEATURES)))
        features[:, 0] = 1.0
        needed = [np.array([place]) for place in np.flatnonzero(features[:, FEATURES.index("shared")] > 0.8)]
        signals = SimpleNamespace(features=features, read=np.ones(40, dtype=np.bool_))
        run = SimpleNamespace(signals=[signals])
        sentences = sentences_of(["a sentence"] * 40, np.full(40, 7), needed, every=True)
        return sentences, run, run

    return {"set": [task() for _ in range(20)]}


def test_what_is_left_out_has_no_weight(script, known):
    signals = script("evidence_signals")
    every = signals.fitted(known, set(FEATURES), None)
    without = signals.fitted(known, set(FEATURES) - {"shared"}, None)
    assert every.weights[FEATURES.index("shared")] > 1
    assert without.weights[FEATURES.index("shared")] == 0


def test_signals_that_tell_evidence_find_it(script, known):
    found = script("evidence_signals").measured(known, {"again": known["set"]}, set(FEATURES))
    assert found.keys() == {"set", "again"}
    assert found["set"]["recall_at_50"] == 1.0
    blind = script("evidence_signals").measured(known, {}, {"one"})
    assert blind["set"]["tokens_at_95"] > found["set"]["tokens_at_95"]


def test_a_fold_does_not_see_its_questions(script, known):
    signals = script("evidence_signals")
    fits = [signals.fitted(known, set(FEATURES), fold).weights for fold in range(signals.FOLDS)]
    assert len(set(fits)) == signals.FOLDS
