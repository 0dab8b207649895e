"""What inference asks of whatever computes logits: a model of PyTorch, or anything else that reads packed windows.

Everything on the way of a question but these logits is NumPy and plain Python.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from blockskim.data.packed_inputs import PackedInputs
from blockskim.data.tokens import FrozenTokenizer
from blockskim.method.confidence import ConfidenceModel
from blockskim.method.config import SkimConfig
from blockskim.method.cost import ModelCost, PredictorCost
from blockskim.method.skim_trace import AS_NEEDED, Asking, WindowScores

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@runtime_checkable
class Backend(Protocol):
    """What computes logits. ``BlockSkimForQuestionAnswering`` is one as it is; none has to inherit from this."""

    @property
    def skim_config(self) -> SkimConfig:
        """The skim settings."""

    @property
    def skim_layers(self) -> tuple[int, ...]:
        """Numbers of the layers that have a predictor, from 1."""

    @property
    def has_trained_predictors(self) -> bool:
        """Whether the predictors have learned something, so that blocks may be dropped by what they say."""

    @property
    def confidence(self) -> ConfidenceModel | None:
        """What turns scores into the probability that an answer is right; None where it was not calibrated."""

    @property
    def num_layers(self) -> int:
        """Number of layers of the encoder."""

    @property
    def position_limit(self) -> int | None:
        """The most tokens that a window may have; None when there is no such limit."""

    @property
    def number_format(self) -> str:
        """What it computes in: ``"float32"`` and so on."""

    @property
    def has_word_embeddings(self) -> bool:
        """Whether ``word_embeddings`` may be asked for."""

    def word_embeddings(self, ids: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
        """Word embeddings of some token ids, to choose what of long documents is read. Shape: (ids, width)."""

    @property
    def cost(self) -> ModelCost:
        """Arithmetic of each part per token."""

    def predictor_cost(self, layer: int, question_tokens: int) -> PredictorCost:
        """What the predictor of a layer costs on a window whose question has so many tokens."""

    def score_windows(
        self, inputs: PackedInputs, thresholds: float | Sequence[float] | None = None, asking: Asking = AS_NEEDED
    ) -> WindowScores:
        """Read windows, dropping blocks that predictors find irrelevant.

        Args:
            inputs: the windows; of those of one document at least one block survives.
            thresholds: None for the settings' own; a number for all layers; a sequence with one per layer that has a
                predictor. 0 keeps all.
            asking: which predictors are asked.

        Raises:
            ConfigError: a threshold is impossible, or the predictors to be asked were never trained.
        """


@runtime_checkable
class Fingerprinted(Protocol):
    """A backend whose results may be kept for later runs."""

    def fingerprint(self) -> str:
        """What tells it from others: the same where its results are the same under the same settings."""


@dataclass(frozen=True, slots=True)
class LoadedBackend:
    """A backend that is ready to answer, and what belongs to it.

    Attributes:
        model: the backend.
        tokenizer: its tokenizer.
        name: directory or hub id that it came from.
        hub: arguments by which it was read from the hub.
    """

    model: Backend
    tokenizer: "PreTrainedTokenizerBase | FrozenTokenizer"
    name: str
    hub: Mapping[str, Any] = field(default_factory=dict)

    @property
    def skims(self) -> bool:
        """Whether it has trained predictors; False for a plain QA checkpoint, which reads everything."""
        return self.model.has_trained_predictors
