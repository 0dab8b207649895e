"""Random models of two layers, for what does not depend on what a model knows."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import BertConfig


def tiny_encoder(directory: Path) -> Path:
    """Write an encoder."""
    from transformers import BertModel

    BertModel(_config(directory)).save_pretrained(directory)
    return directory


def tiny_model(directory: Path) -> Path:
    """Write a Block-Skim model."""
    from transformers import BertForQuestionAnswering

    from blockskim import BlockSkimForQuestionAnswering, SkimConfig

    backbone = BertForQuestionAnswering(_config(directory))
    BlockSkimForQuestionAnswering.from_backbone(backbone, SkimConfig(block_size=32)).save_pretrained(directory)
    return directory


def _config(directory: Path) -> "BertConfig":
    """The shape of a model, whose weights are random from here on; writes the shipped model's tokenizer."""
    import torch
    from transformers import AutoTokenizer, BertConfig

    from blockskim.inference.shipped import shipped_model

    tokenizer = AutoTokenizer.from_pretrained(shipped_model())
    tokenizer.save_pretrained(directory)
    torch.manual_seed(0)
    return BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=512,
    )
