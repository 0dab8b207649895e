"""Seconds of one ``highlight`` over many documents: skimming, and the same model reading everything, in turns.

    python benchmarks/highlight_call.py --data dev-v1.1.json

The documents of a question follow each other in the text of the data set, beginning with the paragraph of its answer.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from blockskim.atomic import write_whole
from blockskim.checks import check_count
from blockskim.data.reading import read_examples
from blockskim.data.splitting import sample_examples
from blockskim.errors import BlockSkimError, DataError
from blockskim.evidence.question_answerer import QuestionAnswerer
from blockskim.inference.shipped import shipped_model


def main() -> int:
    """Time all calls and print JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="a file of SQuAD's form")
    parser.add_argument("--model", default=str(shipped_model()))
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--documents", type=int, default=20)
    parser.add_argument("--words", type=int, default=500, help="of each document")
    parser.add_argument("--calls", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--report", type=Path)
    chosen = parser.parse_args()
    try:
        record = measured(chosen)
    except BlockSkimError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    sys.stdout.write(json.dumps(record) + "\n")
    if chosen.report:
        write_whole(chosen.report, json.dumps(record, indent=1) + "\n")
    return 0


def measured(chosen: argparse.Namespace) -> dict[str, float]:
    """Seconds of both ways, in turns.

    Raises:
        BlockSkimError: a number is impossible, or the data can't be read or has too little text.
    """
    for name in ("documents", "words", "calls", "threads"):
        check_count(f"--{name}", getattr(chosen, name))
    qa = QuestionAnswerer(chosen.model, backend=chosen.backend, device="cpu", threads=chosen.threads)
    seconds: dict[str, list[float]] = {"skimming": [], "reading everything": []}
    # The first call is not timed: it makes the model ready.
    for number, (question, documents) in enumerate(
        calls(chosen.data, chosen.calls + 1, chosen.documents, chosen.words)
    ):
        for way, times in seconds.items():
            started = time.perf_counter()
            qa.highlight(question, documents, dense=way == "reading everything")
            if number:
                times.append(time.perf_counter() - started)
    skimming, dense = seconds.values()
    return {
        "documents": chosen.documents,
        "words": chosen.words,
        "calls": chosen.calls,
        "threads": chosen.threads,
        "seconds": round(statistics.median(skimming), 3),
        "longest": round(max(skimming), 3),
        "dense_seconds": round(statistics.median(dense), 3),
        "speedup": round(statistics.median(other / mine for mine, other in zip(skimming, dense, strict=True)), 2),
    }


def calls(data: Path, count: int, documents: int, words: int) -> Iterator[tuple[str, list[str]]]:
    """Questions with their documents.

    Raises:
        DataError: the data can't be read, or has less text than one call takes.
    """
    examples = list(read_examples(data))
    texts = list(dict.fromkeys(example.context for example in examples))
    places: dict[str, int] = {}
    every: list[str] = []
    for text in texts:
        places[text] = len(every)
        every += text.split()
    if len(every) < documents * words:
        raise DataError(f"{data}: has {len(every):,} words; {documents} documents of {words} take more")
    for example in sample_examples(examples, count, 0):
        first = places[example.context]
        own = (every[first:] + every[:first])[: documents * words]
        yield example.question, [" ".join(own[start : start + words]) for start in range(0, len(own), words)]


if __name__ == "__main__":
    sys.exit(main())
