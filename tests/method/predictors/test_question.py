import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blockskim.method.predictors.question import question_features
from layer_scenes import HEADS, Scene

some = settings(max_examples=max(5, settings.default.max_examples // 3))


def scaled_log(mass):
    return 1 - 2 * math.log(mass + 1e-4) / math.log(1e-4)


@some
@given(st.integers(0, 999))
def test_question_features_worked_out_entry_by_entry(seed):
    scene = Scene(seed=seed)
    features = question_features(scene.view).numpy()
    assert features.shape == (4, 6 * HEADS)
    for row, (start, length) in enumerate(scene.blocks):
        block, question = range(start, start + length), scene.questions[scene.samples[row]]
        expected = []
        for rows, columns in ((block, question), (question, block)):
            entries = [[[float(head[i, j]) for j in columns] for i in rows] for head in scene.matrix]
            masses = [[sum(line) for line in head] for head in entries]
            expected += [sum(head) / len(head) for head in masses]
            expected += [max(head) for head in masses]
            expected += [max(max(line) for line in head) for head in entries]
        np.testing.assert_allclose(features[row], [scaled_log(mass) for mass in expected], atol=2e-5)


@some
@given(st.integers(0, 999))
def test_question_features_lie_between_nothing_and_everything(seed):
    features = question_features(Scene(seed=seed).view)
    assert float(features.min()) >= -1.0 - 1e-6
    assert float(features.max()) <= 1.0 + 1e-4
    assert scaled_log(0) == -1.0
    assert scaled_log(1) == pytest.approx(1.0, abs=1e-4)
