"""Random packed sequences, and attention over them from the full matrix of each: what faster ways must equal."""

import torch

HEADS, SIZE = 3, 8
SCALE = SIZE**-0.5


def projections(tokens, seed=0, spread=1.0, dtype=torch.float32, heads=HEADS, size=SIZE):
    """Query, key and value as views of one fused matrix."""
    generator = torch.Generator().manual_seed(seed)
    fused = (torch.randn(tokens, 3 * heads * size, generator=generator) * spread).to(dtype)
    return fused.view(tokens, 3, heads, size).unbind(1)


def head_biases(lengths, seed=0):
    generator = torch.Generator().manual_seed(100 + seed)
    return [torch.randn(HEADS, length, length, generator=generator) * 2 for length in lengths]


def attend_plainly(query, key, value, scale, lengths, biases=None, wants_log_sum_exp=True):
    """What ``attend_packed`` promises, in the type of the query, by products that PyTorch's counter sees."""
    attn_output = torch.zeros_like(query)
    log_sum_exp = query.new_zeros(query.shape[:2])
    first = 0
    for index, length in enumerate(lengths):
        part = slice(first, first + length)
        scores = torch.einsum("qhd,khd->hqk", query[part], key[part]) * scale
        if biases is not None:
            scores = scores + biases[index].to(scores.dtype)
        attn_output[part] = torch.einsum("hqk,khd->qhd", scores.softmax(-1), value[part])
        log_sum_exp[part] = scores.logsumexp(-1).T
        first += length
    return attn_output, log_sum_exp if wants_log_sum_exp else None


def reference(query, key, value, scale, lengths, biases=None):
    """Attention output and log-sum-exp in float64; 0 on padding."""
    return attend_plainly(query.double(), key.double(), value.double(), scale, lengths, biases)
