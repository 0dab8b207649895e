"""Windows to padded tensors: inputs, the span to find, and the spans that make a block relevant."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

Collator: TypeAlias = "Callable[[Sequence[dict[str, Any]]], dict[str, Tensor]]"


def pad_windows(items: Sequence[dict[str, Any]], pad_id: int) -> "dict[str, Tensor]":
    """Pad the inputs of windows to the longest of them.

    Returns:
        ``input_ids``, ``attention_mask``, ``context_mask`` and, if the items have them, ``token_type_ids``.
        Shape: (batch, tokens) each
    """
    import torch

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


def training_collator(pad_id: int, label_evidence: bool = True) -> Collator:
    """Make the function that turns windows into a training batch.

    Besides the inputs it holds ``start_positions`` and ``end_positions``, Shape: (batch, 1 + spans): first those of the
    QA target, then those of every annotated answer, from which the model labels blocks; -1 where there are fewer. With
    ``label_evidence`` sentences that support the answer are among them, one class with answers, as the paper does for
    HotpotQA.
    """

    def collate(items: Sequence[dict[str, Any]]) -> "dict[str, Tensor]":
        import torch

        batch = pad_windows(items, pad_id)
        names = ("target", "answer_spans", "evidence_spans") if label_evidence else ("target", "answer_spans")
        spans = [np.concatenate([item[name].reshape(-1, 2) for name in names]) for item in items]
        positions = np.full((len(items), max(map(len, spans)), 2), -1, dtype=np.int64)
        for row, values in zip(positions, spans, strict=True):
            row[: len(values)] = values
        batch["start_positions"], batch["end_positions"] = torch.from_numpy(positions).unbind(-1)
        return batch

    return collate
