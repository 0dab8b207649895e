"""MPNet: BERT's layers with a bias by relative position, the same in every layer, on the attention scores."""

from typing import Any

from torch import Tensor
from transformers import PreTrainedModel

from blockskim.encoders.post_norm import PostNormPaths, post_norm_adapter


def position_bias(encoder: PreTrainedModel, rows: Tensor, columns: Tensor) -> Tensor:
    """The learned bias of each head for the bucket of each pair's distance."""
    model: Any = encoder
    table = model.encoder
    # transformers takes the default number of buckets whatever the config says; so do we, to give its logits.
    buckets = table.relative_position_bucket(columns[..., None, :] - rows[..., :, None])
    bias: Tensor = table.relative_attention_bias(buckets)
    return bias.movedim(-1, -3)


ADAPTER = post_norm_adapter(
    model_types=("mpnet",),
    token_types=False,
    position_bias=position_bias,
    paths=PostNormPaths(
        query="attention.attn.q",
        key="attention.attn.k",
        value="attention.attn.v",
        output="attention.attn.o",
        attention_norm="attention.LayerNorm",
        up="intermediate.dense",
        activation="intermediate.intermediate_act_fn",
        down="output.dense",
        output_norm="output.LayerNorm",
        head_dim="attention.attn.attention_head_size",
        attention_dropout="attention.attn.dropout",
        output_dropout="attention.dropout",
        down_dropout="output.dropout",
    ),
)
