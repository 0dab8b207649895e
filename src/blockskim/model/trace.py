"""What a skimming run did: which blocks stayed in which layer, how likely they were relevant, what it cost."""

from dataclasses import dataclass

from torch import Tensor

from blockskim.method.blocks import BlockLayout


@dataclass(frozen=True, slots=True)
class SkimTrace:
    """Record of one skimming run over a batch.

    Attributes:
        layout: where the blocks lie in the input.
        layers: numbers of the layers that droppable blocks, from 1.
        kept: whether a droppable block was still there after the layer. Shape: (layers, batch, blocks)
        probabilities: keep probability that the layer gave each block; NaN for blocks that are not droppable or were
            gone already. Shape: (layers, batch, blocks)
        flops: operations spent on each sample. Shape: (batch,)
        dense_flops: operations of the plain model on the same tokens without padding. Shape: (batch,)
        tokens: real tokens of each sample. Shape: (batch,)
    """

    layout: BlockLayout
    layers: tuple[int, ...]
    kept: Tensor
    probabilities: Tensor
    flops: Tensor
    dense_flops: Tensor
    tokens: Tensor

    @property
    def blocks(self) -> Tensor:
        """Judged blocks of each sample. Shape: (batch,)."""
        return self.layout.droppable.sum(-1)

    @property
    def speedup(self) -> float:
        """Dense operations over operations spent, of the whole batch."""
        return float(self.dense_flops.sum() / self.flops.sum())
