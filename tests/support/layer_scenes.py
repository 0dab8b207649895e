"""A layer's view with the full attention matrices beside it, from which features can be worked out by hand."""

import math

import torch

from blockskim.kernels.attention_probabilities import AttentionRows
from blockskim.method.blocks import token_indices
from blockskim.method.layer_view import LayerView

HEADS, SIZE, HIDDEN, BLOCK = 2, 4, 6, 8


class Scene:
    """Two packed samples with questions of 3 and 5 tokens, their blocks, and the full attention matrices."""

    def __init__(self, lengths=(27, 18), questions=(3, 5), blocks=((8, 8), (16, 8), (24, 2), (35, 8)), seed=0):
        generator = torch.Generator().manual_seed(seed)
        total = sum(lengths)
        query, key = (torch.randn(total, HEADS, SIZE, generator=generator) for _ in range(2))
        self.hidden = torch.randn(total, HIDDEN, generator=generator)
        self.attn_output = torch.randn(total, HEADS * SIZE, generator=generator)
        self.blocks = blocks
        self.first = [0, lengths[0]]
        self.samples = [int(start >= lengths[0]) for start, _ in blocks]
        self.questions = [[first + 1 + i for i in range(n)] for first, n in zip(self.first, questions, strict=True)]
        scores = torch.einsum("qhd,khd->hqk", query, key) / math.sqrt(SIZE)
        same = torch.zeros(total, total, dtype=torch.bool)
        same[: lengths[0], : lengths[0]] = same[lengths[0] :, lengths[0] :] = True
        scores = scores.masked_fill(~same, -torch.inf)
        self.matrix = scores.softmax(-1).numpy()
        starts, sizes = torch.tensor(blocks).unbind(-1)
        tokens, exists = token_indices(starts, sizes, BLOCK)
        width = max(questions)
        question = torch.zeros(2, width, dtype=torch.long)
        for row, places in enumerate(self.questions):
            question[row, : len(places)] = torch.tensor(places)
        self.view = LayerView(
            AttentionRows(query, key, scores.logsumexp(-1).T, SIZE**-0.5),
            self.hidden,
            self.attn_output,
            tokens,
            exists,
            torch.tensor(self.samples),
            question,
            torch.arange(width) < torch.tensor(questions)[:, None],
            torch.arange(len(blocks)),
        )
