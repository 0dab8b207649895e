"""Score a model on long documents made by joining all contexts of an article: dense, by thresholds, by competition.

    python benchmarks/joined_articles.py --data dev-v1.1.json --limit 60

Every question is asked of the whole article that its context is from. What is compared is reading everything
(``dense``), the thresholds of the layers alone (``thresholds``), and choosing passages before the first layer, too, at
one or several values of ``document_threshold``. Scores are SQuAD's; seconds are those of one run each, and so rough.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from blockskim.answering.loading import load_backend
from blockskim.answering.model_choice import ModelChoice
from blockskim.atomic import write_whole
from blockskim.data.examples import Example
from blockskim.data.reading import read_examples
from blockskim.data.splitting import sample_examples, split_by_article
from blockskim.data.windows import WindowSet, make_windows
from blockskim.evaluation.evaluate import evaluate_windows
from blockskim.inference.backend import Backend
from blockskim.inference.shipped import shipped_model
from blockskim.inference.window_settings import window_settings


def main() -> None:
    """Run all ways and write a table, and JSON if asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="SQuAD files")
    parser.add_argument("--model", default=str(shipped_model()))
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--hold-out", type=float, help="only this part of the articles, which training leaves out")
    parser.add_argument("--limit", type=int, help="so many questions, drawn at random")
    parser.add_argument("--thresholds", type=float, nargs="*", default=[0.3, 0.5, 0.7], help="document_threshold")
    parser.add_argument("--max-costs", type=float, nargs="*", default=[], help="bounds of the cost, as shipped else")
    parser.add_argument("--no-dense", action="store_true", help="leave out what takes longest")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--report", type=Path)
    chosen = parser.parse_args()
    choice = ModelChoice(name=chosen.model, device="cpu", threads=chosen.threads, backend=chosen.backend)
    loaded = load_backend(choice)
    examples = list(read_examples(chosen.data))
    if chosen.hold_out:
        examples = split_by_article(examples, chosen.hold_out)[1]
    asked = sample_examples(joined(examples), chosen.limit, 0)
    windows = make_windows(asked, loaded.tokenizer, window_settings(loaded.model, loaded.tokenizer))
    counts = np.bincount(windows.examples_of())
    sys.stdout.write(f"{len(asked)} questions; windows in a document: {counts.mean():.1f} ({counts.min()} or more)\n")
    records = []
    for record in measured(loaded.model, windows, chosen.thresholds, not chosen.no_dense, chosen.max_costs):
        records.append(record)
        sys.stdout.write("  ".join(f"{name} {value}" for name, value in record.items()) + "\n")
        sys.stdout.flush()
    if chosen.report:
        write_whole(chosen.report, json.dumps(records, indent=1) + "\n")


def joined(examples: Sequence[Example]) -> list[Example]:
    """The same questions, each over all contexts of its article in their order."""
    contexts: dict[str, dict[str, None]] = {}
    for example in examples:
        contexts.setdefault(example.title, {})[example.context] = None
    articles = {title: "\n\n".join(texts) for title, texts in contexts.items()}
    # Answers are scored by their texts; where they stand in the article does not matter.
    return [replace(example, context=articles[example.title], answers=(), evidence=()) for example in examples]


def measured(
    model: Backend, windows: WindowSet, thresholds: Sequence[float], dense: bool, max_costs: Sequence[float] = ()
) -> Iterator[dict[str, Any]]:
    """Scores and cost of each way, as it is done."""
    config = model.skim_config
    shipped = config.document_threshold
    ways: list[tuple[str, float | None, float, float | None]] = [("dense", 0.0, 0.0, None)] * dense
    ways += [("thresholds", None, 0.0, None)]
    ways += [(f"passages at {value:g}", None, value, None) for value in thresholds]
    ways += [(f"at most {bound:g} of the cost", None, shipped, bound) for bound in max_costs]
    for name, layers, document, bound in ways:
        config.document_threshold = document
        result = evaluate_windows(model, windows, thresholds=layers, max_cost=bound)
        yield {
            "way": name,
            "f1": round(result.scores["f1"], 2),
            "exact_match": round(result.scores["exact_match"], 2),
            "flops_speedup": round(result.cost.flops_speedup, 2),
            "windows": result.cost.windows,
            "seconds": round(result.seconds, 1),
        }
    config.document_threshold = shipped


if __name__ == "__main__":
    main()
