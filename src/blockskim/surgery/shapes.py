"""Whether two models are built alike."""

from torch import nn


def different_parameter(one: nn.Module, other: nn.Module) -> str | None:
    """Name of a weight that only one of two models has, or of another shape; None when they are built alike."""
    shapes = [{key: value.shape for key, value in model.state_dict().items()} for model in (one, other)]
    different = sorted(key for key in {*shapes[0], *shapes[1]} if shapes[0].get(key) != shapes[1].get(key))
    return different[0] if different else None
