"""Peak working memory of a run: what it allocates at most at any one moment, weights and inputs not counted.

On a GPU PyTorch's caching allocator keeps count. On a CPU PyTorch's profiler records every allocation and release, and
the largest running sum is the peak: exact, the same in every run, and blind to memory that other libraries (ONNX
Runtime) manage by themselves. The resident size of the process would show those, too, but also whatever the C library
has kept from earlier runs, which in one process with several contenders is most of it.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch.profiler import ProfilerActivity, profile

MEMORY_EVENT = "[memory]"

LOG_LEVEL_VARIABLE, SILENT = "KINETO_LOG_LEVEL", "6"
"""How much the profiler says on standard error, and the level at which that is nothing."""


def peak_bytes(run: Callable[[], object], device: torch.device) -> int:
    """Largest number of bytes that a run holds at once beyond what was there before it."""
    if device.type == "cuda":
        return _peak_on_cuda(run, device)
    with _silent_profiler(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        run()
    assert recorded.profiler is not None and recorded.profiler.kineto_results is not None
    events = [event for event in recorded.profiler.kineto_results.events() if event.name() == MEMORY_EVENT]
    held = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak


@contextmanager
def _silent_profiler() -> Iterator[None]:
    """Keep the profiler from announcing its beginning and end on standard error, unless the environment says how much.

    The variable is taken back: it would hold for every other profile of the process, and for processes that it starts.
    """
    if LOG_LEVEL_VARIABLE in os.environ:
        yield
        return
    os.environ[LOG_LEVEL_VARIABLE] = SILENT
    try:
        yield
    finally:
        os.environ.pop(LOG_LEVEL_VARIABLE, None)


def _peak_on_cuda(run: Callable[[], object], device: torch.device) -> int:
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    run()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before
