"""Models of well-known sizes with random weights: speed doesn't depend on what a model has learnt."""

import torch
from transformers import AutoModelForQuestionAnswering, BertConfig, PreTrainedModel

from blockskim.method.config import SkimConfig
from blockskim.model.modeling import BlockSkimForQuestionAnswering
from blockskim.profiling.catalog import SHAPES, check_shape

BERT_VOCABULARY = 30522


def shape_config(shape: str, length: int, vocabulary: int = BERT_VOCABULARY) -> BertConfig:
    """Config of a BERT of a named shape that has positions for ``length`` tokens.

    Raises:
        ConfigError: there is no such shape.
    """
    layers, hidden, heads, width = SHAPES[check_shape(shape)]
    return BertConfig(
        vocab_size=vocabulary,
        num_hidden_layers=layers,
        hidden_size=hidden,
        num_attention_heads=heads,
        intermediate_size=width,
        max_position_embeddings=max(512, length),
    )


def random_dense(config: BertConfig, seed: int) -> PreTrainedModel:
    """The transformers QA model of a config with random weights and fused attention, in evaluation mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: PreTrainedModel = AutoModelForQuestionAnswering.from_config(config, attn_implementation="sdpa")
    return model.eval()


def random_skim(shape: str, length: int, skim: SkimConfig, seed: int) -> BlockSkimForQuestionAnswering:
    """A Block-Skim model of a named shape with random weights and predictors, in evaluation mode.

    Raises:
        ConfigError: there is no such shape, or the skim settings don't fit it.
    """
    dense = random_dense(shape_config(shape, length), seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = BlockSkimForQuestionAnswering.from_backbone(dense, skim).eval()
    # They know nothing, but are to be asked all the same.
    model.has_trained_predictors = True
    return model
