"""The table of positions that an encoder may have: where it begins, and how far it goes."""

from typing import Any

from torch import nn
from transformers import PreTrainedModel


def first_position(encoder: PreTrainedModel) -> int:
    """Number of the first position in a table of positions: RoBERTa-like models count from behind the padding id."""
    offset = getattr(getattr(encoder, "embeddings", None), "padding_idx", None)
    return 0 if offset is None else int(offset) + 1


def position_limit(encoder: PreTrainedModel) -> int | None:
    """The most tokens that an encoder has positions for; None when its positions have no end."""
    embeddings: Any = getattr(encoder, "embeddings", None)
    table = getattr(embeddings, "position_embeddings", None)
    return table.num_embeddings - first_position(encoder) if isinstance(table, nn.Embedding) else None
