"""How the windows of an example that is spread over several batches compare: which of them would have survived."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from blockskim.data.windows import WindowSet
from blockskim.method.skim_trace import SkimTrace


@dataclass(frozen=True, slots=True, order=True)
class SurvivalRank:
    """How an example fared in one batch, as far as the batch shows; higher is better.

    Each batch keeps a block of each of its examples, although the example may have better ones in other batches. The
    batches of the highest rank are those that would have blocks left if all windows had run together.

    Attributes:
        layer: the first layer in which none of the example's blocks passed the threshold; infinite if there is none.
        probability: keep probability of the block that was kept there nevertheless.
        place: first character of the text in the window that this block is in, negative, so that the first window wins
            among equals. It is the same place whichever passages of the text are read.
        window: number of that window, negative, should two begin within the same character.
    """

    layer: float
    probability: float
    place: float
    window: float


ALWAYS = SurvivalRank(math.inf, math.inf, math.inf, math.inf)
"""Of an example whose blocks always passed the threshold."""

NEVER = SurvivalRank(-math.inf, -math.inf, -math.inf, -math.inf)
"""Below that of any example."""


def survival_ranks(trace: SkimTrace, windows: WindowSet, indices: NDArray[np.int64]) -> Sequence[SurvivalRank]:
    """The rank of the example of each window of a batch.

    Args:
        trace: of the batch.
        windows: of the examples.
        indices: which of them the batch is of. Shape: (batch,)
    """
    examples = windows.examples_of(indices).tolist()
    ranks = dict.fromkeys(examples, ALWAYS)
    for index in range(len(trace.layers) - 1, -1, -1):
        probabilities = trace.probabilities[index]
        # Blocks that are there although they didn't pass.
        spared = trace.kept[index] & ~(probabilities >= probabilities.dtype.type(trace.thresholds[index]))
        if spared.any():
            for row in np.flatnonzero(spared.any(-1)).tolist():
                probability = float(probabilities[row][spared[row]].max())
                window = int(indices[row])
                example, first = windows.windows[window, :2].tolist()
                place, _ = windows.character_span(example, first, first)
                ranks[example] = SurvivalRank(trace.layers[index], probability, -place, -window)
    return [ranks[example] for example in examples]


def best_ranks(batches: Iterable[tuple[NDArray[np.integer], Sequence[SurvivalRank]]]) -> dict[int, SurvivalRank]:
    """The best rank of each example over several batches.

    Args:
        batches: the example of each window of a batch, and its rank. Shape: (batch,); length: batch
    """
    best: dict[int, SurvivalRank] = {}
    for examples, ranks in batches:
        for example, rank in zip(examples.tolist(), ranks, strict=True):
            best[example] = max(best.get(example, rank), rank)
    return best


def take_ranks(
    best: dict[int, SurvivalRank], batches: Iterable[tuple[NDArray[np.integer], Sequence[SurvivalRank]]]
) -> dict[int, float]:
    """Take more batches into the best rank of each example so far: an example may come again with other passages.

    Args:
        best: is changed.
        batches: as ``best_ranks`` takes them.

    Returns:
        Of each example that had a worse rank before, the layer from which on what it kept then is gone.
    """
    gone = {}
    for example, rank in best_ranks(batches).items():
        before = best.get(example, rank)
        best[example] = max(before, rank)
        if before < rank:
            gone[example] = last_layer(before, rank)
    return gone


def last_layer(rank: SurvivalRank, best: SurvivalRank) -> float:
    """The layer in which a window's blocks are gone because other batches of its example had better ones.

    What a batch kept only because it knew no better block of the example is gone from there on; infinite for the
    batches that count.
    """
    return rank.layer if rank < best else math.inf
