"""How fast this machine multiplies matrices: the yardstick for how well a run uses it."""

import time

import torch

from blockskim.profiling.timing import Clock

SIZES = (512, 1024, 2048, 4096, 8192)


def matmul_rate(
    device: torch.device,
    dtype: torch.dtype,
    least_seconds: float = 0.02,
    repeats: int = 10,
    clock: Clock = time.perf_counter,
) -> float:
    """Operations per second of a large square matrix product, 2 a multiply-add; the best of several.

    Args:
        device: where.
        dtype: in which number format.
        least_seconds: the matrices grow until one product takes that long (or they are very large), so that starting
            the work doesn't count.
        repeats: products of the final size that are timed.
        clock: what to read the time from.
    """
    for size in SIZES:
        left, right = torch.randn(2, size, size, device=device).to(dtype).unbind()
        best = min(_seconds(left, right, clock) for _ in range(3))
        if best >= least_seconds:
            break
    best = min(best, *(_seconds(left, right, clock) for _ in range(repeats)))
    return 2 * size**3 / best


@torch.inference_mode()
def _seconds(left: torch.Tensor, right: torch.Tensor, clock: Clock) -> float:
    _wait(left.device)
    started = clock()
    left @ right.T
    _wait(left.device)
    return clock() - started


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
