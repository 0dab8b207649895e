"""Skim predictors made ready for inference: from a view of a layer straight to keep probabilities."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from blockskim.errors import ModelError
from blockskim.method.layer_view import LayerView
from blockskim.method.predictors.predictor import KINDS, SkimPredictor, keep_probabilities
from blockskim.model.plain_modules import is_plain


@dataclass(frozen=True, slots=True)
class PreparedPredictor:
    """A predictor for inference.

    Attributes:
        probabilities: keep probability of each block of a view, float32. Shape: (blocks,)
        wants_attention: whether the view has to have attention probabilities.
    """

    probabilities: Callable[[LayerView], Tensor]
    wants_attention: bool


def prepare_predictor(predictor: nn.Module) -> PreparedPredictor:
    """Make a predictor ready; anything but a ``SkimPredictor`` of plain layers is called as it is.

    Raises:
        ModelError: a weight of it is no finite number. An infinite one would keep or drop blocks without a trace.
    """
    for name, weight in [*predictor.named_parameters(), *predictor.named_buffers()]:
        if not bool(weight.isfinite().all()):
            raise ModelError(
                f"the model computes no numbers: its weights are damaged ({name!r} of a skim predictor is not finite)"
            )
    if not isinstance(predictor, SkimPredictor) or not _is_plain(predictor):
        wants_attention = bool(getattr(predictor, "wants_attention", True))
        return PreparedPredictor(lambda view: keep_probabilities(predictor(view)), wants_attention)
    kinds = [(KINDS[name], branch) for name, branch in predictor.branches.items()]
    branches = [(kind.features, kind.margin(branch)) for kind, branch in kinds]

    def probabilities(view: LayerView) -> Tensor:
        margins = [margin(features(view)) for features, margin in branches]
        return torch.sigmoid(margins[0] if len(margins) == 1 else torch.stack(margins).sum(0))

    return PreparedPredictor(probabilities, predictor.wants_attention)


def _is_plain(predictor: SkimPredictor) -> bool:
    """Whether its layers do what their weights say and no more; quantised ones and those with adapters don't."""
    plain = {SkimPredictor, nn.ModuleDict}.union(*(KINDS[name].modules for name in predictor.branches))
    return all(is_plain(part, plain) for part in predictor.modules())
