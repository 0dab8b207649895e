"""An ALBERT made of a BERT: a model whose layers share their weights."""

from typing import Any

import torch
from transformers import AlbertConfig, AlbertForQuestionAnswering

from blockskim.errors import BlockSkimError, ConfigError
from blockskim.model.modeling import BlockSkimForQuestionAnswering


class LeftOut(BlockSkimError):
    """A variant that can't be made of this base; the message says why."""


def share_layers(model: BlockSkimForQuestionAnswering, groups: int = 1) -> AlbertForQuestionAnswering:
    """An ALBERT of a BERT's size that does in all layers of a group what that one does in the first of them.

    Args:
        model: a BERT.
        groups: of neighbouring layers, equally many in each.

    Raises:
        ConfigError: layers can't be divided into so many groups.
        LeftOut: the model is of another family, or has lost heads.
    """
    source: Any = model.encoder
    config = source.config
    if config.model_type != "bert" or model.pruned_heads:
        raise LeftOut(f"only a whole BERT can be made into an ALBERT, and the base is of type {config.model_type!r}")
    names = (
        "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act",
        "max_position_embeddings", "type_vocab_size", "layer_norm_eps", "pad_token_id", "hidden_dropout_prob",
        "attention_probs_dropout_prob",
    )  # fmt: skip
    values = {name: getattr(config, name) for name in names}
    if groups < 1 or config.num_hidden_layers % groups:
        raise ConfigError(f"{config.num_hidden_layers} layers can't be divided into {groups} groups of the same size")
    sizes = {"embedding_size": config.hidden_size, "num_hidden_groups": groups}
    dense: Any = AlbertForQuestionAnswering(AlbertConfig(**values, **sizes))
    target = dense.albert
    target.embeddings.load_state_dict(source.embeddings.state_dict())
    pairs = {dense.qa_outputs: model.qa_outputs}
    firsts = source.encoder.layer[:: config.num_hidden_layers // groups]
    for layer, group in zip(firsts, target.encoder.albert_layer_groups, strict=True):
        attention, (shared,) = layer.attention, group.albert_layers
        pairs |= {
            shared.attention.query: attention.self.query,
            shared.attention.key: attention.self.key,
            shared.attention.value: attention.self.value,
            shared.attention.dense: attention.output.dense,
            shared.attention.LayerNorm: attention.output.LayerNorm,
            shared.ffn: layer.intermediate.dense,
            shared.ffn_output: layer.output.dense,
            shared.full_layer_layer_norm: layer.output.LayerNorm,
        }
    for new, old in pairs.items():
        new.load_state_dict(old.state_dict())
    mapping = target.encoder.embedding_hidden_mapping_in
    with torch.no_grad():
        mapping.weight.copy_(torch.eye(config.hidden_size))
        mapping.bias.zero_()
    result: AlbertForQuestionAnswering = dense
    return result
