"""What a contender of a benchmark makes of a test's batch."""

import numpy as np
import torch

from blockskim.profiling.contenders import Batch


def as_batch(made):
    rows = len(made.sizes)
    return Batch(made.inputs, torch.arange(rows), np.arange(rows))


def result_of(contender, made):
    """Logits of the tokens that the batch has, and the work."""
    inputs = contender.prepare(as_batch(made))
    logits = contender.run(inputs)
    width = made.real.shape[1]
    return [part[:, :width][made.real] for part in logits], contender.work(inputs)
