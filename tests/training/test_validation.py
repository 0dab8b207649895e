"""What checkpoints are compared by."""

import copy
import random

import numpy as np
import pytest
import torch

from blockskim.data.examples import Answer, Example
from blockskim.data.windows import WindowSettings, make_windows
from blockskim.errors import DataError
from blockskim.training.validation import development_metrics
from tiny_answerers import new_model
from tiny_tokenizers import WORDS, fixed_tokenizer


@pytest.fixture(scope="module")
def windows():
    choose = random.Random(0)
    words = [word for word in WORDS if word.isalpha()]
    texts = [" ".join(choose.choice(words) for _ in range(40)) for _ in range(12)]
    examples = [
        Example(str(number), "when ?", text, (Answer(text[20:25], 20),), (text[20:25],))
        for number, text in enumerate(texts)
    ]
    return make_windows(examples, fixed_tokenizer("wordpiece"), WindowSettings(80, 10, 10))


def contrary(model):
    """The same model with predictors that say the opposite."""
    other = copy.deepcopy(model)
    with torch.no_grad():
        for predictor in other.predictors.values():
            for branch in predictor.branches.values():
                for value in (getattr(branch, "decide", None) or branch[-1]).parameters():
                    value.copy_(value.flip(0))
    return other


def test_of_equal_f1_the_better_predictors_decide(windows):
    metrics = development_metrics(windows, 8, 30)
    model = new_model()
    one, other = metrics(model), metrics(contrary(model))
    layers = model.skim_layers
    assert one["f1"] == other["f1"]
    areas = [[found[f"auc_{layer}"] for layer in layers] for found in (one, other)]
    np.testing.assert_allclose(np.add(*areas), 1.0, atol=1e-4)
    better, worse = sorted((one, other), key=lambda found: sum(found[f"auc_{layer}"] for layer in layers), reverse=True)
    assert better["selection"] > worse["selection"]
    # No predictors are worth a hundredth of F1.
    assert all(found["f1"] < found["selection"] < found["f1"] + 0.01 for found in (one, other))


def test_files_that_were_taken_for_one_are_refused_before_the_training(windows):
    twice = make_windows([*windows.examples, windows.examples[0]], fixed_tokenizer("wordpiece"), windows.settings)
    with pytest.raises(DataError, match="two questions of id '0' can't be scored as one file"):
        development_metrics(twice, 8, 30)
