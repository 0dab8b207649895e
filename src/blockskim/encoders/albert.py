"""ALBERT: BERT's layers, but several of them, or all, are the same module run again and again."""

from collections.abc import Sequence
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from blockskim.encoders.post_norm import PostNormPaths, check_positions, post_norm_adapter


def layers(encoder: PreTrainedModel) -> Sequence[nn.Module]:
    """The layers in the order in which they run; shared ones stand there as often as they run.

    ``num_hidden_layers`` counts groups that run, which are spread evenly over the ``num_hidden_groups`` there are, and
    a group is ``inner_group_num`` layers.
    """
    model: Any = encoder
    groups, runs = model.encoder.albert_layer_groups, model.config.num_hidden_layers
    # In floating point as transformers has it, whose groups these are.
    share = runs / len(groups)
    return [layer for run in range(runs) for layer in groups[int(run / share)].albert_layers]


ADAPTER = post_norm_adapter(
    model_types=("albert",),
    layers=layers,
    embedding_projection="encoder.embedding_hidden_mapping_in",
    paths=PostNormPaths(
        query="attention.query",
        key="attention.key",
        value="attention.value",
        output="attention.dense",
        attention_norm="attention.LayerNorm",
        up="ffn",
        activation="activation",
        down="ffn_output",
        output_norm="full_layer_layer_norm",
        head_dim="attention.attention_head_size",
        # Of all layers that share the module.
        attention_dropout="attention.attention_dropout",
        output_dropout="attention.output_dropout",
    ),
    check=check_positions,
)
