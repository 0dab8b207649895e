"""Where the time of a run goes: seconds of each part of the ragged pass, dense and skimming interleaved.

    python benchmarks/parts.py --data dev-v1.1.json --limit 300 --batch-size 1

Prints milliseconds per batch, medians over the rounds. Prepared layers and predictors are wrapped before they are given
to the pass, and the methods of ``Packing`` are wrapped while it runs, which costs each call about a microsecond.
"""

import argparse
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path

import torch

from blockskim.data.packed_inputs import PackedInputs
from blockskim.data.reading import read_examples
from blockskim.data.windows import make_windows
from blockskim.inference.loading import load
from blockskim.inference.runner import batches
from blockskim.model import ragged
from blockskim.model.modeling import BlockSkimForQuestionAnswering
from blockskim.model.packing import Packing
from blockskim.model.ragged import Skimmers, encode_ragged
from blockskim.profiling.timing import timed

Seconds = defaultdict[str, float]
WRAPPED = (
    (Packing, "of", "packing, embedding"),
    (Packing, "embed", "packing, embedding"),
    (Packing, "layer_view", "dropping"),
    (Packing, "drop", "dropping"),
    (ragged, "surviving_blocks", "dropping"),
    (ragged, "attend_packed", "attention"),
)


def main() -> None:
    """Time the parts and print them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=300)
    parser.add_argument("--batch-size", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    loaded = load(None)
    windows = make_windows(list(islice(read_examples(chosen.data), chosen.limit)), loaded.tokenizer)
    packed = [windows.pack(indices) for indices in batches(windows, chosen.batch_size)]
    rounds: dict[str, list[Seconds]] = {"skimming": [], "dense": []}
    for _ in range(chosen.rounds + 1):
        for name, done in rounds.items():
            done.append(time_parts(loaded.model, packed, skimming=name == "skimming"))
    sys.stdout.write(f"{'':20s} {'skimming':>9s} {'dense':>9s}   ms per batch of {chosen.batch_size}\n")
    for part in sorted({part for done in rounds.values() for part in done[-1]}):
        # The first round warms up.
        medians = (statistics.median(one[part] for one in done[1:]) for done in rounds.values())
        sys.stdout.write(f"{part:20s} " + " ".join(f"{value / len(packed) * 1e3:9.3f}" for value in medians) + "\n")


@torch.inference_mode()
def time_parts(model: BlockSkimForQuestionAnswering, packed: Sequence[PackedInputs], skimming: bool) -> Seconds:
    """Seconds of each part over all batches, and of everything."""
    seconds: Seconds = defaultdict(float)
    skimmers = wrapped_skimmers(model, seconds, skimming)
    with wrapped_functions(seconds):
        run = timed("all", encode_ragged, seconds)
        for inputs in packed:
            run(model.backbone, skimmers, inputs, model.packed_layout(inputs))
    return seconds


def wrapped_skimmers(model: BlockSkimForQuestionAnswering, seconds: Seconds, skimming: bool) -> Skimmers:
    """A model's prepared layers and predictors, each part timed."""
    skimmers = model.skimmers(None if skimming else 0.0)
    layers = [
        replace(
            layer,
            project=timed("query, key, value", layer.project, seconds),
            finish=timed("feed-forward", layer.finish, seconds),
        )
        for layer in skimmers.layers
    ]
    predictors = {
        number: replace(predictor, probabilities=timed("predictors", predictor.probabilities, seconds))
        for number, predictor in skimmers.predictors.items()
    }
    return replace(skimmers, layers=layers, predictors=predictors)


@contextmanager
def wrapped_functions(seconds: Seconds) -> Iterator[None]:
    """Time what the pass calls besides layers and predictors, while it is open."""
    before = [(owner, name, vars(owner)[name]) for owner, name, _ in WRAPPED]
    for owner, name, part in WRAPPED:
        setattr(owner, name, timed(part, getattr(owner, name), seconds))
    try:
        yield
    finally:
        for owner, name, value in before:
            setattr(owner, name, value)


if __name__ == "__main__":
    main()
