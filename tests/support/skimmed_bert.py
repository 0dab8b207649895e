"""A tiny BERT: its logits by ``skim``, by its own modules, and the layers that were made ready."""

import torch

from blockskim.kernels import packed_linear
from tiny_models import make_batch

HIDDEN, WIDE, HEADS, SIZE, LAYERS = 32, 48, 4, 8, 3
BATCH = make_batch("bert", [(4, 30), (2, 41), (6, 12)], padding=2)


def close(found, expected, atol=1e-5):
    torch.testing.assert_close(found, expected, atol=atol, rtol=0)


def states(rows, width=HIDDEN, seed=0, dtype=torch.float32):
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(seed)).to(dtype)


def choose(patch, packs):
    """Leave it to the machine whether weights are packed, or forbid it."""
    if not packs:
        patch.setattr(packed_linear, "can_pack", lambda weight: False)


def ready_of(model):
    """What is ready for inference, made now if need be."""
    model.prepare()
    return model.prepared.current


def skimmed(model, **settings):
    """Logits of real tokens. The layers are made ready for it, if they are not."""
    found = model.skim(**BATCH.inputs, **{"thresholds": 0.0, **settings})
    return torch.stack([found.start_logits, found.end_logits])[:, BATCH.real]


def dense(model):
    """The same by the model's own modules."""
    with torch.no_grad():
        found = model(**BATCH.inputs)
    return torch.stack([found.start_logits, found.end_logits])[:, BATCH.real].float()


def some_linear(model):
    return model.encoder.encoder.layer[1].output.dense
