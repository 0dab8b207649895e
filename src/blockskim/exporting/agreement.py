"""How closely an exported graph computes what PyTorch computes, on text of the library's own."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from blockskim.data.examples import Example
from blockskim.data.tokens import FrozenTokenizer
from blockskim.data.windows import make_windows
from blockskim.exporting.exported_model import ExportedModel
from blockskim.inference.runner import Thresholds, WindowBatch, run_windows
from blockskim.inference.window_settings import usual_window_settings
from blockskim.model.modeling import BlockSkimForQuestionAnswering

QUESTION = "How many nests did they count in 2024?"

TEXT = (
    "The ferry leaves the harbour at seven, and again at noon. A man walks by the sea and looks at the water. "
    "In 2024 they counted 2,500 nests of the red kite between the coast and the hills, more than ever before! "
)

REPEATS = (1, 4, 20)
"""How often the text stands in each example: a block or two, some blocks, more than one window."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """What both engines make of the same windows.

    Attributes:
        windows: how many were run.
        largest_difference: between two logits, where everything is read.
        same_blocks: share of the blocks of which both say the same at the model's own thresholds, kept or dropped, in
            every layer that asks. None for a model that drops nothing.
    """

    windows: int
    largest_difference: float
    same_blocks: float | None


def measure_agreement(
    model: BlockSkimForQuestionAnswering, exported: ExportedModel, tokenizer: FrozenTokenizer
) -> Agreement:
    """Run windows of several lengths with a model and with the graph that was made of it.

    Args:
        model: in evaluation mode, in float32, on a CPU.
        exported: the graph.
        tokenizer: of both.
    """
    examples = [
        Example(id=str(number), question=QUESTION, context=TEXT * count) for number, count in enumerate(REPEATS)
    ]
    windows = make_windows(examples, tokenizer, usual_window_settings(model, tokenizer))

    def run(backend: BlockSkimForQuestionAnswering | ExportedModel, thresholds: Thresholds) -> list[WindowBatch]:
        return list(run_windows(backend, windows, batch_size=len(windows), thresholds=thresholds))

    dense = list(zip(run(model, 0.0), run(exported, 0.0), strict=True))
    largest = max(
        _largest_difference(getattr(ours.scores, name), getattr(theirs.scores, name))
        for ours, theirs in dense
        for name in ("start_logits", "end_logits")
    )
    if not (model.has_trained_predictors and np.any(np.asarray(model.skim_config.thresholds) > 0)):
        return Agreement(len(windows), largest, None)
    same = [
        (ours.scores.trace.kept == theirs.scores.trace.kept)[~np.isnan(ours.scores.trace.probabilities)]
        for ours, theirs in zip(run(model, None), run(exported, None), strict=True)
    ]
    return Agreement(len(windows), largest, float(np.concatenate(same).mean()))


def _largest_difference(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> float:
    """Of the logits that are there. Shape: (windows, tokens) each."""
    there = np.isfinite(ours) & np.isfinite(theirs)
    return float(np.abs(ours[there] - theirs[there]).max(initial=0.0))
