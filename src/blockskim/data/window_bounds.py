"""Where the windows of a context begin and end, in tokens of it."""

from collections.abc import Iterator


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
