"""The names of baselines and model shapes, and what they stand for.

Quick to import, so that a wrong name is told at once.
"""

import re

from blockskim.errors import ConfigError
from blockskim.extras import has, raise_missing

BASELINES = {
    "dense-eager": "transformers' model with the same weights, eager attention, padded to the longest of the batch",
    "dense-sdpa": "the same with fused attention",
    "packed": "the same forward pass with nothing dropped: no padding, no skimming",
    "packed-float32": "the same in float32, whatever skimming computes in",
    "aligned": "the batch-aligned scheme of the code that was released with the paper",
    "onnx-fp32": "the dense model in ONNX Runtime",
    "onnx-int8": "the same with weights quantised to int8",
    "onnx-packed": "the exported graph that is measured, with nothing dropped",
    "bert-base": "a dense model of BERT-base's size with random weights, fused attention",
}
"""All but the packed ones and "aligned" may be followed by ``-N``: input padded to N tokens."""

# Layers, hidden size, attention heads, width of the feed-forward part.
SHAPES: dict[str, tuple[int, int, int, int]] = {
    "bert-tiny": (2, 128, 2, 512),
    "bert-mini": (4, 256, 4, 1024),
    "bert-small": (4, 512, 8, 2048),
    "minilm-l6": (6, 384, 12, 1536),
    "minilm-l12": (12, 384, 12, 1536),
    "distilbert": (6, 768, 12, 3072),
    "bert-base": (12, 768, 12, 3072),
    "bert-large": (24, 1024, 16, 4096),
}

_NEVER_PADDED = ("packed", "packed-float32", "onnx-packed", "aligned")
_ONNX_PACKAGES = ("onnx", "onnxruntime", "onnxscript")


def parse_baseline(name: str) -> tuple[str, int | None]:
    """The kind of a baseline, and the number of tokens that it pads to (None: the longest of the batch).

    Raises:
        ConfigError: there is no such baseline, or a package that it needs is not installed.
    """
    padded = re.fullmatch(r"(.+)-([1-9][0-9]{0,5})", name)
    kind, pad_to = (padded[1], int(padded[2])) if padded else (name, None)
    if kind not in BASELINES or (pad_to is not None and kind in _NEVER_PADDED):
        raise ConfigError(
            f"there is no baseline {name!r}; known are {', '.join(BASELINES)}, and dense-sdpa-384 and the like, "
            "padded to so many tokens"
        )
    if kind.startswith("onnx"):
        missing = [package for package in _ONNX_PACKAGES if not has(package)]
        if missing:
            raise_missing(f"{name} needs {missing[0]}, which is not installed", "onnx")
    return kind, pad_to


def check_shape(name: str) -> str:
    """The name, if there is such a shape.

    Raises:
        ConfigError: there is none.
    """
    if name not in SHAPES:
        raise ConfigError(f"there is no shape {name!r}; known are {', '.join(SHAPES)}")
    return name
