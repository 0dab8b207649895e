"""The two losses that are trained jointly (equation 3 of the paper): answer span and block relevance."""

import torch
import torch.nn.functional as F
from torch import Tensor


def span_loss(
    start_logits: Tensor, end_logits: Tensor, mask: Tensor, start_positions: Tensor, end_positions: Tensor
) -> Tensor:
    """Mean cross entropy of the answer's first and last token among the real tokens.

    Padding takes no part, so that the loss does not depend on how much of it there is. Samples with a negative
    position are left out.

    Args:
        start_logits: Shape: (batch, tokens)
        end_logits: Shape: (batch, tokens)
        mask: True on real tokens. Shape: (batch, tokens)
        start_positions: Shape: (batch,)
        end_positions: Shape: (batch,)

    Returns:
        A scalar in float32; 0 when no sample has positions.
    """
    if not bool((start_positions >= 0).any()):
        return start_logits.sum() * 0.0
    losses = [
        F.cross_entropy(logits.float().masked_fill(~mask, -torch.inf), positions, ignore_index=-1)
        for logits, positions in ((start_logits, start_positions), (end_logits, end_positions))
    ]
    return (losses[0] + losses[1]) / 2


def block_loss(logits: Tensor, labels: Tensor, balance_factor: float) -> Tensor:
    """Cross entropy of block relevance of one layer, relevant blocks weighing ``balance_factor`` (beta).

    The mean is weighted by class, as ``torch.nn.CrossEntropyLoss(weight)`` has it.

    Args:
        logits: Shape: (blocks, 2)
        labels: 1 relevant, 0 not, anything between for a share of both, negative for left out. Shape: (blocks,)
        balance_factor: weight of relevant blocks; irrelevant ones weigh 1.

    Returns:
        A scalar in float32; 0 when all are left out.
    """
    counted = labels >= 0
    if not bool(counted.any()):
        return logits.sum() * 0.0
    share = labels[counted].float()
    losses = -F.log_softmax(logits[counted].float(), -1)
    irrelevant, relevant = 1 - share, balance_factor * share
    return (irrelevant * losses[:, 0] + relevant * losses[:, 1]).sum() / (irrelevant + relevant).sum()


def teaching_loss(logits: Tensor, teacher: Tensor) -> Tensor:
    """Mean cross entropy between one predictor's opinion and that of a later one, which learns nothing from it.

    Args:
        logits: of the earlier predictor. Shape: (blocks, 2)
        teacher: logits of the later one for the same blocks. Shape: (blocks, 2)

    Returns:
        A scalar in float32; 0 when there is no block.
    """
    if not len(logits):
        return logits.sum() * 0.0
    return F.cross_entropy(logits.float(), teacher.detach().float().softmax(-1))
