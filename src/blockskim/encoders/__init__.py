"""Encoder families that Block-Skim attaches to: one thin adapter each, found by the config's ``model_type``."""

from blockskim.encoders import albert, bert, deberta_v2, distilbert, modernbert, mpnet
from blockskim.encoders.adapter import EncoderAdapter, QaHead, RelativeAttention
from blockskim.errors import ModelError

__all__ = ["EncoderAdapter", "QaHead", "RelativeAttention", "adapter_for", "supported_types"]

_ADAPTERS = (
    bert.ADAPTER,
    mpnet.ADAPTER,
    albert.ADAPTER,
    distilbert.ADAPTER,
    modernbert.ADAPTER,
    deberta_v2.ADAPTER,
)


def supported_types() -> tuple[str, ...]:
    """The ``model_type`` values of all encoders that are supported."""
    return tuple(sorted(name for adapter in _ADAPTERS for name in adapter.model_types))


def adapter_for(model_type: str) -> EncoderAdapter:
    """The adapter of a family.

    Raises:
        ModelError: the family is not supported; the message lists those that are.
    """
    for adapter in _ADAPTERS:
        if model_type in adapter.model_types:
            return adapter
    raise ModelError(f"encoders of type {model_type!r} are not supported; supported are {', '.join(supported_types())}")
