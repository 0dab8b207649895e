"""Skimming by a timetable: so many blocks after this layer, whatever the blocks hold.

A random model's predictors know nothing, but what they cost is real. Here they run as ever, and then their verdict is
replaced: each sample keeps a random choice of its blocks, of exactly the number that the schedule has for the layer.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from blockskim.errors import ConfigError
from blockskim.method.layer_view import LayerView
from blockskim.method.predictors.predictor import SkimPredictor
from blockskim.model.modeling import BlockSkimForQuestionAnswering
from blockskim.profiling.schedule_notation import kept_blocks, share_after

THRESHOLD = 0.5
"""The threshold under which the logits of scheduled predictors keep the scheduled blocks."""

STEEPNESS = 0.25
"""By how much the logits of neighbours in the order of blocks differ. The batch-aligned scheme also chooses among the
blocks that the schedule drops, so no two of their probabilities may round to the same."""


class ScheduledPredictor(nn.Module):
    """Runs a skim predictor, then gives logits that keep scheduled numbers of blocks instead of the predictor's own.

    Which blocks stay is chosen at random among those that are still there, by seed, sample and number of blocks.
    """

    def __init__(self, predictor: SkimPredictor, share: float, blocks: int, keep_full: int, seed: int) -> None:
        """Schedule one layer.

        Args:
            predictor: runs, to cost what it costs.
            share: of a sample's original blocks that stays.
            blocks: original blocks of each sample.
            keep_full: the first so many samples of a batch keep everything.
            seed: of the choice.
        """
        super().__init__()
        self.predictor = predictor
        self.wants_attention = predictor.wants_attention
        self.count = kept_blocks(share, blocks)
        self.keep_full = keep_full
        self.seed = seed
        self._logits: dict[tuple[tuple[int, int], ...], Tensor] = {}

    def forward(self, view: LayerView) -> Tensor:
        """Logits of "irrelevant" and "relevant" for each block of the view. Shape: (blocks, 2)."""
        self.predictor(view)
        counts = torch.bincount(view.samples).tolist()
        # Only some of a batch run together where it is large.
        places = range(len(counts)) if view.places is None else view.places.tolist()
        left = tuple(zip(places, counts, strict=False))
        if left not in self._logits:
            self._logits[left] = self._make_logits(left).to(view.samples.device)
        return self._logits[left]

    def _make_logits(self, left: tuple[tuple[int, int], ...]) -> Tensor:
        """Logits of samples, by their place in the batch, with so many blocks left. Shape: (sum of blocks, 2)."""
        relevant = []
        for sample, count in left:
            generator = torch.Generator().manual_seed((self.seed * 1_000_003 + sample) * 1_000_003 + count)
            ranks = torch.randperm(count, generator=generator)
            kept = count if sample < self.keep_full else self.count
            relevant.append((kept - ranks - 0.5) * STEEPNESS)
        values = torch.cat(relevant)
        return torch.stack([torch.zeros_like(values), values], -1)


def install_schedule(
    model: BlockSkimForQuestionAnswering, keep: Mapping[int, float], blocks: int, keep_full: int, seed: int
) -> None:
    """Put every predictor of a model on a schedule; what it then skims with is ``THRESHOLD``.

    Args:
        model: changed in place; it can't be saved or trained afterwards.
        keep: share of the original blocks after each layer that is named.
        blocks: droppable blocks of each sample that the model will see.
        keep_full: the first so many samples of every batch keep everything.
        seed: of the choice of blocks.

    Raises:
        ConfigError: the schedule names a layer without a predictor.
    """
    for layer in keep:
        if layer not in model.skim_layers:
            raise ConfigError(
                f"keep names layer {layer}, which has no predictor; "
                f"layers with one are {', '.join(map(str, model.skim_layers))}"
            )
    for layer in model.skim_layers:
        predictor: Any = model.predictors[str(layer)]
        if isinstance(predictor, ScheduledPredictor):
            predictor = predictor.predictor
        model.predictors[str(layer)] = ScheduledPredictor(
            predictor, share_after(keep, layer), blocks, keep_full, seed * 1009 + layer
        )
