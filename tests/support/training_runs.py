"""Settings of short training runs, and a way to kill one."""

from contextlib import contextmanager

import pytest

from blockskim.training.recipe import Recipe


def short_recipe(**settings):
    """A recipe for tiny models, with other settings where they are given."""
    values = {
        "skim": {"block_size": 8, "predictor_width": 16, "skim_factor": 0.5},
        "windows": {"max_length": 80, "doc_stride": 10, "max_question_length": 10},
        "epochs": 3,
        "batch_size": 8,
        "learning_rate": 3e-3,
        "head_learning_rate": 3e-3,
        "hidden_dropout": 0.05,
        "precision": "float32",
    }
    return Recipe.from_dict(values | settings)


@contextmanager
def killed_by(training, callback):
    """Runs of the module ``training`` get a callback that kills them."""
    original = training.SkimTrainer.__init__

    def stopping(self, *args, **kwargs):
        original(self, *args, **kwargs)
        self.add_callback(callback)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(training.SkimTrainer, "__init__", stopping)
        yield
