"""Windows to padded tensors: inputs, the span to find, and the label of every block."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from blockskim.method.blocks import block_layout, relevance_labels
from blockskim.method.config import SkimConfig

Collator = Callable[[Sequence[dict[str, Any]]], dict[str, Tensor]]


def pad_windows(items: Sequence[dict[str, Any]], pad_id: int) -> dict[str, Tensor]:
    """Pad the inputs of windows to the longest of them.

    Returns:
        ``input_ids``, ``attention_mask``, ``context_mask`` and, if the items have them, ``token_type_ids``.
        Shape: (batch, tokens) each
    """
    width = max(len(item["input_ids"]) for item in items)
    filling = {"input_ids": pad_id, "context_mask": 0, "token_type_ids": 0}
    batch: dict[str, Tensor] = {}
    for name in (name for name in filling if name in items[0]):
        padded = np.full((len(items), width), filling[name], dtype=np.int64)
        for row, item in zip(padded, items, strict=True):
            row[: len(item[name])] = item[name]
        batch[name] = torch.from_numpy(padded)
    lengths = torch.tensor([len(item["input_ids"]) for item in items])
    batch["attention_mask"] = (torch.arange(width) < lengths[:, None]).long()
    return batch


def training_collator(config: SkimConfig, pad_id: int, label_evidence: bool = True) -> Collator:
    """Make the function that turns windows into a training batch.

    Besides the inputs it holds ``start_positions`` and ``end_positions`` of the QA target, Shape: (batch,), and
    ``skim_labels`` from every annotated answer, Shape: (batch, blocks); with ``label_evidence`` blocks of sentences
    that support the answer are relevant, too, one class with those of answers, as the paper does for HotpotQA.
    """

    def collate(items: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
        batch = pad_windows(items, pad_id)
        targets = torch.from_numpy(np.stack([item["target"] for item in items]))
        batch["start_positions"], batch["end_positions"] = targets.unbind(1)
        relevant = [
            np.concatenate([item["answer_spans"], item["evidence_spans"]]) if label_evidence else item["answer_spans"]
            for item in items
        ]
        spans = np.full((len(items), max(1, *map(len, relevant), 1), 2), -1, dtype=np.int64)
        for row, values in zip(spans, relevant, strict=True):
            row[: len(values)] = values
        starts, ends = torch.from_numpy(spans).unbind(-1)
        layout = block_layout(batch["attention_mask"], batch["context_mask"], config.block_size, config.alignment)
        batch["skim_labels"] = relevance_labels(layout, starts, ends)
        return batch

    return collate
