"""Attention over packed sequences, each to itself: no padding, one way for each kind of device, number and length.

On a CPU PyTorch's fused attention spends most of its time beside the matrix products when sequences are as short as
text. Two batched products with a softmax between them take about half of it: in float32 for short sequences, by oneDNN
for longer ones in bfloat16. The matrix of scores then exists for one sequence at a time, in pieces that fit into the
cache. Long sequences in float32 go through fused attention. On other devices all sequences go through one kernel.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from blockskim.kernels.varlen_attention import attend_varlen

ROWS = 8
"""Rows that kernels prefer in multiples: oneDNN makes a kernel for every shape, and these make for few shapes."""

STEPS = 32
"""Numbers of rows between a power of two and the next one. oneDNN never gives the memory of a kernel back, so a process
that reads for days must come to an end of shapes; the padding is at most one row in so many."""

SHORT = 3072
"""Tokens times size of a head up to which products in float32 beat those of bfloat16."""

LONG = 256
"""Tokens from which on fused attention is the fastest in float32."""

SCORES = 2**21
"""Entries of the matrix of scores that exist at a time, as far as whole rows allow."""


def padded_rows(lengths: Sequence[int]) -> int:
    """Rows that packed sequences need when ``attend_packed`` may read some rows on behind the end of the last one.

    However many tokens there are, it is one of few numbers: see ``STEPS``.
    """
    total = last = 0
    for length in lengths:
        if length:
            total, last = total + length, length
    least = total - last + _round_up(last, ROWS)
    return _round_up(least, max(ROWS, (1 << least.bit_length()) // (2 * STEPS)))


def attend_packed(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scale: float,
    lengths: Sequence[int],
    biases: Sequence[Tensor] | None,
    wants_log_sum_exp: bool = True,
) -> tuple[Tensor, Tensor | None]:
    """Attention over packed sequences, each to itself, without a padded token anywhere. For inference.

    Args:
        query: may be a strided view whose last dimension is contiguous, as key and value may.
            Shape: (tokens, heads, head_dim)
        key: Shape: (tokens, heads, head_dim)
        value: Shape: (tokens, heads, head_dim)
        scale: factor on the dot products.
        lengths: tokens of each sequence; they add up to ``tokens`` or less. What follows the last one is padding,
            finite numbers of no meaning.
        biases: added to the scores of each sequence. Shape: (heads, length, length)
        wants_log_sum_exp: whether the log-sum-exp is needed.

    Returns:
        The attention output, Shape: (tokens, heads, head_dim), and the log-sum-exp of every row of scores,
        Shape: (tokens, heads), float32, None when it is not wanted. Both are 0 on padding.
    """
    if query.device.type != "cpu" or not has_fused_cpu():
        attn_output, log_sum_exp = attend_varlen(query, key, value, scale, lengths, biases)
        return attn_output, log_sum_exp if wants_log_sum_exp else None
    run = _Run(
        query,
        key,
        value,
        scale,
        torch.empty(query.shape, dtype=query.dtype),
        torch.empty(query.shape[:2], dtype=torch.float32) if wants_log_sum_exp else None,
    )
    first = 0
    for index, length in enumerate(lengths):
        if not length:
            continue
        _attend_one(run, first, length, None if biases is None else biases[index])
        first += length
    if first < len(query):
        run.attn_output[first:] = 0
        if run.sums is not None:
            run.sums[first:] = 0
    return run.attn_output, run.sums


def has_fused_cpu() -> bool:
    """Whether this build of PyTorch has the CPU flash attention that returns the log-sum-exp (a private operator)."""
    return hasattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu")


def has_fast_products() -> bool:
    """Whether oneDNN multiplies batches of bfloat16 matrices on this processor."""
    return bool(torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _round_up(length: int, step: int) -> int:
    return -(-length // step) * step


@dataclass(frozen=True, slots=True)
class _Run:
    """Inputs of ``attend_packed``, and where its results go."""

    query: Tensor
    key: Tensor
    value: Tensor
    scale: float
    attn_output: Tensor
    sums: Tensor | None


def _attend_one(run: _Run, first: int, length: int, bias: Tensor | None) -> None:
    """One sequence, the fastest way for it."""
    if run.query.dtype == torch.float64:
        _attend_fused(run, slice(first, first + length), bias)
    elif length * run.query.shape[2] <= SHORT or (run.query.dtype == torch.float32 and length < LONG):
        _attend_by_products(run, first, length, bias, torch.float32)
    elif run.query.dtype == torch.bfloat16 and has_fast_products():
        _attend_by_products(run, first, length, bias, torch.bfloat16)
    else:
        _attend_fused(run, slice(first, first + length), bias)


def _attend_fused(run: _Run, part: slice, bias: Tensor | None) -> None:
    """One sequence by PyTorch's fused attention."""
    mask = None if bias is None else bias[None].to(run.query.dtype)
    result, log_sum_exp = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default(
        run.query[part].transpose(0, 1)[None],
        run.key[part].transpose(0, 1)[None],
        run.value[part].transpose(0, 1)[None],
        0.0,
        False,
        attn_mask=mask,
        scale=run.scale,
    )
    run.attn_output[part] = result[0].transpose(0, 1)
    if run.sums is not None:
        run.sums[part] = log_sum_exp.reshape(run.query.shape[1], -1).T


def _attend_by_products(run: _Run, first: int, length: int, bias: Tensor | None, dtype: torch.dtype) -> None:
    """One sequence by two batched matrix products in a number format.

    In bfloat16 it reads some rows on behind the sequence's end, up to a multiple of ``ROWS``, without weight.
    """
    heads = run.query.shape[1]
    size = length if dtype == torch.float32 else min(_round_up(length, ROWS), len(run.query) - first)
    keys = run.key[first : first + size].permute(1, 2, 0).to(dtype)
    values = run.value[first : first + size].transpose(0, 1).to(dtype)
    step = max(ROWS, SCORES // (heads * size) // ROWS * ROWS)
    for start in range(0, length, step):
        rows = slice(start, min(start + step, size))
        real = min(rows.stop, length) - start
        queries = run.query[first + start : first + rows.stop].transpose(0, 1).to(dtype)
        scores = torch.bmm(queries, keys).float()
        if run.scale != 1.0:
            scores *= run.scale
        if bias is not None:
            scores[:, :real, :length] += bias[:, start : start + real]
        if size > length:
            scores[:, :, length:] = -torch.inf
        largest = None if run.sums is None else scores[:, :real].amax(-1)
        probabilities = torch.softmax(scores, -1, out=scores)
        written = slice(first + start, first + start + real)
        if run.sums is not None and largest is not None:
            run.sums[written] = _log_sum_exp(largest, probabilities[:, :real]).T
        attended = torch.bmm(probabilities.to(dtype), values)
        run.attn_output[written].copy_(attended[:, :real].transpose(0, 1))


def _log_sum_exp(largest: Tensor, probabilities: Tensor) -> Tensor:
    """The log-sum-exp of rows of scores, from the largest score of each and the probabilities.

    It is any score less the logarithm of its probability; only that of the largest one can't underflow.
    Shapes: (..., rows), (..., rows, columns) to (..., rows)
    """
    return largest - probabilities.amax(-1).log()
