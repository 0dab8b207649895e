"""The notation of skim schedules: which share of the context blocks is there after which layer."""

import itertools
import math
from collections.abc import Mapping

from blockskim.errors import ConfigError


def parse_keep(text: str) -> dict[int, float]:
    """Read a schedule such as ``"3:0.5,6:0.25"``: after layer 3 half of the context blocks stay, after 6 a quarter.

    Shares are of the blocks that were there at first. ``"all"`` is the empty schedule.

    Raises:
        ConfigError: the text is malformed, names a layer twice, or a share is impossible or rises.
    """
    if text.strip() == "all":
        return {}
    keep: dict[int, float] = {}
    for part in text.split(","):
        layer, colon, share = part.partition(":")
        try:
            number, value = int(layer), float(share)
        except ValueError:
            colon = ""
        if not colon:
            raise ConfigError(f"keep has {part!r}; it must be 'all' or LAYER:SHARE,... as in 3:0.5,6:0.25")
        if not 0.0 < value <= 1.0:
            raise ConfigError(f"keep has the share {share} for layer {number}; it must be above 0 and at most 1")
        if number in keep:
            raise ConfigError(f"keep names layer {number} twice")
        keep[number] = value
    keep = dict(sorted(keep.items()))
    shares = list(keep.values())
    if any(later > earlier for earlier, later in itertools.pairwise(shares)):
        raise ConfigError(f"keep is {text!r}; shares are of the original blocks, so they can't rise with the layer")
    return keep


def share_after(keep: Mapping[int, float], layer: int) -> float:
    """Share of the original blocks that is there after a layer."""
    return min((share for number, share in keep.items() if number <= layer), default=1.0)


def kept_blocks(share: float, blocks: int) -> int:
    """Blocks that a sample of ``blocks`` keeps: the share, rounded, at least one."""
    return min(blocks, max(1, math.floor(share * blocks + 0.5)))
