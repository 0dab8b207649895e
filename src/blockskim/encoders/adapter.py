"""What a family of encoders has to tell: how it embeds, attends and feeds forward, one layer at a time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel

from blockskim.kernels.dims import LayerDims

Projection = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True, slots=True)
class QaHead:
    """The question-answering head of transformers' model of a family.

    Attributes:
        outputs: attribute of the QA model that is the linear layer with the logits.
        transform: attribute of the module between the encoder and that layer; None for none.
        build: (config of the encoder) -> such a module with new weights.
    """

    outputs: str = "qa_outputs"
    transform: str | None = None
    build: Callable[[PreTrainedConfig], nn.Module] | None = None


@dataclass(frozen=True, slots=True)
class RelativeAttention:
    """Scores that also compare content with relative position (DeBERTa; He et al., 2021).

    Two terms are added to ``query_i . key_j`` under the same scale: ``query_i . key(distance_ij)`` and
    ``query(distance_ij) . key_j``. Distances fall into buckets, each of which has an embedding.

    Attributes:
        bucket_ids: (encoder, row positions, column positions) -> bucket of each pair's distance.
            Shapes: (..., rows), (..., columns) to (..., rows, columns)
        bucket_count: (encoder) -> how many buckets there are; asked only where ``linears`` names any.
        linears: (layer) -> the linear layers that make keys and queries of the embeddings of distances; None for a
            term that the model doesn't have.
        project: (encoder, layer) -> those keys and queries. Shape: (buckets, heads, head_dim) each
    """

    bucket_ids: Callable[[PreTrainedModel, Tensor, Tensor], Tensor]
    bucket_count: Callable[[PreTrainedModel], int]
    linears: Callable[[nn.Module], tuple[nn.Linear | None, nn.Linear | None]]
    project: Callable[[PreTrainedModel, nn.Module], tuple[Tensor | None, Tensor | None]]


@dataclass(frozen=True, slots=True)
class PostNormParts:
    """The parts of a layer as BERT has it: attention, residual and norm, feed-forward part, residual and norm.

    With them a layer can be run without the modules around them. For inference: no dropout.

    Attributes:
        query: Shape: (hidden) to (heads * head_dim)
        key: Shape: (hidden) to (heads * head_dim)
        value: Shape: (hidden) to (heads * head_dim)
        output: projection of the attention output.
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


@dataclass(frozen=True, slots=True)
class EncoderAdapter:
    """Functions that run a transformers encoder piece by piece; nothing of skimming is in them.

    Every function takes tokens in any leading shape (a padded batch or packed tokens), since all but attention works
    token by token.

    Attributes:
        model_types: the ``model_type`` values of the configs it serves.
        layers: the layers of an encoder in the order in which they run. A module that runs several times stands there
            several times.
        embed: (encoder, input_ids, token_type_ids or None, positions, word embeddings in place of input_ids or
            nothing) -> hidden states entering the first layer. ``positions`` count the real tokens of a sequence from
            0. Shapes: (batch, tokens), result (batch, tokens, hidden).
        project: (layer, hidden) -> query, key, value. Shapes: (..., hidden) to (..., heads, head_dim) each.
        finish: (layer, attention output, hidden) -> hidden states leaving the layer: output projection, residual, norms
            and feed-forward part. Shapes: (..., heads * head_dim), (..., hidden) to (..., hidden).
        scale: (layer) -> factor on the products of queries and keys.
        dims: (layer) -> its sizes: hidden states, heads, and a head.
        linears: (layer) -> the linear layers before attention, and those after it, for counting arithmetic.
        embedding_linears: (encoder) -> linear layers in the embedding.
        attention_dropout: (layer) -> dropout probability of attention probabilities.
        set_attention_dropout: (layer, probability) changes it.
        position_bias: (encoder, row positions, column positions) -> what is added to the scores of every layer, or
            None for a family without. Shapes: (..., rows), (..., columns) to (..., heads, rows, columns).
        rotary_base: (layer) -> base of the rotary embeddings by which queries and keys turn, or None for a family
            without. ``project`` gives them unturned.
        sliding_window: (layer) -> how many positions a token sees to either side, None for a layer that sees
            everything; or None for a family without windows.
        relative: terms of the scores between content and relative position; None for a family without.
        final_norm: (encoder, hidden) -> what becomes of the states that left the last layer, token by token; None for
            nothing. Shape: (..., hidden)
        parts: (layer) -> its parts, so that inference can run them faster than ``project`` and ``finish`` do; None for
            a family with another kind of layer.
        qa_head: the QA head of transformers' model.
        check: raises ModelError for a config that calls for what the adapter doesn't know; None for a family in which
            there is no such config.
    """

    model_types: tuple[str, ...]
    layers: Callable[[PreTrainedModel], Sequence[nn.Module]]
    embed: Callable[..., Tensor]
    project: Callable[[nn.Module, Tensor], Projection]
    finish: Callable[[nn.Module, Tensor, Tensor], Tensor]
    scale: Callable[[nn.Module], float]
    dims: Callable[[nn.Module], LayerDims]
    linears: Callable[[nn.Module], tuple[Sequence[nn.Linear], Sequence[nn.Linear]]]
    embedding_linears: Callable[[PreTrainedModel], Sequence[nn.Linear]]
    attention_dropout: Callable[[nn.Module], float]
    set_attention_dropout: Callable[[nn.Module, float], None]
    position_bias: Callable[[PreTrainedModel, Tensor, Tensor], Tensor] | None = None
    rotary_base: Callable[[nn.Module], float] | None = None
    sliding_window: Callable[[nn.Module], int | None] | None = None
    relative: RelativeAttention | None = None
    final_norm: Callable[[PreTrainedModel, Tensor], Tensor] | None = None
    parts: Callable[[nn.Module], PostNormParts] | None = None
    qa_head: QaHead = QaHead()
    check: Callable[[PreTrainedConfig], None] | None = None


def split_heads(states: Tensor, head_dim: int) -> Tensor:
    """View (..., heads * head_dim) as (..., heads, head_dim)."""
    return states.view(*states.shape[:-1], -1, head_dim)
