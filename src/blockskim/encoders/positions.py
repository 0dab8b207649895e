"""Where tokens stand in their input, and what the attention of a family makes of it.

Some families rotate queries and keys by their position, add to the scores what depends on the distance (and perhaps on
content), or let a layer see no further than a window. Positions are always those of the whole input: what was dropped
leaves gaps.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from blockskim.encoders import EncoderAdapter, RelativeAttention
from blockskim.kernels.attention_probabilities import Bias, take_rows


@dataclass(frozen=True, slots=True)
class Positioned:
    """Queries and keys of a layer with all that positions do to them.

    Attributes:
        query: rotated, in families that rotate. Shape: (tokens, heads, head_dim)
        key: rotated, in families that rotate. Shape: (tokens, heads, head_dim)
        biases: what is added to the scores within each sequence; None for nothing.
            Shape: (..., heads or 1, length, length) each
        bias_between: what is added to the scores between any tokens, named by flat indices; None for nothing.
    """

    query: Tensor
    key: Tensor
    biases: Sequence[Tensor] | None
    bias_between: Bias | None


class Positions:
    """The positions of the tokens that run together, and what was made of them so far.

    What depends on positions alone is made once for all layers that are alike.
    """

    def __init__(
        self,
        encoder: PreTrainedModel,
        adapter: EncoderAdapter,
        positions: Tensor,
        sequences: Sequence[Tensor],
        span: int,
    ) -> None:
        """Take the positions of tokens.

        Args:
            encoder: the transformers encoder.
            adapter: of its family.
            positions: in its input, of every token. Shape: (tokens,)
            sequences: flat indices of the tokens that attend to each other. Shape: (..., length) each
            span: the largest distance between positions that attend to each other.
        """
        self._encoder = encoder
        self._adapter = adapter
        self._positions = positions
        self._sequences = sequences
        self._span = span
        self._rotations: dict[float, tuple[Tensor, Tensor]] = {}
        self._biases: dict[int | None, list[Tensor]] = {}
        self._bucket_ids: list[Tensor] | None = None

    def apply(
        self, layer: nn.Module, query: Tensor, key: Tensor, scale: float, heads: Sequence[int] | None = None
    ) -> Positioned:
        """What positions do in a layer.

        Args:
            layer: of the encoder.
            query: Shape: (tokens, heads, head_dim)
            key: Shape: (tokens, heads, head_dim)
            scale: factor that is still to be put on the products of queries and keys.
            heads: which heads of those that it once had the layer still has, counted from 0; None for all. A position
                bias is made for all of them.
        """
        if self._adapter.rotary_base is not None:
            base = self._adapter.rotary_base(layer)
            if base not in self._rotations:
                self._rotations[base] = rotation(self._positions, base, query.shape[-1])
            query, key = (rotated(part, *self._rotations[base]) for part in (query, key))
        if self._adapter.relative is not None:
            return self._relative(self._adapter.relative, layer, query, key, scale)
        bias = self._by_position(layer)
        if bias is None:
            return Positioned(query, key, None, None)
        window, positions = self._window(layer), self._positions
        if window not in self._biases:
            self._biases[window] = [bias(own, own) for own in self._own_positions()]
        biases = self._biases[window]
        if heads is None:
            return Positioned(query, key, biases, lambda rows, columns: bias(positions[rows], positions[columns]))
        return Positioned(
            query,
            key,
            [_select_heads(part, heads) for part in biases],
            lambda rows, columns: _select_heads(bias(positions[rows], positions[columns]), heads),
        )

    def _own_positions(self) -> list[Tensor]:
        """Positions of the tokens of each sequence."""
        return [self._positions[sequence] for sequence in self._sequences]

    def _window(self, layer: nn.Module) -> int | None:
        """How far a layer sees, if there is anything further away."""
        window = None if self._adapter.sliding_window is None else self._adapter.sliding_window(layer)
        return None if window is None or window >= self._span else window

    def _by_position(self, layer: nn.Module) -> Bias | None:
        """The bias as a function of positions, for families in which it is one; None for nothing."""
        window, encoder, position_bias = self._window(layer), self._encoder, self._adapter.position_bias
        if position_bias is None:
            return None if window is None else lambda rows, columns: window_bias(rows, columns, window)
        if window is None:
            return lambda rows, columns: position_bias(encoder, rows, columns)
        return lambda rows, columns: position_bias(encoder, rows, columns) + window_bias(rows, columns, window)

    def _relative(
        self, relative: RelativeAttention, layer: nn.Module, query: Tensor, key: Tensor, scale: float
    ) -> Positioned:
        """Terms between content and relative position: each token with each bucket first, then those that occur."""
        keys, queries = relative.project(self._encoder, layer)
        # Shape: (tokens, heads, buckets) each
        of_rows = None if keys is None else torch.einsum("thd,nhd->thn", query, keys) * scale
        of_columns = (
            None if queries is None else torch.einsum("thd,nhd->thn", key, queries) * self._adapter.scale(layer)
        )
        if of_rows is None and of_columns is None:
            return Positioned(query, key, None, None)

        def bias_between(rows: Tensor, columns: Tensor) -> Tensor:
            bucket_ids = relative.bucket_ids(self._encoder, self._positions[rows], self._positions[columns])
            return relative_bias(of_rows, of_columns, rows, columns, bucket_ids)

        if self._bucket_ids is None:
            self._bucket_ids = [relative.bucket_ids(self._encoder, own, own) for own in self._own_positions()]
        biases = [
            relative_bias(of_rows, of_columns, sequence, sequence, bucket_ids)
            for sequence, bucket_ids in zip(self._sequences, self._bucket_ids, strict=True)
        ]
        return Positioned(query, key, biases, bias_between)


def depends_on_positions(adapter: EncoderAdapter) -> bool:
    """Whether attention in a family knows where tokens stand; in others the embedding alone does."""
    ways = (adapter.rotary_base, adapter.position_bias, adapter.sliding_window, adapter.relative)
    return any(way is not None for way in ways)


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
    bias = torch.zeros(far.shape, dtype=torch.float32, device=far.device).masked_fill_(far, -torch.inf)
    return bias.unsqueeze(-3)


def relative_bias(
    of_rows: Tensor | None, of_columns: Tensor | None, rows: Tensor, columns: Tensor, bucket_ids: Tensor
) -> Tensor:
    """Sum of the terms between content and relative position.

    Args:
        of_rows: scores of each token with each bucket, as a row of the scores. Shape: (tokens, heads, buckets)
        of_columns: scores of each token with each bucket, as a column. Shape: (tokens, heads, buckets)
        rows: flat indices of tokens. Shape: (..., rows)
        columns: flat indices of tokens. Shape: (..., columns)
        bucket_ids: bucket of the distance of each pair. Shape: (..., rows, columns)

    Returns:
        Shape: (..., heads, rows, columns)
    """
    terms = []
    if of_rows is not None:
        terms.append(_in_buckets(of_rows, rows, bucket_ids))
    if of_columns is not None:
        terms.append(_in_buckets(of_columns, columns, bucket_ids.transpose(-1, -2)).transpose(-1, -2))
    return terms[0] if len(terms) == 1 else terms[0] + terms[1]


def _in_buckets(scores: Tensor, tokens: Tensor, bucket_ids: Tensor) -> Tensor:
    """Shapes: (tokens, heads, buckets), (..., tokens), (..., tokens, others) to (..., heads, tokens, others)."""
    by_head = take_rows(scores, tokens).transpose(-3, -2)
    index = bucket_ids.unsqueeze(-3).expand(*by_head.shape[:-1], bucket_ids.shape[-1])
    return by_head.gather(-1, index)


def _select_heads(bias: Tensor, heads: Sequence[int]) -> Tensor:
    """Shape: (..., all heads, rows, columns) to (..., heads, rows, columns)."""
    return bias.index_select(-3, torch.tensor(heads, device=bias.device))
