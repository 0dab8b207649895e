"""A digest by which weights are recognised."""

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor


def digest_of_weights(weights: Mapping[str, Tensor]) -> str:
    """Digest of names and values; of a model's ``state_dict`` it is the same wherever the model is."""
    digest = hashlib.sha256()
    for name, value in sorted(weights.items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:32]
