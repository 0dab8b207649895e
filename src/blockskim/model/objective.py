"""What training minimises: the labels of blocks, the parts of the joint loss, and their weighted sum.

Each part is a function of its own and has no weight on it. ``joint_loss`` alone weighs parts and adds them up.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from blockskim.errors import ModelError
from blockskim.method.blocks import IGNORED, BlockLayout, relevance_labels, soften_labels
from blockskim.method.config import SkimConfig
from blockskim.method.losses import block_loss, span_loss, teaching_loss
from blockskim.method.thresholds import layer_factors
from blockskim.model.dense import DenseResult
from blockskim.model.outputs import BlockSkimOutput


def joint_loss(output: BlockSkimOutput, config: SkimConfig, label_weight: float = 1.0) -> Tensor | None:
    """Weighted sum of the parts of the loss that an output has (equation 3 of the paper).

    Args:
        output: of the dense pass, with its parts filled in.
        config: the weights of the skim loss, by layer, and of the teaching loss.
        label_weight: weight of the QA loss.

    Returns:
        A scalar; None when there is no part.

    Raises:
        ConfigError: there are more or fewer skim factors than layers with a predictor.
    """
    parts: list[Tensor] = []
    if output.qa_loss is not None:
        parts.append(label_weight * output.qa_loss)
    losses = output.layer_skim_losses
    if losses:
        factors = layer_factors(config.skim_factor, range(1, len(losses) + 1))
        parts += [factor * loss for factor, loss in zip(factors, losses, strict=True)]
    elif output.skim_loss is not None and output.skim_loss.requires_grad:
        # See ``sum_of_layers``.
        parts.append(output.skim_loss)
    if output.teaching_loss is not None:
        parts.append(config.teaching_factor * output.teaching_loss)
    return torch.stack(parts).sum() if parts else None


def sum_of_layers(losses: Sequence[Tensor], start_logits: Tensor, predictors: nn.Module) -> Tensor:
    """The skim loss of a batch, a scalar; 0 where no block could be dropped.

    Where encoder and head are frozen nothing else in such a batch has a gradient, so the 0 leads to the predictors, and
    theirs are 0.

    Args:
        losses: of each layer; none where no block could be dropped.
        start_logits: of the batch.
        predictors: of the model.
    """
    if losses:
        return torch.stack(tuple(losses)).sum()
    zero = start_logits.new_zeros((), dtype=torch.float32)
    if start_logits.requires_grad or not torch.is_grad_enabled():
        return zero
    return zero + 0.0 * sum(parameter.float().sum() for parameter in predictors.parameters())


def answer_loss(
    start_logits: Tensor, end_logits: Tensor, mask: Tensor, start_positions: Tensor, end_positions: Tensor
) -> Tensor:
    """Cross entropy of the first annotated answer of each sample.

    Args:
        start_logits: Shape: (batch, tokens)
        end_logits: Shape: (batch, tokens)
        mask: True on real tokens that were not dropped. Shape: (batch, tokens)
        start_positions: first token of each answer, -1 for none. Shape: (batch,) or (batch, answers)
        end_positions: last token of each answer, inclusive. Shape: (batch,) or (batch, answers)

    Returns:
        A scalar in float32.
    """
    starts, ends = (
        positions.reshape(len(positions), -1)[:, 0].clamp_min(-1) for positions in (start_positions, end_positions)
    )
    return span_loss(start_logits, end_logits, mask, starts, ends)


def block_labels(
    layout: BlockLayout, config: SkimConfig, labels: Tensor | None, answers: tuple[Tensor, Tensor] | None
) -> Tensor | None:
    """The labels of a batch's blocks, given or made from the answers; None when there is neither.

    Args:
        layout: the blocks.
        config: named in the message of the error.
        labels: 1 relevant, 0 irrelevant; what blocks have that are not droppable is ignored. Shape: (batch, blocks)
        answers: first and last token of each answer, inclusive, -1 for none.
            Shape: (batch,) or (batch, answers) each

    Returns:
        1 relevant, 0 irrelevant, -100 not droppable. Shape: (batch, blocks)

    Raises:
        ModelError: the labels given are of another number of blocks.
    """
    if labels is None and answers is not None:
        labels = relevance_labels(layout, *answers)
    if labels is None:
        return None
    if labels.shape != layout.droppable.shape:
        raise ModelError(
            f"skim_labels has the shape {tuple(labels.shape)}, but this batch has {tuple(layout.droppable.shape)} "
            f"blocks of {layout.block_size} tokens ({config.alignment} alignment)"
        )
    return labels.masked_fill(~layout.droppable, IGNORED)


def logits_of_blocks(layout: BlockLayout, result: DenseResult, layers: Sequence[int]) -> Tensor:
    """What the predictors said of each block of the batch, without gradients.

    Args:
        layout: the blocks.
        result: of the dense pass.
        layers: numbers of the layers with a predictor.

    Returns:
        NaN for blocks that are not droppable or were gone already. Shape: (batch, layers, blocks, 2)
    """
    batch, blocks = layout.droppable.shape
    logits = torch.full((batch, len(layers), blocks, 2), torch.nan, dtype=torch.float32, device=layout.droppable.device)
    for index, number in enumerate(layers):
        if number in result.skim_logits:
            present = result.present[number]
            of_droppable = logits.new_full((len(present), 2), torch.nan)
            of_droppable[present] = result.skim_logits[number].detach().float()
            logits[:, index][layout.droppable] = of_droppable
    return logits


def block_losses(layout: BlockLayout, result: DenseResult, labels: Tensor, config: SkimConfig) -> tuple[Tensor, ...]:
    """The skim loss of each layer with a predictor, in the order of the layers.

    Args:
        layout: the blocks.
        result: of the dense pass.
        labels: as ``block_labels`` gives them. Shape: (batch, blocks)
        config: how much relevant blocks weigh beside others, and how relevant their neighbours are.

    Returns:
        A scalar per layer; none when no block is droppable.
    """
    targets = soften_labels(labels, config.neighbor_relevance)[layout.droppable]
    return tuple(
        block_loss(logits, targets[result.present[number]], config.balance_factor)
        for number, logits in sorted(result.skim_logits.items())
    )


def earlier_layers_loss(result: DenseResult) -> Tensor:
    """How far earlier predictors are from the last one's opinion of the blocks that it saw, summed over their layers.

    Returns:
        A scalar in float32; 0 when fewer than two predictors were asked.
    """
    if len(result.skim_logits) < 2:
        return torch.zeros((), device=result.hidden.device)
    *earlier, last = sorted(result.skim_logits)
    seen = result.present[last]
    return torch.stack(
        [
            teaching_loss(result.skim_logits[number][seen[result.present[number]]], result.skim_logits[last])
            for number in earlier
        ]
    ).sum()
