"""Attention over packed sequences in one call for all of them, for devices on which a call for each is too slow.

It keeps what ``attend_packed`` promises: the attention output, and the log-sum-exp of every row of scores in float32.
For inference only.
"""

import functools
import importlib
import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

KernelName = Literal["torch", "flash-attn", "padded"]
Attended = tuple[Tensor, Tensor]
"""Attention output, Shape: (tokens, heads, head_dim), and log-sum-exp, Shape: (tokens, heads)."""

Kernel = Callable[[Tensor, Tensor, Tensor, Tensor, int, float], tuple[Tensor, Tensor]]
"""(query, key, value, offsets of the sequences, longest one, scale) -> (attention output, log-sum-exp as it comes)."""

SCORE_BYTES = 64 * 2**20
"""How large a piece of the scores may be that the fallback holds at a time; a single row may be larger."""


def attend_varlen(
    query: Tensor, key: Tensor, value: Tensor, scale: float, lengths: Sequence[int], biases: Sequence[Tensor] | None
) -> tuple[Tensor, Tensor]:
    """Attention over packed sequences, each to itself, with the best kernel there is for them.

    Args:
        query: Shape: (tokens, heads, head_dim). Like key and value it may be a strided view, if its last dimension is
            contiguous.
        key: the same shape.
        value: the same shape.
        scale: factor on the dot products.
        lengths: tokens of each sequence; they add up to ``tokens`` or less. What follows the last one is padding.
        biases: added to the scores of each sequence. Shape: (heads, length, length)

    Returns:
        The attention output, Shape: (tokens, heads, head_dim), and the log-sum-exp, Shape: (tokens, heads), float32.
        Both are 0 on padding.

    Raises:
        ValueError: there are fewer tokens than the lengths say.
    """
    tokens, heads, head_dim = query.shape
    total = sum(lengths)
    if total > tokens:  # a kernel would read on behind the end
        raise ValueError(f"lengths add up to {total}, but there are only {tokens} tokens")
    if biases is not None:
        biases = [bias for bias, length in zip(biases, lengths, strict=True) if length]
    lengths = [length for length in lengths if length]
    if not lengths:
        return value.new_zeros(value.shape), value.new_zeros((tokens, heads), dtype=torch.float32)

    on_cuda = query.device.type == "cuda"
    torch_varlen = on_cuda and torch.backends.cuda.is_flash_attention_available() and torch_kernel() is not None
    name = choose_kernel(
        query.device.type,
        query.dtype,
        head_dim,
        biases is not None,
        torch.cuda.get_device_capability(query.device) if on_cuda else None,
        torch_varlen,
        on_cuda and not torch_varlen and flash_attn_kernel() is not None,
    )
    kernel = torch_kernel() if name == "torch" else flash_attn_kernel() if name == "flash-attn" else None
    if kernel is None:
        attn_output, log_sum_exp = attend_by_padding(query[:total], key[:total], value[:total], scale, lengths, biases)
        return _add_rows(attn_output, tokens), _add_rows(log_sum_exp, tokens)
    return _attend_with(kernel, query, key, value, scale, lengths)


def choose_kernel(
    device_type: str,
    dtype: torch.dtype,
    head_dim: int,
    has_biases: bool,
    capability: tuple[int, int] | None,
    torch_varlen: bool,
    flash_attn: bool,
) -> KernelName:
    """Which kernel computes a batch; the fused ones know neither biases nor float32.

    Args:
        device_type: as in ``torch.device.type``.
        dtype: of queries, keys and values.
        head_dim: entries of a query.
        has_biases: whether something is added to the scores.
        capability: of the CUDA device; None for other devices.
        torch_varlen: whether PyTorch's own kernel can be used.
        flash_attn: whether the one of the package flash-attn can.

    Returns:
        The kernel's name; "padded" is the one that always works.
    """
    fused = (
        device_type == "cuda"
        and dtype in (torch.float16, torch.bfloat16)
        and head_dim % 8 == 0
        and head_dim <= 256
        and not has_biases
        and capability is not None
        and capability >= (8, 0)
    )
    if fused and torch_varlen:
        return "torch"
    if fused and flash_attn:
        return "flash-attn"
    return "padded"


