"""What a run costs, counted where windows are scored."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blockskim.data.packed_inputs import PackedInputs
from blockskim.inference.backend import Backend
from blockskim.method.confidence import ConfidenceModel
from blockskim.method.config import SkimConfig
from blockskim.method.cost import ModelCost, PredictorCost
from blockskim.method.skim_trace import AS_NEEDED, Asking, SkimTrace, WindowScores


@dataclass(slots=True)
class Meter:
    """Sums over windows.

    Attributes:
        windows: number of windows that were read.
        tokens: tokens in them, questions and special tokens included.
        tokens_kept: those of them that were still there after the last layer.
        flops: operations spent.
        dense_flops: operations of the plain model on the same windows.
        seconds: time of the model.
    """

    windows: int = 0
    tokens: int = 0
    tokens_kept: int = 0
    flops: int = 0
    dense_flops: int = 0
    seconds: float = 0.0

    def add(self, trace: SkimTrace, seconds: float) -> None:
        """Count the windows of a batch."""
        self.windows += len(trace.tokens)
        self.tokens += int(trace.tokens.sum())
        self.tokens_kept += int(tokens_left(trace).sum())
        self.flops += int(trace.flops.sum())
        self.dense_flops += int(trace.dense_flops.sum())
        self.seconds += seconds


def tokens_left(trace: SkimTrace) -> NDArray[np.int64]:
    """Tokens of each window after the last layer: none of a window that lost all its blocks. Shape: (batch,)."""
    if not len(trace.kept):
        return trace.tokens
    sizes = trace.layout.lengths * trace.layout.droppable
    kept = trace.kept[-1]
    gone = trace.layout.droppable.any(-1) & ~kept.any(-1)
    left: NDArray[np.int64] = np.where(gone, 0, trace.tokens - sizes.sum(-1) + (sizes * kept).sum(-1))
    return left


class MeteredBackend:
    """A backend that counts what another one does, and is that one otherwise."""

    def __init__(self, backend: Backend) -> None:
        """Count on ``meter``, which may be replaced at any time."""
        self.meter = Meter()
        self._backend = backend

    @property
    def skim_config(self) -> SkimConfig:
        """The skim settings."""
        return self._backend.skim_config

    @property
    def skim_layers(self) -> tuple[int, ...]:
        """Numbers of the layers that have a predictor, from 1."""
        return self._backend.skim_layers

    @property
    def has_trained_predictors(self) -> bool:
        """Whether blocks may be dropped by what the predictors say."""
        return self._backend.has_trained_predictors

    @property
    def confidence(self) -> ConfidenceModel | None:
        """What turns scores into the probability that an answer is right."""
        return self._backend.confidence

    @property
    def num_layers(self) -> int:
        """Number of layers of the encoder."""
        return self._backend.num_layers

    @property
    def position_limit(self) -> int | None:
        """The most tokens that a window may have; None when there is no such limit."""
        return self._backend.position_limit

    @property
    def number_format(self) -> str:
        """What it computes in."""
        return self._backend.number_format

    @property
    def has_word_embeddings(self) -> bool:
        """Whether ``word_embeddings`` may be asked for."""
        return self._backend.has_word_embeddings

    def word_embeddings(self, ids: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
        """Word embeddings of some token ids. Shape: (ids, width)."""
        return self._backend.word_embeddings(ids)

    @property
    def cost(self) -> ModelCost:
        """Arithmetic of each part per token."""
        return self._backend.cost

    def predictor_cost(self, layer: int, question_tokens: int) -> PredictorCost:
        """What the predictor of a layer costs on a window whose question has so many tokens."""
        return self._backend.predictor_cost(layer, question_tokens)

    def score_windows(
        self, inputs: PackedInputs, thresholds: float | Sequence[float] | None = None, asking: Asking = AS_NEEDED
    ) -> WindowScores:
        """Read windows, and count them."""
        started = time.perf_counter()
        scores = self._backend.score_windows(inputs, thresholds, asking)
        self.meter.add(scores.trace, time.perf_counter() - started)
        return scores
