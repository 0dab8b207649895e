"""What a student loses against its teacher: logits (Hinton et al., 2015) and states (Romero et al., 2015)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from blockskim.model.outputs import BlockSkimOutput
from blockskim.training.distillation_settings import DistillationSettings


def distillation_losses(
    output: BlockSkimOutput, teacher_output: BlockSkimOutput, mask: Tensor, settings: DistillationSettings
) -> dict[str, Tensor]:
    """What a student loses against its teacher, by name, each with its weight on it.

    Args:
        output: of the student.
        teacher_output: of the teacher for the same batch.
        mask: True on the tokens that are compared. Shape: (batch, tokens)
        settings: what is compared, and the weights.
    """
    losses: dict[str, Tensor] = {}
    if settings.weight:
        losses["teacher_loss"] = settings.weight * logits_loss(output, teacher_output, mask, settings.temperature)
    for name, weight in (("hidden", settings.hidden_weight), ("attention", settings.attention_weight)):
        if weight:
            own, others = _states(output, name), _states(teacher_output, name)
            pairs = settings.layer_pairs(len(own), len(others))
            parts = [state_loss(own[one - 1], others[two - 1], mask, settings.state_loss) for one, two in pairs]
            losses[f"{name}_loss"] = weight * torch.stack(parts).mean()
    return losses


def logits_loss(output: BlockSkimOutput, teacher_output: BlockSkimOutput, mask: Tensor, temperature: float) -> Tensor:
    """How far the start and end logits of one run are from those of another, which learns nothing from it.

    Args:
        output: of the run that learns.
        teacher_output: of the other.
        mask: True on the tokens that are compared. Shape: (batch, tokens)
        temperature: above 0.

    Returns:
        A scalar in float32.
    """
    tensors = (output.start_logits, output.end_logits, teacher_output.start_logits, teacher_output.end_logits)
    starts, ends, teacher_starts, teacher_ends = (part for part in tensors if part is not None)
    return span_distillation_loss(starts, ends, teacher_starts, teacher_ends, mask, temperature)


def span_distillation_loss(
    start_logits: Tensor,
    end_logits: Tensor,
    teacher_start: Tensor,
    teacher_end: Tensor,
    mask: Tensor,
    temperature: float,
) -> Tensor:
    """How far a student's distributions of first and last token are from its teacher's (Hinton et al., 2015).

    The mean over samples, start and end of the Kullback-Leibler divergence of the distributions at a temperature, times
    the temperature's square, so that its gradients keep their size. Tokens outside of the mask take no part, in
    neither distribution; a sample that has none in it counts as one that has nothing to learn.

    Args:
        start_logits: Shape: (batch, tokens)
        end_logits: Shape: (batch, tokens)
        teacher_start: from which no gradient flows back. Shape: (batch, tokens)
        teacher_end: from which no gradient flows back. Shape: (batch, tokens)
        mask: True on the tokens that are compared. Shape: (batch, tokens)
        temperature: above 0.

    Returns:
        A scalar in float32.
    """
    losses = []
    for logits, teacher in ((start_logits, teacher_start), (end_logits, teacher_end)):
        own, other = (
            # A finite number, as the difference of two infinite ones is none.
            (part.float() / temperature).masked_fill(~mask, torch.finfo(torch.float32).min).log_softmax(-1)
            for part in (logits, teacher.detach())
        )
        terms = (other.exp() * (other - own)).masked_fill(~mask, 0.0)
        losses.append(terms.sum(-1).mean())
    return (losses[0] + losses[1]) / 2 * temperature**2


def state_loss(states: Tensor, teacher: Tensor, mask: Tensor, kind: str) -> Tensor:
    """How far a student's states are from its teacher's, a mean over the tokens of the mask.

    Args:
        states: Shape: (batch, tokens, width)
        teacher: from which no gradient flows back. Shape: (batch, tokens, width)
        mask: True on the tokens that are compared. Shape: (batch, tokens)
        kind: "mse" for the mean squared difference, "cosine" for one minus the cosine.

    Returns:
        A scalar in float32; 0 when there is no token.
    """
    own, other = states[mask].float(), teacher.detach()[mask].float()
    if not len(own):
        return states.sum() * 0.0
    return F.mse_loss(own, other) if kind == "mse" else (1 - F.cosine_similarity(own, other, dim=-1)).mean()


def surviving_tokens(output: BlockSkimOutput, attention_mask: Tensor) -> Tensor:
    """Real tokens that a training run did not drop. Shape: (batch, tokens)."""
    assert output.start_logits is not None
    return attention_mask.bool() & (output.start_logits.detach() != -torch.inf)


def holds_answer(start_positions: Tensor) -> Tensor:
    """Which windows of a training batch hold an answer; the target of the others is their first token.

    Args:
        start_positions: of the QA target, then of annotated answers. Shape: (batch, 1 + spans)

    Returns:
        Shape: (batch,)
    """
    return start_positions[:, 0] > 0


def _states(output: BlockSkimOutput, name: str) -> tuple[Tensor, ...]:
    """Hidden states or attention outputs by layer, from the first. Shape: (batch, tokens, width) each."""
    found = output.hidden_states if name == "hidden" else output.attention_outputs
    assert found is not None
    # Hidden states begin with the embeddings.
    return found[1:] if name == "hidden" else found
