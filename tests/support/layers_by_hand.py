"""The layers of transformers' models one by one, on tokens that stand anywhere in the input."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers.models.deberta_v2.modeling_deberta_v2 import make_log_bucket_position


class ByHand(NamedTuple):
    """What a layer made of the states of one sample.

    Attributes:
        hidden: states leaving the layer. Shape: (1, tokens, hidden)
        attention: probabilities. Shape: (1, heads, tokens, tokens)
    """

    hidden: Tensor
    attention: Tensor


def layers_of(dense: Any) -> list[nn.Module]:
    """The layers of a QA model in the order in which they run."""
    base = dense.base_model
    if dense.config.model_type == "albert":
        groups = base.encoder.albert_layer_groups
        each = dense.config.num_hidden_layers // len(groups)
        return [layer for group in groups for _ in range(each) for layer in group.albert_layers]
    if dense.config.model_type == "modernbert":
        return list(base.layers)
    return list(base.transformer.layer if dense.config.model_type == "distilbert" else base.encoder.layer)


def run_layer(dense: Any, number: int, hidden: Tensor, places: list[int]) -> ByHand:
    """Run layer ``number``, counted from 1, on states of tokens at these places of the input."""
    layer: Any = layers_of(dense)[number - 1]
    if dense.config.model_type == "mpnet":
        everywhere = torch.zeros(1, max(places) + 1)
        bias = dense.base_model.encoder.compute_position_bias(everywhere)[:, :, places][..., places]
        return ByHand(*layer(hidden, None, bias, output_attentions=True))
    if dense.config.model_type == "modernbert":
        positions = torch.tensor([places])
        angles = dense.base_model.rotary_emb(hidden, positions, layer.attention_type)
        mask = None
        if layer.attention_type == "sliding_attention":
            distance = positions[:, None, :, None] - positions[:, None, None, :]
            mask = torch.where(distance.abs() <= dense.config.sliding_window, 0.0, -torch.inf)
        attention = layer.attn(layer.attn_norm(hidden), angles, mask)[1]
        return ByHand(layer(hidden, mask, angles), attention)
    if dense.config.model_type == "deberta-v2":
        encoder = dense.base_model.encoder
        positions = torch.tensor(places)
        distance = make_log_bucket_position(
            positions[:, None] - positions, encoder.position_buckets, encoder.max_relative_positions
        )
        mask = torch.ones(1, 1, len(places), len(places))
        embeddings = encoder.get_rel_embedding()
        return ByHand(*layer(hidden, mask, None, distance.long()[None], embeddings, output_attentions=True))
    return ByHand(layer(hidden), layer.attention(hidden)[1])


def answer(dense: Any, hidden: Tensor) -> Tensor:
    """Start and end logits of what left the last layer. Shape: (1, tokens, hidden) to (2, tokens)."""
    if dense.config.model_type == "modernbert":
        logits: Tensor = dense.classifier(dense.head(dense.base_model.final_norm(hidden)))
    else:
        logits = dense.qa_outputs(hidden)
    return logits[0].T
