"""A random model whose answers are taken for right, and windows for it."""

import random
from dataclasses import replace

import pytest

from blockskim.calibration.record import record
from blockskim.calibration.simulator import Simulator
from blockskim.data.examples import Example
from blockskim.data.windows import WindowSettings, make_windows
from blockskim.evaluation.evaluate import evaluate_windows
from tiny_answerers import new_model
from tiny_tokenizers import WORDS, fixed_tokenizer


@pytest.fixture(scope="package")
def model():
    return new_model()


@pytest.fixture(scope="package")
def windows(model):
    choose = random.Random(0)
    words = [word for word in WORDS if word.isalpha()]
    texts = [" ".join(choose.choice(words) for _ in range(choose.randint(40, 90))) for _ in range(30)]
    examples = [
        Example(str(number), "when ?", text, (), ("?",), metadata=(("format", "squad"), ("version", "1.1")))
        for number, text in enumerate(texts)
    ]
    settings = WindowSettings(80, 10, 10)
    tokenizer = fixed_tokenizer("wordpiece")
    found = evaluate_windows(model, make_windows(examples, tokenizer, settings), 8, 0.0).predictions
    return make_windows([replace(one, references=(found[one.id],)) for one in examples], tokenizer, settings)


@pytest.fixture(scope="package")
def recording(model, windows):
    return record(model, windows, 8, 30)


@pytest.fixture(scope="package")
def simulator(model, windows, recording):
    """Of predictors that cost nothing but FLOPs, as asking a tiny model costs more than it saves."""
    return Simulator(model, windows, recording, overhead=0.0)
