"""A model made ready for inference: its layers and predictors, made once and kept as long as its weights are the same.

What is ready is made from the weights of a moment. Every request compares them with those of now, which takes some
microseconds, and whatever no longer holds is made anew: the layers when one of them is another module or anything in
them changed, the predictors on their own when that holds for one of them. ``WeightSnapshot`` says which changes are
seen. A change of thresholds is none. Of weights that were made in ``torch.inference_mode`` no change can be seen, so
with these everything is made anew for every request, and a warning says so. ``clear`` frees everything; the model does
so when it goes into training and when gradients flow back through it, after which an optimizer may change weights
without a trace. Copies and pickles of a model begin with nothing ready.
"""

import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn
from transformers import PreTrainedModel

from blockskim.encoders import EncoderAdapter
from blockskim.errors import ModelError
from blockskim.model.for_inference import without_autocast
from blockskim.model.prepared_layers import PreparedLayer, prepare_layers
from blockskim.model.prepared_predictors import PreparedPredictor, prepare_predictor
from blockskim.model.weight_snapshot import WeightSnapshot, take_snapshot

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A model for inference, as its weights were when it was made.

    Attributes:
        layers: the encoder's layers in the order in which they run.
        predictors: by layer number.
        num_bytes: size of the weights that were copied for the layers.
    """

    layers: tuple[PreparedLayer, ...]
    predictors: Mapping[int, PreparedPredictor]
    num_bytes: int


@dataclass(frozen=True, slots=True)
class _Made:
    """What is ready, and the modules that it was made from."""

    prepared: Prepared
    layers: WeightSnapshot
    predictors: WeightSnapshot


class PreparedModel:
    """What of a model is ready for inference. Any number of threads may ask for it at once; one of them makes it."""

    def __init__(self) -> None:
        # One reference to something immutable: whoever reads it gets all parts of one making, or nothing.
        self._made: _Made | None = None
        self._warned = False
        self._lock = threading.Lock()

    def of(self, encoder: PreTrainedModel, adapter: EncoderAdapter, predictors: Mapping[int, nn.Module]) -> Prepared:
        """The layers and predictors as their weights are now.

        Args:
            encoder: the transformers encoder, in evaluation mode.
            adapter: of its family.
            predictors: by layer number.

        Raises:
            ModelError: a weight is not in memory, or one of a predictor is no finite number.
        """
        layers = adapter.layers(encoder)
        made = self._made
        if made is not None and made.layers.holds_for(layers) and made.predictors.holds_for(predictors.values()):
            return made.prepared
        del made  # a second reference would keep the old layers alive while new ones are made
        with self._lock, without_autocast(encoder.device):
            _check_in_memory(encoder, *predictors.values())
            return self._make(adapter, layers, predictors)

    def _make(
        self, adapter: EncoderAdapter, layers: Sequence[nn.Module], predictors: Mapping[int, nn.Module]
    ) -> Prepared:
        """Make what no longer holds; another thread may have done so in the meantime."""
        if self._made is not None and not self._made.layers.holds_for(layers):
            self._made = None  # freed now, so that old and new layers are never in memory together
        made = self._made
        if made is not None and made.predictors.holds_for(predictors.values()):
            return made.prepared
        # Snapshots come first: a weight that changes while it is read is then seen as a change.
        predictor_snapshot = take_snapshot(predictors.values())
        ready = {number: prepare_predictor(module) for number, module in predictors.items()}
        layer_snapshot = take_snapshot(layers) if made is None else made.layers
        ready_layers = prepare_layers(adapter, layers) if made is None else made.prepared.layers
        # A module that runs as several layers is one layer here, too.
        num_bytes = sum(layer.num_bytes for layer in {id(layer): layer for layer in ready_layers}.values())
        prepared = Prepared(ready_layers, ready, num_bytes)
        if not (self._warned or (layer_snapshot.has_account and predictor_snapshot.has_account)):
            self._warned = True
            logger.warning(
                "the model has weights that were made in torch.inference_mode, whose changes can't be seen, so every "
                "call makes all weights ready anew; load and convert models outside of it"
            )
        self._made = _Made(prepared, layer_snapshot, predictor_snapshot)
        return prepared

    @property
    def current(self) -> Prepared | None:
        """What is ready, whether or not it still holds; None while nothing is."""
        made = self._made
        return None if made is None else made.prepared

    @property
    def num_bytes(self) -> int:
        """Size of the weights that were copied; 0 while nothing is ready."""
        current = self.current
        return 0 if current is None else current.num_bytes

    def clear_after_backward(self, *results: Tensor | None) -> None:
        """Free everything once gradients have begun to flow back through any of these results.

        Then a step of an optimizer may follow, and fused ones leave no trace on the weights.
        """
        for result in results:
            if result is not None and result.requires_grad:
                result.register_hook(lambda _: self.clear())

    def clear(self) -> None:
        """Forget what is ready, and free its memory."""
        with self._lock:
            self._made = None

    def __deepcopy__(self, memo: object) -> "PreparedModel":
        """Nothing of it: a copy of the model has weights of its own."""
        return PreparedModel()

    def __reduce__(self) -> tuple[type, tuple[()]]:
        """Nothing of it goes into a pickle."""
        return PreparedModel, ()


def _check_in_memory(*modules: nn.Module) -> None:
    """Refuse weights that are kept elsewhere until they are needed: here they are needed all at once.

    Raises:
        ModelError: there is such a weight.
    """
    for module in modules:
        for name, weight in module.named_parameters():
            if weight.is_meta:
                raise ModelError(
                    f"the weight {name!r} is not in memory (a meta tensor, as accelerate's offloading leaves it), and "
                    "skim() needs all of them there"
                )
