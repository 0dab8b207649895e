"""The number format that a training run computes in."""

from pathlib import Path

import torch

from blockskim.errors import ConfigError
from blockskim.inference.devices import has_bfloat16
from blockskim.training.resume import INPUTS_FILE, read_record

MIXED_PRECISION = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}
"""What accelerate calls computing in each format."""

PRECISION = "precision"
"""The name under which a run leaves its number format in ``INPUTS_FILE``."""


def choose_precision(wanted: str, device: torch.device, begun: Path | None = None) -> str:
    """The number format of a run.

    Args:
        wanted: a number format, or "auto": that of a run that goes on, else bfloat16 where the device has it in
            hardware.
        device: where the run computes.
        begun: the folder of a run that goes on, perhaps on another machine than it began on; None for a new one.

    Raises:
        ConfigError: it is float16, in which a CPU can't train.
        BlockSkimError: what the run began with can't be read.
    """
    precision = wanted
    if wanted == "auto":
        before = {} if begun is None or not (begun / INPUTS_FILE).is_file() else read_record(begun / INPUTS_FILE)
        # Earlier versions left none.
        precision = str(before.get(PRECISION) or ("bfloat16" if has_bfloat16(device) else "float32"))
    if precision not in MIXED_PRECISION:
        raise ConfigError(f"precision is {precision!r}; it must be auto, float32, bfloat16 or float16")
    if precision == "float16" and device.type == "cpu":
        raise ConfigError("precision is float16, which a CPU can't train in; choose bfloat16, float32 or auto")
    return precision
