"""The predictor over pooled attention output alone, the cheapest of all."""

from torch import Tensor

from blockskim.method.layer_view import LayerView
from blockskim.method.predictors.pooled import pooled_kind, pooled_states


def attended_features(view: LayerView) -> Tensor:
    """Pooled attention output: a block's mean and maximum, its question's mean.

    It holds what tokens found out about each other in this layer. Shape: (blocks, 3 * heads * head_dim)
    """
    return pooled_states(view, view.attn_output)


KIND = pooled_kind("attended", attended_features, first=lambda dims: 0)
