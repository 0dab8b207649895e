"""Tiny models with a tokenizer that fits: what answers questions, in memory and in a directory."""

import functools
from pathlib import Path

import torch

from blockskim import QuestionAnswerer
from blockskim.model.modeling import BlockSkimForQuestionAnswering
from tiny_models import new_dense_model, new_skim_model, spread_opinions
from tiny_tokenizers import fixed_tokenizer

# The family whose special tokens a kind of tokenizer has.
FAMILY = {"wordpiece": "bert", "bytes": "roberta"}

TEXT = (
    "The red kite nests in Wales. It eats worms, says the café in Cardiff! In 2024 there were 2,500 nests. "
    "Who counted them? A man from 東京, and a kite 🪁.\n\nThe end of the text is here, where nothing is red."
)


@functools.cache
def dense_for(kind: str):
    """A transformers QA model for a kind of tokenizer. Don't change it."""
    return new_dense_model(FAMILY[kind], vocab_size=len(fixed_tokenizer(kind)))


def new_model(kind: str = "wordpiece", alignment: str = "context", **settings) -> BlockSkimForQuestionAnswering:
    """A Block-Skim model for a kind of tokenizer, that a test may change."""
    config = new_skim_model(
        FAMILY[kind], ("question", "hidden"), alignment, 8, **{"thresholds": 0.4, **settings}
    ).skim_config
    backbone = dense_for(kind)
    torch.manual_seed(3)
    model = BlockSkimForQuestionAnswering.from_backbone(backbone, config)
    spread_opinions(model, FAMILY[kind])
    return model.eval()


@functools.cache
def answerer(kind: str = "wordpiece") -> QuestionAnswerer:
    """A question answerer that skims. Don't change it."""
    return QuestionAnswerer(new_model(kind), fixed_tokenizer(kind))


def save_model(directory: Path, kind: str = "wordpiece", **settings) -> Path:
    """A Block-Skim model directory."""
    new_model(kind, **settings).save_pretrained(directory)
    fixed_tokenizer(kind).save_pretrained(directory)
    return directory


def save_plain(directory: Path, kind: str = "wordpiece") -> Path:
    """Directory of a plain transformers QA checkpoint."""
    dense_for(kind).save_pretrained(directory)
    fixed_tokenizer(kind).save_pretrained(directory)
    return directory