@functools.cache
def torch_kernel() -> Kernel | None:
    """PyTorch's kernel for packed sequences; None where it is missing or can't return the log-sum-exp."""
    try:
        from torch.nn.attention.varlen import AuxRequest, varlen_attn
    except ImportError:
        return None
    if not {"return_aux", "scale"} <= inspect.signature(varlen_attn).parameters.keys():
        return None

    def attend(query: Tensor, key: Tensor, value: Tensor, offsets: Tensor, longest: int, scale: float) -> Attended:
        request = AuxRequest(lse=True)
        results: Any = varlen_attn(
            query, key, value, offsets, offsets, longest, longest, return_aux=request, scale=scale
        )
        attn_output, log_sum_exp = results
        return attn_output, log_sum_exp

    return attend


@functools.cache
def flash_attn_kernel() -> Kernel | None:
    """The kernel of the package flash-attn; None where that is missing, broken, or has no such function."""
    try:
        function = importlib.import_module("flash_attn").flash_attn_varlen_func
    except (ImportError, AttributeError):
        return None
    if not {"return_attn_probs", "softmax_scale"} <= inspect.signature(function).parameters.keys():
        return None

    def attend(query: Tensor, key: Tensor, value: Tensor, offsets: Tensor, longest: int, scale: float) -> Attended:
        attn_output, log_sum_exp, _ = function(
            query, key, value, offsets, offsets, longest, longest, softmax_scale=scale, return_attn_probs=True
        )
        return attn_output, log_sum_exp

    return attend


