"""Block-Skim: extractive question answering that drops irrelevant context blocks layer by layer.

Importing this package is quick: what it offers is imported when it is first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

from blockskim.extras import torch_needed
from blockskim.model import auto_classes

if TYPE_CHECKING:
    from blockskim.calibration.calibrate import calibrate, calibrate_points
    from blockskim.calibration.targets import Target
    from blockskim.data.examples import Answer, Example
    from blockskim.data.reading import read_examples
    from blockskim.data.windows import WindowSettings, make_windows
    from blockskim.errors import BlockSkimError
    from blockskim.evaluation.evaluate import evaluate, evaluate_windows
    from blockskim.evidence.question_answerer import QuestionAnswerer
    from blockskim.exporting.export import export
    from blockskim.inference.loading import load
    from blockskim.integrations.transformers_pipeline import register_pipeline
    from blockskim.method.config import SkimConfig
    from blockskim.model.modeling import BlockSkimForQuestionAnswering
    from blockskim.training.recipe import Recipe
    from blockskim.training.train import train

__version__ = "0.1.0"

__all__ = [
    "Answer",
    "BlockSkimError",
    "BlockSkimForQuestionAnswering",
    "Example",
    "QuestionAnswerer",
    "Recipe",
    "SkimConfig",
    "Target",
    "WindowSettings",
    "__version__",
    "calibrate",
    "calibrate_points",
    "evaluate",
    "evaluate_windows",
    "export",
    "load",
    "make_windows",
    "read_examples",
    "register_pipeline",
    "train",
]

_HOMES = {
    "Answer": "blockskim.data.examples",
    "BlockSkimError": "blockskim.errors",
    "BlockSkimForQuestionAnswering": "blockskim.model.modeling",
    "Example": "blockskim.data.examples",
    "QuestionAnswerer": "blockskim.evidence.question_answerer",
    "Recipe": "blockskim.training.recipe",
    "SkimConfig": "blockskim.method.config",
    "Target": "blockskim.calibration.targets",
    "WindowSettings": "blockskim.data.windows",
    "calibrate": "blockskim.calibration.calibrate",
    "calibrate_points": "blockskim.calibration.calibrate",
    "evaluate": "blockskim.evaluation.evaluate",
    "evaluate_windows": "blockskim.evaluation.evaluate",
    "export": "blockskim.exporting.export",
    "load": "blockskim.inference.loading",
    "make_windows": "blockskim.data.windows",
    "read_examples": "blockskim.data.reading",
    "register_pipeline": "blockskim.integrations.transformers_pipeline",
    "train": "blockskim.training.train",
}

auto_classes.register()


def __getattr__(name: str) -> Any:
    """Import a public name from where it is defined.

    Raises:
        ConfigError: it needs PyTorch or transformers, which are not installed.
    """
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with torch_needed():
        value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names, imported or not."""
    return sorted({*globals(), *__all__})
