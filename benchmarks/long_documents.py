"""Answer a question over ever longer documents: seconds, and how much memory the process ever held.

    python benchmarks/long_documents.py --text examples/demo.txt --words 5000 50000 500000

The document is the text again and again, numbered so that no two parts are the same, with one sentence in its middle
that holds the answer. Sizes are run from the smallest to the largest in one process, so that what each adds to the
process's largest memory shows.
"""

import argparse
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import torch

from blockskim import QuestionAnswerer
from blockskim.atomic import write_whole

QUESTION = "Where is the key to the old observatory kept?"
NEEDLE = "The key to the old observatory is kept under the third flowerpot."
ANSWER = "under the third flowerpot"


def main() -> int:
    """Run all sizes and write a table, and JSON if asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--model")
    parser.add_argument("--words", type=int, nargs="+", default=[5_000, 50_000, 500_000])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--report", type=Path)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    answerer = QuestionAnswerer(chosen.model)
    answerer(QUESTION, NEEDLE)
    text = chosen.text.read_text(encoding="utf-8")
    records = [measure(answerer, text, words) for words in sorted(chosen.words)]
    sys.stdout.write(table(records))
    if chosen.report:
        write_whole(chosen.report, json.dumps(records, indent=1) + "\n")
    return 0 if all(record["found"] for record in records) else 1


def measure(answerer: QuestionAnswerer, text: str, words: int) -> dict[str, Any]:
    """Ask once, skimming and dense, over a document of so many words."""
    document = long_document(text, words)
    before = peak_memory()
    seconds = {}
    for name, dense in (("skimming", False), ("dense", True)):
        started = time.perf_counter()
        result = answerer.search(QUESTION, {"document": document}, dense=dense)
        seconds[name] = time.perf_counter() - started
        if not dense:
            best, trace = result.answers[0], result.traces[0]
    return {
        "words": len(document.split()),
        "windows": len(trace.windows),
        "answer": best["answer"],
        "found": ANSWER in best["answer"],
        "seconds": seconds["skimming"],
        "dense_seconds": seconds["dense"],
        "flops_speedup": trace.dense_flops / trace.flops,
        "peak_mb": peak_memory() / 1e6,
        "added_mb": (peak_memory() - before) / 1e6,
    }


def long_document(text: str, words: int) -> str:
    """The text again and again, each time under another number, with the sentence that answers in the middle."""
    size = len(text.split()) + 2
    parts = [f"Part {number}\n{text}" for number in range(1, max(1, round(words / size)) + 1)]
    parts.insert(len(parts) // 2, NEEDLE)
    return "\n\n".join(parts)


def peak_memory() -> int:
    """The largest memory that this process ever held, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def table(records: list[dict[str, Any]]) -> str:
    """Markdown."""
    lines = [
        "| words | windows | seconds | dense | arithmetic saved | largest memory of the process | added | answer |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {record['words']:,} | {record['windows']:,} | {record['seconds']:.1f} | {record['dense_seconds']:.1f} | "
        f"{record['flops_speedup']:.2f}× | {record['peak_mb']:,.0f} MB | {record['added_mb']:,.0f} MB | "
        f"{record['answer']} |"
        for record in records
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