def _attend_with(
    kernel: Kernel, query: Tensor, key: Tensor, value: Tensor, scale: float, lengths: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Run a fused kernel. Shapes as of ``attend_varlen``; no length is 0."""
    tokens, heads, _ = query.shape
    rows = tokens
    if tokens == heads:
        # One row more, so that the shape of the log-sum-exp tells which way round it is.
        rows = tokens + 1
        query, key, value = (_add_rows(part, rows) for part in (query, key, value))
    ends = torch.tensor([0, *lengths]).cumsum(0).tolist()
    offsets = _to_device(ends, torch.int32, query.device)
    attn_output, log_sum_exp = kernel(query, key, value, offsets, max(lengths), scale)
    log_sum_exp = token_log_sum_exp(log_sum_exp, rows, heads, lengths)
    attn_output, log_sum_exp = attn_output[:tokens], log_sum_exp[:tokens]
    total = ends[-1]
    if total < tokens:  # kernels leave there what was in memory
        attn_output[total:] = 0
        log_sum_exp[total:] = 0
    return attn_output, log_sum_exp


def token_log_sum_exp(log_sum_exp: Tensor, tokens: int, heads: int, lengths: Sequence[int]) -> Tensor:
    """Bring the log-sum-exp of a kernel into one form; what form it comes in depends on version and device.

    Args:
        log_sum_exp: Shape: (tokens, heads), (heads, tokens), or (sequences, heads, longest or more)
        tokens: rows that the kernel was given; not as many as ``heads``.
        heads: attention heads.
        lengths: tokens of each sequence.

    Returns:
        Shape: (tokens, heads), float32

    Raises:
        RuntimeError: it has another shape, or one that doesn't tell which way round it is.
    """
    shape = tuple(log_sum_exp.shape)
    if tokens != heads and shape == (tokens, heads):
        return log_sum_exp.float().contiguous()
    if tokens != heads and shape == (heads, tokens):
        return log_sum_exp.float().T.contiguous()
    if len(shape) == 3 and shape[:2] == (len(lengths), heads) and shape[2] >= max(lengths):
        samples, positions = _sequence_and_position(lengths, log_sum_exp.device)
        return _add_rows(log_sum_exp.float().transpose(1, 2)[samples, positions], tokens)
    raise RuntimeError(
        f"the attention kernel returned a log-sum-exp of shape {shape} for {tokens} tokens in {len(lengths)} "
        f"sequences with {heads} heads, which this version doesn't know how to read"
    )


def attend_by_padding(
    query: Tensor, key: Tensor, value: Tensor, scale: float, lengths: Sequence[int], biases: Sequence[Tensor] | None
) -> tuple[Tensor, Tensor]:
    """Attention over packed sequences by way of a padded batch: on any device, in any type, with biases.

    Args:
        query: Shape: (tokens, heads, head_dim)
        key: Shape: (tokens, heads, head_dim)
        value: Shape: (tokens, heads, head_dim)
        scale: factor on the dot products.
        lengths: tokens of each sequence, none of them 0; they add up to ``tokens``.
        biases: added to the scores of each sequence. Shape: (heads, length, length)

    Returns:
        The attention output, Shape: (tokens, heads, head_dim), and the log-sum-exp, Shape: (tokens, heads), float32
    """
    longest = max(lengths)
    samples, positions = _sequence_and_position(lengths, query.device)
    slots = samples * longest + positions
    query, key, value = (_spread(part, slots, len(lengths), longest) for part in (query, key, value))
    if biases is None:
        counts = _to_device(lengths, torch.int64, query.device)
        mask = bias = (torch.arange(longest, device=query.device) < counts[:, None])[:, None, None, :]
    else:
        bias = _padded_biases(biases, longest)
        mask = bias.to(query.dtype)
    attn_output = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scale)
    log_sum_exp = _padded_log_sum_exp(query, key, scale, bias, SCORE_BYTES)
    return attn_output.transpose(1, 2)[samples, positions], log_sum_exp.transpose(1, 2)[samples, positions]


def _padded_biases(biases: Sequence[Tensor], longest: int) -> Tensor:
    """Biases of one size that leave no weight to padded keys. Shape: (samples, heads, longest, longest)."""
    # Rows of padding get 0 for the real keys: with -inf for all, they would be NaN.
    missing = [longest - bias.shape[-1] for bias in biases]
    return torch.stack(
        [
            F.pad(F.pad(bias, (0, 0, 0, more)), (0, more), value=-torch.inf)
            for bias, more in zip(biases, missing, strict=True)
        ]
    )


def _padded_log_sum_exp(query: Tensor, key: Tensor, scale: float, mask: Tensor, limit: int) -> Tensor:
    """Log-sum-exp of the rows of scores of a padded batch, a piece of at most ``limit`` bytes of scores after another.

    Args:
        query: Shape: (samples, heads, tokens, head_dim)
        key: Shape: (samples, heads, tokens, head_dim)
        scale: factor on the dot products.
        mask: False on padded keys, Shape: (samples, 1, 1, tokens); or what is added to the scores,
            Shape: (samples, heads, tokens, tokens)
        limit: bytes.

    Returns:
        Shape: (samples, heads, tokens), float32
    """
    samples, heads, tokens, _ = query.shape
    dtype = torch.promote_types(query.dtype, torch.float32)
    row_bytes = heads * tokens * dtype.itemsize
    result = query.new_empty((samples, heads, tokens), dtype=torch.float32)
    with torch.autocast(query.device.type, enabled=False):  # it would round the scores
        for chosen in _pieces(samples, limit // (row_bytes * tokens)):
            columns = key[chosen].to(dtype).transpose(-1, -2)
            for rows in _pieces(tokens, limit // row_bytes):
                scores = (query[chosen, :, rows].to(dtype) * scale) @ columns
                if mask.dtype == torch.bool:
                    scores.masked_fill_(~mask[chosen], -torch.inf)
                else:
                    scores += mask[chosen, :, rows]
                result[chosen, :, rows] = scores.logsumexp(-1)
    return result


def _pieces(size: int, at_once: int) -> Iterator[slice]:
    """Slices that cover ``size`` entries, each of ``at_once`` of them and at least one."""
    step = max(at_once, 1)
    return (slice(first, first + step) for first in range(0, size, step))


def _sequence_and_position(lengths: Sequence[int], device: torch.device) -> tuple[Tensor, Tensor]:
    """Sequence of each packed token, and its position in that. Shapes: (tokens,)."""
    total = sum(lengths)
    counts = _to_device(lengths, torch.int64, device)
    samples = torch.arange(len(lengths), device=device).repeat_interleave(counts, output_size=total)
    return samples, torch.arange(total, device=device) - (counts.cumsum(0) - counts)[samples]


def _spread(values: Tensor, slots: Tensor, samples: int, longest: int) -> Tensor:
    """Packed to padded, with zeros. Shape: (tokens, heads, head_dim) -> (samples, heads, longest, head_dim)."""
    padded = values.new_zeros((samples * longest, *values.shape[1:]))
    return padded.index_copy_(0, slots, values).unflatten(0, (samples, longest)).transpose(1, 2)


def _add_rows(values: Tensor, rows: int) -> Tensor:
    """Zeros at the end, so that there are ``rows`` rows."""
    missing = rows - len(values)
    return torch.cat([values, values.new_zeros((missing, *values.shape[1:]))]) if missing else values


def _to_device(values: Sequence[int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Numbers of the host on a device, without waiting for what that is still computing. Shape: (values,)."""
    return torch.tensor(values, dtype=dtype, pin_memory=device.type == "cuda").to(device, non_blocking=True)
