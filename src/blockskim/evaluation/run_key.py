"""The key of a run, by which the files of a killed run are recognised."""

import hashlib
import json
import sys
from dataclasses import replace
from typing import Any, Protocol

from blockskim.data.windows import WindowSet
from blockskim.errors import ConfigError
from blockskim.inference.backend import Backend, Fingerprinted
from blockskim.processor import processor


class Digest(Protocol):
    """A digest of hashlib."""

    def update(self, data: bytes, /) -> object:
        """Take in some bytes."""


VERSION = 3
"""Of the files that are kept under a key; raised when they, or what they mean, change."""

# Thresholds are what such runs try out, and loss weights are of training alone.
_WITHOUT_EFFECT = ("thresholds", "points", "skim_factor", "balance_factor", "neighbor_relevance", "teaching_factor")


def run_key(model: Backend, windows: WindowSet, batch_size: int, max_answer_length: int, timed: bool = False) -> str:
    """Digest of all that results depend on, thresholds aside.

    It is of weights, settings, confidence, number format, device and data; where time is measured, of the machine and
    the number of threads, too.

    Args:
        model: that runs.
        windows: that it reads.
        batch_size: windows per batch.
        max_answer_length: most tokens in an answer.
        timed: whether results hold times that count.

    Raises:
        ConfigError: the backend has no ``fingerprint``, so that its results can't be told from those of another.
    """
    if not isinstance(model, Fingerprinted):
        raise ConfigError(
            f"results of a {type(model).__name__} can't be kept: it has no fingerprint() that tells it from others; "
            "give no cache"
        )
    settings = {name: value for name, value in model.skim_config.to_dict().items() if name not in _WITHOUT_EFFECT}
    # It decides which questions of SQuAD 2.0 are declined.
    confidence = None if model.confidence is None else model.confidence.to_dict()
    facts = [VERSION, model.fingerprint(), settings, confidence, batch_size, max_answer_length]
    facts += _machine(model) if timed else []
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode())
    add_windows(digest, windows)
    return digest.hexdigest()[:32]


def _machine(model: Backend) -> list[Any]:
    """What times depend on beside the run itself: the processor, the number of threads and the GPU."""
    threads, device = getattr(model, "threads", None), getattr(model, "device", None)
    # A backend may well do without.
    torch: Any = sys.modules.get("torch")
    if threads is None and torch is not None:
        threads = torch.get_num_threads()
    gpu = torch.cuda.get_device_name(device) if getattr(device, "type", "cpu") == "cuda" else None
    return [*processor(), threads, gpu]


def add_windows(digest: Digest, windows: WindowSet) -> None:
    """Take windows, and the examples that they are of, into a digest.

    Examples are scored by file, so which of them are of one file counts; what the files are called does not.
    """
    digest.update(repr((windows.template, windows.settings)).encode())
    for array in (windows.windows, windows.context_of, windows.questions.ids, windows.contexts.ids):
        digest.update(array.tobytes())
    files: dict[str, int] = {}
    for example in windows.examples:
        number = files.setdefault(example.source, len(files))
        digest.update(repr(replace(example, source=str(number))).encode("utf-8", "surrogatepass"))
