"""Random models of two layers, for what does not depend on what a model knows."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import BertConfig, PreTrainedModel


def tiny_encoder(directory: Path) -> Path:
    """Write an encoder."""
    from transformers import BertModel

    return _written(directory, BertModel)


def tiny_model(directory: Path) -> Path:
    """Write a Block-Skim model."""
    from transformers import BertForQuestionAnswering

    from blockskim import BlockSkimForQuestionAnswering, SkimConfig

    def made(config: "BertConfig") -> "PreTrainedModel":
        backbone = BertForQuestionAnswering(config)
        return BlockSkimForQuestionAnswering.from_backbone(backbone, SkimConfig(block_size=32))

    return _written(directory, made)


def _written(directory: Path, make: "Callable[[BertConfig], PreTrainedModel]") -> Path:
    """Write a model of random weights with the tokenizer of the model that comes along."""
    import torch
    from transformers import AutoTokenizer, BertConfig

    from blockskim.inference.shipped import shipped_model

    tokenizer = AutoTokenizer.from_pretrained(shipped_model())
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=512,
    )
    make(config).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory
