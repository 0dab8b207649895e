"""What a run costs and what its predictors do, added up batch by batch."""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from blockskim.data.windows import WindowSet
from blockskim.evaluation.block_scores import answer_labels
from blockskim.inference.backend import Backend
from blockskim.inference.first_stage import ReadingPlan
from blockskim.inference.runner import WindowBatch
from blockskim.inference.survival import NEVER, SurvivalRank
from blockskim.method.cost import dense_flops_of
from blockskim.method.skim_trace import SkimTrace


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

    def add(self, counts: NDArray[np.int64]) -> None:
        """Take in more decisions, by the names above. Shape: (4,)."""
        scored, kept, relevant, right = counts.tolist()
        self.scored += scored
        self.kept += kept
        self.relevant += relevant
        self.right += right

    def summary(self, layer: int) -> dict[str, float | int | None]:
        """Precision, recall and share kept of the scored blocks; None where nothing was there to divide by."""
        return {
            "layer": layer,
            "precision": self.right / self.kept if self.kept else None,
            "recall": self.right / self.relevant if self.relevant else None,
            "kept": self.kept / self.scored if self.scored else None,
        }


@dataclass(frozen=True, slots=True)
class _Spared:
    """What was spared of an example in the batches so far.

    Attributes:
        rank: the best so far.
        counts: by layer, what won't count once there is a better one. Shape: (4,) each
        windows: of the example that ran.
    """

    rank: SurvivalRank = NEVER
    counts: Mapping[int, NDArray[np.int64]] = field(default_factory=dict)
    windows: int = 0


@dataclass(slots=True)
class CostReport:
    """What a run over windows cost and what its predictors did.

    Of an example that is spread over several batches, each batch keeps a block. What is told of blocks is as if all its
    windows had run together; FLOPs are those that were spent.

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
    # Of the examples alone of which more may come: of millions, nearly all are in one batch.
    _spared: dict[int, _Spared] = field(default_factory=dict, repr=False, compare=False)

    @property
    def flops_speedup(self) -> float:
        """Dense FLOPs over FLOPs spent, both on unpadded input."""
        return self.dense_flops / self.flops

    def add(self, batch: WindowBatch, windows: WindowSet, reading: ReadingPlan | None = None) -> None:
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
        counts = _decisions(trace, answer_labels(batch, windows))
        self._count(dict(zip(trace.layers, counts.sum(-1), strict=True)))
        examples = windows.examples_of(batch.indices)
        phases = reading is not None and reading.is_bounded
        numbers, firsts, counted = np.unique(examples, return_index=True, return_counts=True)
        for example, first, ran in zip(numbers.tolist(), firsts.tolist(), counted.tolist(), strict=True):
            before = self._spared.pop(example, _Spared())
            ran += before.windows
            more = phases or ran < _count_windows(windows, example)
            if not before.windows and not more:
                # All of it ran together.
                continue
            rank = batch.ranks[first]
            own = counts[..., examples == example].sum(-1)
            spared = _spared_from(rank.layer, dict(zip(trace.layers, own, strict=True)))
            best = self._settled(before, rank, spared, ran)
            if more:
                self._spared[example] = best

    def _count(self, counts: Mapping[int, NDArray[np.int64]]) -> None:
        """Take in decisions of some layers. Shape: (4,) each."""
        for layer, values in counts.items():
            self.layers.setdefault(layer, LayerCount()).add(values)
            self.kept_blocks[layer] = self.layers[layer].kept

    def _settled(
        self, before: _Spared, rank: SurvivalRank, spared: dict[int, NDArray[np.int64]], windows: int
    ) -> _Spared:
        """Take back what was spared of an example in a batch, or in those before it, if it fared better in the others.

        Args:
            before: of the batches before it.
            rank: how it fared in the batch.
            spared: decisions about what was spared of it there. Shape: (4,) each
            windows: of it that ran, those of the batch among them.
        """
        if rank == before.rank:
            spared = {layer: values + before.counts[layer] for layer, values in spared.items()}
        lost = spared if rank < before.rank else before.counts if rank > before.rank else {}
        self._count({layer: -values for layer, values in lost.items()})
        if rank < before.rank:
            return replace(before, windows=windows)
        return _Spared(rank, spared, windows)

    def add_reading(self, reading: ReadingPlan, block_size: int) -> None:
        """Take in how what is read was chosen, and what was not, when all batches were added.

        The plain model's cost of documents for which there was a choice is that of all of their text.
        """
        self.flops += sum(reading.flops.values())
        self.dense_flops += sum(reading.dense_flops.values())
        for tokens in reading.unread.values():
            self.unread_blocks += -(-int(tokens.sum()) // block_size)
        self.blocks += self.unread_blocks
        self._spared.clear()

    def kept_by_layer(self, num_layers: int) -> list[float]:
        """Share of all droppable blocks still there after each layer, from the first layer to the last."""
        return kept_shares(self.kept_blocks, self.blocks, num_layers, self.unread_blocks)


def _count_windows(windows: WindowSet, example: int) -> int:
    """How many windows an example has; those of one example stand side by side."""
    numbers = windows.examples_of()
    return bisect_right(numbers, example) - bisect_left(numbers, example)


def _decisions(trace: SkimTrace, relevant: NDArray[np.bool_]) -> NDArray[np.int64]:
    """How many blocks of each window each layer scored, kept, scored of relevant ones, kept of these.

    Shape: (batch, blocks) to (layers, 4, batch)
    """
    scored = ~np.isnan(trace.probabilities)
    return np.stack([scored, trace.kept, relevant & scored, relevant & trace.kept], 1).sum(-1)


def _spared_from(first: float, counts: Mapping[int, NDArray[np.int64]]) -> dict[int, NDArray[np.int64]]:
    """Decisions about blocks that were not dropped in a layer although none passed: kept there, scored by later ones.

    Args:
        first: the number of the layer.
        counts: of all decisions, by layer. Shape: (4,) each
    """
    kept_alone = np.array([0, 1, 0, 1])
    return {layer: values * (kept_alone if layer == first else 1) for layer, values in counts.items() if layer >= first}


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
