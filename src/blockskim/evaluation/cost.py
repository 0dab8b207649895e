"""What a run costs and what its predictors do, added up batch by batch."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from blockskim.data.windows import WindowSet
from blockskim.evaluation.block_scores import answer_labels
from blockskim.inference.backend import Backend
from blockskim.inference.first_stage import Reading
from blockskim.inference.runner import WindowBatch
from blockskim.method.cost import dense_flops_of


@dataclass(slots=True)
class LayerCount:
    """Decisions of one layer's predictor, added up over windows.

    Attributes:
        scored: blocks that it scored.
        kept: of these, kept.
        relevant: of these, holding answer tokens.
        right: kept and relevant.
    """

    scored: int = 0
    kept: int = 0
    relevant: int = 0
    right: int = 0

    def summary(self, layer: int) -> dict[str, float | int | None]:
        """Precision, recall and share kept of the scored blocks; None where nothing was there to divide by."""
        return {
            "layer": layer,
            "precision": self.right / self.kept if self.kept else None,
            "recall": self.right / self.relevant if self.relevant else None,
            "kept": self.kept / self.scored if self.scored else None,
        }


@dataclass(slots=True)
class CostReport:
    """What a run over windows cost and what its predictors did.

    Attributes:
        windows: how many ran.
        blocks: droppable blocks in them, and in what of their documents was not read.
        unread_blocks: those of the latter.
        flops: spent.
        dense_flops: of the plain model on the same windows, without padding.
        layers: decisions of each layer's predictor, by layer number.
        kept_blocks: how many blocks were there after each layer that has a predictor, by layer number.
    """

    windows: int = 0
    blocks: int = 0
    unread_blocks: int = 0
    flops: int = 0
    dense_flops: int = 0
    layers: dict[int, LayerCount] = field(default_factory=dict)
    kept_blocks: dict[int, int] = field(default_factory=dict)

    @property
    def flops_speedup(self) -> float:
        """Dense FLOPs over FLOPs spent, both on unpadded input."""
        return self.dense_flops / self.flops

    def add(self, batch: WindowBatch, windows: WindowSet, reading: Reading | None = None) -> None:
        """Take in the trace of a batch; of what ``add_reading`` will tell, where there is a reading, no dense cost."""
        trace = batch.scores.trace
        self.windows += len(batch.indices)
        self.blocks += int(trace.blocks.sum())
        self.flops += int(trace.flops.sum())
        told = [] if reading is None else list(reading.dense_flops)
        whole = ~np.isin(windows.examples_of(batch.indices), told)
        self.dense_flops += int(trace.dense_flops[whole].sum())
        if not trace.layers:
            return
        relevant = answer_labels(batch, windows)
        for index, layer in enumerate(trace.layers):
            scored = ~np.isnan(trace.probabilities[index])
            kept = trace.kept[index]
            count = self.layers.setdefault(layer, LayerCount())
            count.scored += int(scored.sum())
            count.kept += int(kept.sum())
            count.relevant += int((relevant & scored).sum())
            count.right += int((relevant & kept).sum())
            self.kept_blocks[layer] = self.kept_blocks.get(layer, 0) + int(kept.sum())

    def add_reading(self, reading: Reading, block_size: int) -> None:
        """Take in how what is read was chosen, and what was not, when all batches were added.

        The plain model's cost of documents for which there was a choice is that of all of their text.
        """
        self.flops += sum(reading.flops.values())
        self.dense_flops += sum(reading.dense_flops.values())
        for tokens in reading.unread.values():
            self.unread_blocks += -(-int(tokens.sum()) // block_size)
        self.blocks += self.unread_blocks

    def kept_by_layer(self, num_layers: int) -> list[float]:
        """Share of all droppable blocks still there after each layer, from the first layer to the last."""
        return kept_shares(self.kept_blocks, self.blocks, num_layers, self.unread_blocks)


def kept_shares(kept_blocks: Mapping[int, int], blocks: int, num_layers: int, unread: int = 0) -> list[float]:
    """Share of the blocks that are there after each layer, from the first to the last.

    Args:
        kept_blocks: how many are there after each layer that drops some, by layer number.
        blocks: how many there were at first.
        num_layers: of the model.
        unread: how many of them no layer saw.
    """
    shares, share = [], (blocks - unread) / blocks if blocks else 1.0
    for layer in range(1, num_layers + 1):
        if layer in kept_blocks:
            share = kept_blocks[layer] / max(1, blocks)
        shares.append(share)
    return shares


def padded_flops(model: Backend, windows: WindowSet) -> int:
    """FLOPs of the dense model on the same windows, each padded to the longest allowed."""
    return len(windows) * dense_flops_of(model.cost, windows.settings.max_length)
