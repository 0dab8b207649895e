"""Random queries, keys and values, padded or packed, and attention from the full matrix of a padded batch."""

import torch

from plain_attention import HEADS, SCALE, SIZE


def separate_projections(*shape, seed=0, spread=1.0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return [(torch.randn(*shape, HEADS, SIZE, generator=generator) * spread).to(dtype) for _ in range(3)]


def padded(lengths=(20, 13, 1), seed=0, spread=1.0, dtype=torch.float32):
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    return [*separate_projections(len(lengths), max(lengths), seed=seed, spread=spread, dtype=dtype), mask]


def padded_reference(query, key, value, mask, bias=None):
    """Attention probabilities, attention output and log-sum-exp from the full matrix."""
    scores = torch.einsum("bqhd,bkhd->bhqk", query, key) * SCALE
    if bias is not None:
        scores = scores + bias
    scores = scores.masked_fill(~mask[:, None, None, :], -torch.inf)
    probabilities = scores.softmax(-1)
    return probabilities, torch.einsum("bhqk,bkhd->bqhd", probabilities, value), scores.logsumexp(-1).transpose(1, 2)
