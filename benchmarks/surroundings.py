"""What surrounds the model costs beside it: tokenising and cutting windows, packing, span search, gathering answers.

    python benchmarks/surroundings.py --data dev-v1.1.json --limit 1000

Prints a line of JSON for each batch size: seconds of each stage, medians over the rounds, and the sum of all but the
model as a share of the model's.
"""

import argparse
import json
import statistics
import sys
import time
from itertools import islice
from pathlib import Path

import torch

from blockskim.data.examples import Example
from blockskim.data.reading import read_examples
from blockskim.data.windows import make_windows
from blockskim.inference.answers import AnswerCollector, answer_texts
from blockskim.inference.loading import LoadedModel, load
from blockskim.inference.runner import run_windows
from blockskim.profiling.timing import timed


def main() -> None:
    """Time the stages and print them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=1000)
    parser.add_argument("--batch-size", type=int, nargs="*", default=[1, 32])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    examples = list(islice(read_examples(chosen.data), chosen.limit))
    loaded = load(None)
    for batch_size in chosen.batch_size:
        rounds = [stages(loaded, examples, batch_size) for _ in range(chosen.rounds + 1)][1:]
        seconds = {name: statistics.median(part[name] for part in rounds) for name in rounds[0]}
        around = sum(value for name, value in seconds.items() if name != "model")
        figures = {name: round(value, 4) for name, value in seconds.items()}
        record = {"batch_size": batch_size, "questions": len(examples), **figures, "share": around / seconds["model"]}
        sys.stdout.write(json.dumps(record) + "\n")


def stages(loaded: LoadedModel, examples: list[Example], batch_size: int) -> dict[str, float]:
    """Answer all questions once; seconds of each stage."""
    seconds = dict.fromkeys(("windows", "packing", "model", "spans", "answers"), 0.0)
    windows = timed("windows", make_windows, seconds)(examples, loaded.tokenizer)
    collector = AnswerCollector(windows)
    add = timed("spans", collector.add, seconds)
    loaded.model.skim_packed = timed("model", loaded.model.skim_packed, seconds)  # type: ignore[method-assign]
    try:
        started = time.perf_counter()
        for batch in run_windows(loaded.model, windows, batch_size=batch_size):
            add(batch)
        seconds["packing"] = time.perf_counter() - started - seconds["model"] - seconds["spans"]
    finally:
        del loaded.model.skim_packed
    timed("answers", lambda: answer_texts(windows.examples, collector.results()), seconds)()
    return seconds


if __name__ == "__main__":
    main()
