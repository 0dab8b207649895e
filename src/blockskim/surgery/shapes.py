"""Whether two models are built alike, and compute alike."""

from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from blockskim.encoders.position_table import first_position

UNUSED = ("initializer_", "classifier_", "summary_", "pooler_", "sparse_", "decoder_", "deterministic_")
"""What names of settings begin with that are of training, or of parts that no encoder of ours has."""

SWITCHES = ("use_cache", "is_decoder", "add_cross_attention", "tie_word_embeddings", "legacy")
"""Settings that change nothing of what an encoder computes here."""


def different_parameter(one: nn.Module, other: nn.Module) -> str | None:
    """Name of a weight that only one of two models has, or of another shape; None when they are built alike."""
    shapes = [{key: value.shape for key, value in model.state_dict().items()} for model in (one, other)]
    different = sorted(key for key in {*shapes[0], *shapes[1]} if shapes[0].get(key) != shapes[1].get(key))
    return different[0] if different else None


def different_setting(one: PreTrainedModel, other: PreTrainedModel) -> tuple[str, object, object] | None:
    """A setting by which two encoders of a family compute differently from the same weights, with both values.

    Dropout doesn't count, nor what transformers writes into every config. Ids of special tokens count as far as
    positions are counted from one.

    Args:
        one: an encoder.
        other: an encoder of the same family.

    Returns:
        None where they compute alike.
    """
    mine, theirs = (model.config.to_dict() for model in (one, other))
    general = PreTrainedConfig().to_dict()
    for name in sorted(mine.keys() & theirs.keys() - general.keys()):
        ignored = name in SWITCHES or name.startswith(UNUSED) or "dropout" in name or name.endswith("token_id")
        if not ignored and mine[name] != theirs[name]:
            return name, mine[name], theirs[name]
    first, second = first_position(one), first_position(other)
    return None if first == second else ("pad_token_id", first - 1, second - 1)
