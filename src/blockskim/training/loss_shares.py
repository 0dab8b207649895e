"""What the losses of a part of a batch count for in those of the whole batch.

A loss is a mean: over windows, over blocks that weigh by their class, over tokens. Where processes share a batch, each
has the means of its own part, and the mean of these is not that of the batch unless every part weighs the same. So each
part's mean is multiplied by its share of the weight.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from blockskim.method.blocks import soften_labels
from blockskim.method.config import SkimConfig
from blockskim.model.outputs import BlockSkimOutput
from blockskim.training.processes import Processes

OVER_TOKENS = ("hidden_loss", "attention_loss")
"""Losses that are means over tokens."""


@dataclass(frozen=True, slots=True)
class LossShares:
    """By what to multiply the losses of a part, so that the mean over all parts is that of the whole batch.

    Attributes:
        windows: means over windows. A scalar.
        tokens: means over tokens. A scalar.
        layers: skim losses. Shape: (layers with a predictor,)
        last_layer: means over the blocks that the last predictor saw. A scalar.
    """

    windows: Tensor
    tokens: Tensor
    layers: Tensor
    last_layer: Tensor

    def apply(self, output: BlockSkimOutput, others: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Multiply the losses that an output has, in place, and others, whose products are returned by name."""
        if output.qa_loss is not None:
            output.qa_loss = output.qa_loss * self.windows
        if output.layer_skim_losses:
            losses = zip(output.layer_skim_losses, self.layers, strict=True)
            output.layer_skim_losses = tuple(loss * share for loss, share in losses)
            output.skim_loss = torch.stack(output.layer_skim_losses).sum()
        if output.teaching_loss is not None:
            output.teaching_loss = output.teaching_loss * self.last_layer
        return {name: loss * (self.tokens if name in OVER_TOKENS else self.windows) for name, loss in others.items()}


def loss_shares(output: BlockSkimOutput, mask: Tensor, config: SkimConfig, layers: int, team: Processes) -> LossShares:
    """The shares of a process in the losses of a batch; the processes tell each other what they weigh.

    Args:
        output: of this process's part of the batch.
        mask: True on the tokens that are compared with a teacher's. Shape: (batch, tokens)
        config: weights of relevant blocks, and of those beside them.
        layers: how many layers have a predictor.
        team: the processes.
    """
    blocks, seen = _block_weights(output, config, layers)
    weights = torch.stack([mask.new_tensor(len(mask), dtype=torch.float64), mask.sum().double(), seen, *blocks])
    totals = team.total(weights.clone())
    shares = (weights * team.count / totals.clamp_min(torch.finfo(torch.float64).tiny)).float()
    return LossShares(windows=shares[0], tokens=shares[1], last_layer=shares[2], layers=shares[3:])


def _block_weights(output: BlockSkimOutput, config: SkimConfig, layers: int) -> tuple[Tensor, Tensor]:
    """What each layer's skim loss weighs, Shape: (layers,), and how many blocks the last predictor saw, a scalar."""
    logits, labels = output.skim_logits, output.skim_labels
    if logits is None or labels is None or not layers:
        nothing = torch.zeros(layers + 1, dtype=torch.float64, device=_device(output))
        return nothing[1:], nothing[0]
    relevance = soften_labels(labels, config.neighbor_relevance).double()
    weights = (1 - relevance) + config.balance_factor * relevance
    # Shape: (batch, layers, blocks)
    seen = ~logits[..., 0].isnan() & (relevance >= 0)[:, None]
    return (seen * weights[:, None]).sum((0, 2)), seen[:, -1].sum().double()


def _device(output: BlockSkimOutput) -> torch.device:
    assert output.start_logits is not None
    return output.start_logits.device
