"""Skim predictors: small networks that tell relevant blocks from irrelevant ones."""

from typing import Any

import torch
from torch import Tensor, nn

from blockskim.kernels.dims import LayerDims
from blockskim.method.config import SkimConfig
from blockskim.method.cost import PredictorCost
from blockskim.method.layer_view import LayerView
from blockskim.method.predictors import attended, hidden, match, question, tiles

KINDS = {kind.name: kind for kind in (tiles.KIND, question.KIND, hidden.KIND, attended.KIND, match.KIND)}
"""Every kind of predictor by its name among the ``inputs`` of the settings."""


class SkimPredictor(nn.Module):
    """Scores the blocks of one layer from the inputs that the config names; several inputs add their logits.

    Attributes:
        branches: the network of each input, by the name of its kind.
        wants_attention: whether any of them looks at attention probabilities.
    """

    def __init__(self, config: SkimConfig, dims: LayerDims) -> None:
        """Make the branches for the config's inputs and the layer's sizes."""
        super().__init__()
        self.branches = nn.ModuleDict({name: KINDS[name].network(config, dims) for name in config.inputs})
        self.wants_attention = any(KINDS[name].wants_attention for name in config.inputs)

    def forward(self, view: LayerView) -> Tensor:
        """Logits of "irrelevant" and "relevant" for each block of the view. Shape: (blocks, 2)."""
        logits = [branch(_cast(KINDS[name].features(view), branch)) for name, branch in self.branches.items()]
        return logits[0] if len(logits) == 1 else torch.stack(logits).sum(0)


def keep_probabilities(logits: Tensor) -> Tensor:
    """Probability that a block is relevant, in float32, from logits (..., 2). Shape: (...)."""
    return (logits[..., 1].float() - logits[..., 0].float()).sigmoid()


def predictor_cost(config: SkimConfig, dims: LayerDims, question_tokens: int) -> PredictorCost:
    """What scoring the blocks of a sample costs whose question has ``question_tokens``.

    Counted are matrix products and convolutions, as PyTorch's counter does; products of queries and keys included.
    """
    costs = [KINDS[name].cost(config, dims, question_tokens) for name in config.inputs]
    return PredictorCost(sum(cost.block for cost in costs), sum(cost.sample for cost in costs))


def _cast(features: Any, branch: nn.Module) -> Any:
    if not isinstance(features, Tensor):
        return features
    weight = next(branch.parameters(), None)
    # Quantised layers have no parameters; they take float32.
    return features.to(torch.float32 if weight is None else weight.dtype)
