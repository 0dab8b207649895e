"""Which tokens of an input are the question."""

import numpy as np
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
    # On the host, as `block_layout` does.
    real = attention_mask.cpu().numpy().astype(bool)
    context = context_mask.cpu().numpy().astype(bool) & real
    ids = input_ids.cpu().numpy()
    width = ids.shape[1]
    places = np.arange(width)
    first_context = np.where(context, places, width).min(-1, keepdims=True, initial=width)
    first_real = np.where(real, places, width).min(-1, keepdims=True, initial=width)
    separator = np.take_along_axis(ids, (first_context - 1).clip(0), 1)
    question = real & (places < first_context) & (places > first_real) & (ids != separator)
    question = np.where(question.any(-1, keepdims=True), question, real & ~context)
    longest = max(1, int(question.sum(-1).max(initial=0)))
    # A stable sort brings the question's tokens to the front in their order.
    order = np.argsort(~question, axis=-1, kind="stable")[:, :longest]
    exists = np.take_along_axis(question, order, 1)
    return torch.from_numpy(order).to(input_ids.device), torch.from_numpy(exists).to(input_ids.device)
