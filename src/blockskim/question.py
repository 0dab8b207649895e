"""Which tokens of an input are the question."""

import torch
from torch import Tensor


def question_tokens(input_ids: Tensor, attention_mask: Tensor, context_mask: Tensor) -> tuple[Tensor, Tensor]:
    """Find each sample's question: the real tokens before the context without the special ones around them.

    The first token ([CLS]) and the separators, known by the token that stands right before the context, are left out.
    An input without a question before its context has all its tokens outside of the context taken instead, so that
    there is always something to compare blocks with.

    Args:
        input_ids: Shape: (batch, tokens)
        attention_mask: 1 on real tokens. Shape: (batch, tokens)
        context_mask: 1 on context tokens. Shape: (batch, tokens)

    Returns:
        Indices in the sample, Shape: (batch, question), and a mask that is True where the sample's question has that
        many tokens, Shape: (batch, question).
    """
    real = attention_mask.bool()
    context = context_mask.bool() & real
    places = torch.arange(input_ids.shape[1], device=input_ids.device)
    first_context = torch.where(context, places, input_ids.shape[1]).amin(-1, keepdim=True)
    first_real = torch.where(real, places, input_ids.shape[1]).amin(-1, keepdim=True)
    separator = input_ids.gather(1, (first_context - 1).clamp_min(0))
    question = real & (places < first_context) & (places > first_real) & (input_ids != separator)
    question = torch.where(question.any(-1, keepdim=True), question, real & ~context)
    width = max(1, int(question.sum(-1).max()))
    # A stable sort brings the question's tokens to the front in their order.
    order = (~question).to(torch.uint8).argsort(dim=-1, stable=True)[:, :width]
    return order, question.gather(1, order)
