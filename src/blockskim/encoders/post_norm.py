"""The layer that BERT made common: attention, output projection, residual and norm, feed-forward, residual and norm."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class PostNormParts:
    """The parts of such a layer, so that it can be run without the modules around them. For inference: no dropout.

    Attributes:
        query: Shape: (hidden) to (heads * head_dim)
        key: likewise.
        value: likewise.
        output: projection of what attention gave.
        attention_norm: after the first residual.
        up: first linear layer of the feed-forward part.
        activation: after it.
        down: second linear layer.
        output_norm: after the second residual.
    """

    query: nn.Linear
    key: nn.Linear
    value: nn.Linear
    output: nn.Linear
    attention_norm: nn.LayerNorm
    up: nn.Linear
    activation: Callable[[Tensor], Tensor]
    down: nn.Linear
    output_norm: nn.LayerNorm

    @property
    def linears(self) -> tuple[nn.Linear, ...]:
        """All linear layers."""
        return self.query, self.key, self.value, self.output, self.up, self.down
