"""Where tokens stand in their input, and what the attention of a family makes of it.

Some families rotate queries and keys by their position, add a bias to the scores that depends on the distance, or let
a layer see no further than a window. Positions are always those of the whole input: what was dropped leaves gaps.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from blockskim.attention import Bias
from blockskim.encoders import EncoderAdapter


class Placement:
    """The positions of the tokens that run together, and what was made of them so far.

    What depends on positions alone is made once for all layers that are alike.
    """

    def __init__(
        self,
        encoder: PreTrainedModel,
        adapter: EncoderAdapter,
        positions: Tensor,
        groups: Sequence[Tensor],
        span: int,
    ) -> None:
        """Take the positions of tokens.

        Args:
            encoder: the transformers encoder.
            adapter: of its family.
            positions: in its input, of every token. Shape: (tokens,)
            groups: flat indices of the tokens that attend to each other, all groups together or one after the other.
                Shape: (..., length) each
            span: the largest distance between positions that attend to each other.
        """
        self._encoder = encoder
        self._adapter = adapter
        self._positions = positions
        self._groups = groups
        self._span = span
        self._rotations: dict[float, tuple[Tensor, Tensor]] = {}
        self._biases: dict[int | None, list[Tensor]] = {}

    def rotate(self, layer: nn.Module, query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
        """Rotate queries and keys by their positions, in families that do. Shapes: (tokens, heads, head_dim)."""
        if self._adapter.rotary_base is None:
            return query, key
        base = self._adapter.rotary_base(layer)
        if base not in self._rotations:
            self._rotations[base] = rotation(self._positions, base, query.shape[-1])
        return rotated(query, *self._rotations[base]), rotated(key, *self._rotations[base])

    def bias(self, layer: nn.Module) -> Bias | None:
        """What is added to the scores of a layer between any tokens, named by flat indices; None for nothing."""
        between = self._between(layer)
        if between is None:
            return None
        return lambda rows, columns: between(self._positions[rows], self._positions[columns])

    def biases(self, layer: nn.Module) -> list[Tensor] | None:
        """The same within each group; None for nothing. Shape: (..., heads or 1, length, length) each."""
        between = self._between(layer)
        if between is None:
            return None
        window = self._window(layer)
        if window not in self._biases:
            places = [self._positions[group] for group in self._groups]
            self._biases[window] = [between(place, place) for place in places]
        return self._biases[window]

    def _window(self, layer: nn.Module) -> int | None:
        """How far a layer sees, if there is anything further away."""
        window = None if self._adapter.window is None else self._adapter.window(layer)
        return None if window is None or window >= self._span else window

    def _between(self, layer: nn.Module) -> Callable[[Tensor, Tensor], Tensor] | None:
        """The bias as a function of positions.

        Shapes: (..., rows), (..., columns) to (..., heads or 1, rows, columns)
        """
        window, encoder, position_bias = self._window(layer), self._encoder, self._adapter.position_bias
        if window is not None and position_bias is not None:
            return lambda rows, columns: position_bias(encoder, rows, columns) + window_bias(rows, columns, window)
        if window is not None:
            return lambda rows, columns: window_bias(rows, columns, window)
        if position_bias is not None:
            return lambda rows, columns: position_bias(encoder, rows, columns)
        return None


def depends_on_positions(adapter: EncoderAdapter) -> bool:
    """Whether attention in a family knows where tokens stand; in others the embedding alone does."""
    return not (adapter.rotary_base is None and adapter.position_bias is None and adapter.window is None)


def rotation(positions: Tensor, base: float, head_dim: int) -> tuple[Tensor, Tensor]:
    """Cosine and sine of the angles of rotary position embeddings (Su et al., 2021), in float32.

    A pair of entries turns by ``position / base ** (2 * pair / head_dim)``.

    Args:
        positions: Shape: (tokens,)
        base: the larger, the slower the last pairs turn.
        head_dim: entries of a query; an even number.

    Returns:
        Shape: (tokens, 1, head_dim / 2) each
    """
    exponents = torch.arange(0, head_dim, 2, dtype=torch.float32, device=positions.device) / head_dim
    angles = positions[:, None, None].float() * (1.0 / base**exponents)
    return angles.cos(), angles.sin()


def rotated(states: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Turn queries or keys; an entry of the first half makes a pair with that of the second half.

    Computed in float32 at least. Shapes: (tokens, heads, head_dim), (tokens, 1, head_dim / 2) twice
    """
    first, second = states.to(torch.promote_types(states.dtype, cosine.dtype)).chunk(2, -1)
    turned = torch.cat([first * cosine - second * sine, second * cosine + first * sine], -1)
    return turned.to(states.dtype)


def window_bias(rows: Tensor, columns: Tensor, window: int) -> Tensor:
    """0 between positions at most ``window`` apart, -inf beyond.

    Shapes: (..., rows), (..., columns) to (..., 1, rows, columns)
    """
    far = (rows[..., :, None] - columns[..., None, :]).abs() > window
    bias = torch.zeros(far.shape, device=far.device).masked_fill_(far, -torch.inf)
    return bias.unsqueeze(-3)
