"""Where the windows of a context begin and end, in tokens of it."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray


def window_bounds(tokens: int, room: int, stride: int, step_of: int) -> Iterator[tuple[int, int]]:
    """First token and end of each window that holds up to ``room`` of so many tokens."""
    step = room - stride
    if room > step_of:
        step = max(step // step_of, 1) * step_of
    start = 0
    while True:
        end = min(start + room, tokens)
        yield start, end
        if end == tokens:
            return
        start += step


def cut_lengths(tokens: int, room: int, stride: int, step_of: int = 1) -> list[int]:
    """How many context tokens each window holds.

    Args:
        tokens: of the context.
        room: for context tokens in a window.
        stride: by how much windows overlap at least.
        step_of: windows follow each other by a multiple of so many tokens.
    """
    return [end - start for start, end in window_bounds(tokens, room, stride, step_of)]


def bounds_of_examples(
    sizes: NDArray[np.int64], rooms: NDArray[np.int64], stride: int, steps_of: NDArray[np.int64] | None = None
) -> NDArray[np.int64]:
    """Example, first token and end of each window. Shape: (windows, 3).

    Args:
        sizes: tokens of each example's context. Shape: (examples,)
        rooms: for context tokens in a window of each. Shape: (examples,)
        stride: by how much windows overlap at least.
        steps_of: windows of each follow each other by a multiple of so many tokens; 1 when None. Shape: (examples,)
    """
    steps = np.ones_like(sizes) if steps_of is None else steps_of
    rows = [
        (example, start, end)
        for example, (size, room, step_of) in enumerate(
            zip(sizes.tolist(), rooms.tolist(), steps.tolist(), strict=True)
        )
        for start, end in window_bounds(size, room, stride, step_of)
    ]
    return np.array(rows, dtype=np.int64).reshape(-1, 3)
