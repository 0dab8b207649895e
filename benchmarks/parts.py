"""Where the time of a run goes: seconds of each part of the forward pass, dense and skimming in turns.

    python benchmarks/parts.py --data dev-v1.1.json --limit 300 --batch-size 1

Prints milliseconds a batch, medians over the rounds. The parts are timed by wrapping functions of the library, which
costs each call about a microsecond.
"""

import argparse
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from blockskim.data.reading import read_examples
from blockskim.data.windows import make_windows
from blockskim.inference.loading import load
from blockskim.model import modeling, ragged
from blockskim.profiling.workloads import window_batches

PACKING = ("_pack", "_embed", "question_tokens")
DROPPING = ("_view", "surviving_blocks", "_staying_tokens", "_drop")


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
    model = loaded.model
    windows = make_windows(list(islice(read_examples(chosen.data), chosen.limit)), loaded.tokenizer)
    batches = window_batches(windows, chosen.batch_size, model.device)
    seconds: defaultdict[str, float] = defaultdict(float)

    def timed(part: str, run: Callable[..., Any]) -> Callable[..., Any]:
        def measured(*args: Any, **kwargs: Any) -> Any:
            started = time.perf_counter()
            result = run(*args, **kwargs)
            seconds[part] += time.perf_counter() - started
            return result

        return measured

    def run(thresholds: float | None) -> tuple[int, int]:
        spent = dense = 0
        for batch in batches:
            trace = timed("all", model.skim)(**batch.inputs, documents=batch.documents, thresholds=thresholds).trace
            assert trace is not None
            spent, dense = spent + int(trace.flops.sum()), dense + int(trace.dense_flops.sum())
        return spent, dense

    ready, prepared = model._prepared_layers, model._prepared_predictors
    for thresholds in (None, 0.0):
        spent, dense = run(thresholds)
        sys.stdout.write(f"{dense / spent:.3f} times less arithmetic than dense\n")
    for part, names in (("packing, embedding", PACKING), ("dropping", DROPPING)):
        for name in names:
            setattr(ragged, name, timed(part, getattr(ragged, name)))
    ragged.attend_packed = timed("attention", ragged.attend_packed)  # type: ignore[attr-defined]
    modeling.block_layout = timed("packing, embedding", modeling.block_layout)  # type: ignore[attr-defined]
    trace_of: Any = model._trace
    model._trace = timed("trace", trace_of)  # type: ignore[method-assign]
    ready._layers = [
        replace(layer, project=timed("query, key, value", layer.project), finish=timed("feed-forward", layer.finish))
        for layer in ready._layers
    ]
    for number, predictor in prepared._prepared_predictors.items():
        scored = replace(predictor, probabilities=timed("predictors", predictor.probabilities))
        prepared._prepared_predictors[number] = scored
    rounds: dict[float | None, list[dict[str, float]]] = {None: [], 0.0: []}
    for _ in range(chosen.rounds + 1):
        for thresholds, done in rounds.items():
            seconds.clear()
            run(thresholds)
            done.append({part: value / len(batches) * 1e3 for part, value in seconds.items()})
    sys.stdout.write(f"{'':20s} {'skimming':>9s} {'dense':>9s}   ms a batch of {chosen.batch_size}\n")
    parts = sorted({part for done in rounds.values() for part in done[-1]})
    for part in parts:
        skimming, dense_run = (statistics.median(one.get(part, 0.0) for one in done[1:]) for done in rounds.values())
        sys.stdout.write(f"{part:20s} {skimming:9.3f} {dense_run:9.3f}\n")


if __name__ == "__main__":
    main()
