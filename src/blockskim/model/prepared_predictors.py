"""Skim predictors made ready for inference: from a view of a layer straight to keep probabilities.

All networks but those over tiles run in float32 whatever the model does: they are so small that everything but the
arithmetic counts, and float32 has neither conversions nor kernels that are made anew for every number of blocks.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import is_
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blockskim.method.layer_view import LayerView
from blockskim.method.predictors.match import MatchPredictor, match_margin
from blockskim.method.predictors.predictor import PooledPredictor, SkimPredictor, keep_probabilities
from blockskim.model.weight_snapshot import WeightSnapshot, take_snapshot

BLOCKS = 8
"""Networks of other kinds judge blocks in multiples of so many: for every number of them oneDNN makes a kernel."""


@dataclass(frozen=True, slots=True)
class PreparedPredictor:
    """A predictor for inference.

    Attributes:
        probabilities: keep probability of each block of a view, float32. Shape: (blocks,)
        wants_attention: whether the view has to have attention probabilities.
    """

    probabilities: Callable[[LayerView], Tensor]
    wants_attention: bool


class PreparedPredictors:
    """The predictors of a model for inference, made anew when their weights have changed."""

    def __init__(self) -> None:
        self._prepared_predictors: dict[int, PreparedPredictor] = {}
        self._modules: tuple[nn.Module, ...] = ()
        self._watch: WeightSnapshot | None = None

    def of(self, predictors: Mapping[int, nn.Module]) -> Mapping[int, PreparedPredictor]:
        """By layer number, as the weights are now; ``WeightSnapshot`` says which changes are noticed."""
        modules = tuple(predictors.values())
        same = len(modules) == len(self._modules) and all(map(is_, modules, self._modules))
        if not same or self._watch is None or self._watch.changed():
            self._modules = modules
            self._watch = take_snapshot(modules)
            self._prepared_predictors = {number: prepare_predictor(module) for number, module in predictors.items()}
        return self._prepared_predictors

    def clear(self) -> None:
        """Forget the predictors."""
        self._prepared_predictors, self._modules, self._watch = {}, (), None

    def __deepcopy__(self, memo: object) -> "PreparedPredictors":
        """Nothing of it: a copy of the model has weights of its own."""
        return PreparedPredictors()

    def __reduce__(self) -> tuple[type, tuple[()]]:
        """Nothing of it goes into a pickle."""
        return PreparedPredictors, ()


def prepare_predictor(predictor: nn.Module) -> PreparedPredictor:
    """Make a predictor ready; anything but a ``SkimPredictor`` is called as it is."""
    if not isinstance(predictor, SkimPredictor):
        wants_attention = bool(getattr(predictor, "wants_attention", True))
        return PreparedPredictor(lambda view: keep_probabilities(predictor(view)), wants_attention)
    sources = [(features, _margin_of(branch)) for features, branch in predictor.sources()]

    def probabilities(view: LayerView) -> Tensor:
        margins = [margin(features(view)) for features, margin in sources]
        return torch.sigmoid(margins[0] if len(margins) == 1 else torch.stack(margins).sum(0))

    return PreparedPredictor(probabilities, predictor.wants_attention)


def _margin_of(branch: nn.Module) -> Callable[[Any], Tensor]:
    """From what a branch takes to "relevant" minus "irrelevant" of each block."""
    if isinstance(branch, PooledPredictor):
        return _pooled_margin(branch)
    return match_margin(branch) if isinstance(branch, MatchPredictor) else _margin(branch)


def _pooled_margin(branch: PooledPredictor) -> Callable[[Tensor], Tensor]:
    """Features to "relevant" minus "irrelevant". Shapes: (blocks, features) to (blocks,)."""
    norm, widen, decide = branch[0], branch[1], branch[3]
    assert isinstance(widen, nn.Linear) and isinstance(decide, nn.Linear)
    weight, bias = widen.weight.detach().float().t().contiguous(), widen.bias.detach().float()
    difference = decide.weight.detach().float()[1] - decide.weight.detach().float()[0]
    offset = float(decide.bias.detach().float()[1] - decide.bias.detach().float()[0])
    scales = (norm.weight.detach().float(), norm.bias.detach().float()) if isinstance(norm, nn.LayerNorm) else None

    def margin(features: Tensor) -> Tensor:
        rows = features.float()
        if scales is not None:
            rows = F.layer_norm(rows, rows.shape[1:], *scales)
        return torch.mv(torch.addmm(bias, rows, weight).relu_(), difference).add_(offset)

    return margin


def _margin(branch: nn.Module) -> Callable[[Tensor], Tensor]:
    """Features to "relevant" minus "irrelevant". Shapes: (blocks, ...) to (blocks,)."""
    dtype = next(branch.parameters()).dtype

    def margin(features: Tensor) -> Tensor:
        blocks = len(features)
        filled = features.new_zeros((-blocks % BLOCKS, *features.shape[1:]))
        logits = branch(torch.cat([features, filled]).to(dtype)).float()
        return logits[:blocks, 1] - logits[:blocks, 0]

    return margin
