"""The predictor over pooled states: what entered the layer, and what its attention gave."""

import torch
from torch import Tensor

from blockskim.method.layer_view import LayerView
from blockskim.method.predictors.pooled import pooled_kind, pooled_states


def hidden_features(view: LayerView) -> Tensor:
    """Pooled states: a block's mean and maximum, its question's mean, of the layer's input and attention output.

    Shape: (blocks, 3 * (hidden + heads * head_dim))
    """
    return torch.cat([pooled_states(view, view.hidden), pooled_states(view, view.attn_output)], -1)


KIND = pooled_kind("hidden", hidden_features, first=lambda dims: 3 * dims.hidden)
