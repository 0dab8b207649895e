"""Answer a question over ever longer documents: seconds, memory and FLOPs of each way to read them.

    python benchmarks/document_lengths.py --words 200 2000 20000 200000 --report lengths.json

The document is the text again and again, numbered so that no two parts are the same, with one sentence in its middle
that holds the answer. Every length and way is measured in a process of its own, after a short question that makes it
warm, so that no run meets what another left behind. The ways are

- ``passages``: as the model does it: passages of a long document compete before the first layer, blocks by thresholds;
- ``thresholds``: by thresholds alone;
- ``dense``: the same engine reads everything;
- ``transformers``: transformers' model with fused attention over the same windows, 32 at a time; without span search.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from blockskim import QuestionAnswerer
from blockskim.atomic import write_whole

QUESTION = "Where is the key to the old observatory kept?"
NEEDLE = "The key to the old observatory is kept under the third flowerpot."
ANSWER = "under the third flowerpot"
TEXT = Path(__file__).parents[1] / "examples" / "demo.txt"
WAYS = ("passages", "thresholds", "dense", "transformers")
# Runs are repeated up to five times while they take less than this in all.
ENOUGH_SECONDS = 5.0


def main() -> int:
    """Measure every length and way and write a table, and JSON if asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--text", type=Path, default=TEXT)
    parser.add_argument("--model")
    parser.add_argument("--words", type=int, nargs="+", default=[200, 2_000, 20_000, 200_000])
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--most-words", type=int, default=50_000, help="for transformers' model, which takes longest")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--report", type=Path)
    parser.add_argument("--alone", action="store_true", help="measure the first length and way in this very process")
    chosen = parser.parse_args()
    if chosen.alone:
        text = long_document(chosen.text.read_text(encoding="utf-8"), chosen.words[0])
        sys.stdout.write(json.dumps(measure(text, chosen.ways[0], chosen.model, chosen.threads)))
        return 0
    records = []
    for words in sorted(chosen.words):
        for way in chosen.ways:
            if way == "transformers" and words > chosen.most_words:
                continue
            records.append(in_own_process(words, way, chosen))
            sys.stderr.write(json.dumps(records[-1]) + "\n")
    sys.stdout.write(table(records))
    if chosen.report:
        write_whole(chosen.report, json.dumps(records, indent=1) + "\n")
    return 0 if all(record["found"] for record in records if record["way"] == "passages") else 1


def in_own_process(words: int, way: str, chosen: argparse.Namespace) -> dict[str, Any]:
    """One length and way in a process of its own."""
    command = [sys.executable, __file__, "--alone", "--words", str(words), "--ways", way]
    command += ["--text", str(chosen.text), "--threads", str(chosen.threads)]
    command += ["--model", chosen.model] if chosen.model else []
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    return dict(json.loads(done.stdout))


def measure(document: str, way: str, model: str | None, threads: int) -> dict[str, Any]:
    """Seconds (median), memory and what was read of a document, in this process."""
    read = transformers_reader(model, threads) if way == "transformers" else own_reader(way, model, threads)
    read(NEEDLE)
    before = peak_memory()
    result = read(document)
    seconds = [result["seconds"]]
    while len(seconds) < 5 and sum(seconds) < ENOUGH_SECONDS:
        seconds.append(read(document)["seconds"])
    return {
        **result,
        "words": len(document.split()),
        "way": way,
        "seconds": statistics.median(seconds),
        "peak_mb": peak_memory() / 1e6,
        "added_mb": (peak_memory() - before) / 1e6,
    }


def own_reader(way: str, model: str | None, threads: int) -> Callable[[str], dict[str, Any]]:
    """A function that asks this library about a document, in one of its ways, by the exported graph if there is one."""
    answerer = QuestionAnswerer(model, backend="auto" if model else "onnx", threads=threads)
    if way != "passages":
        answerer.model.skim_config.document_threshold = 0.0
    dense = way == "dense"

    def read(document: str) -> dict[str, Any]:
        started = time.perf_counter()
        result = answerer.search(QUESTION, {"document": document}, dense=dense)
        seconds = time.perf_counter() - started
        trace = result.traces[0]
        return {
            "seconds": seconds,
            "windows": len(trace.windows),
            "gflops": trace.flops / 1e9,
            "dense_gflops": trace.dense_flops / 1e9,
            "answer": result.answers[0]["answer"],
            "found": ANSWER in result.answers[0]["answer"],
        }

    return read


def transformers_reader(name: str | None, threads: int) -> Callable[[str], dict[str, Any]]:
    """A function that runs transformers' model with the same weights over the windows of a document."""
    import torch

    from blockskim.data.collate import pad_windows
    from blockskim.data.examples import Example
    from blockskim.data.windows import make_windows
    from blockskim.inference.loading import load
    from blockskim.inference.window_settings import window_settings
    from blockskim.model.transformers_model import transformers_model

    torch.set_num_threads(threads)
    loaded = load(name, device="cpu", dtype="float32")
    dense = transformers_model(loaded.model, "sdpa")
    settings = window_settings(loaded.model, loaded.tokenizer)

    @torch.inference_mode()
    def read(document: str) -> dict[str, Any]:
        started = time.perf_counter()
        windows = make_windows([Example("q", QUESTION, document)], loaded.tokenizer, settings)
        for first in range(0, len(windows), 32):
            items = [windows[index] for index in range(first, min(first + 32, len(windows)))]
            inputs = pad_windows(items, int(loaded.tokenizer.pad_token_id))
            del inputs["context_mask"]
            dense(**inputs)
        return {"seconds": time.perf_counter() - started, "windows": len(windows)}

    return read


def long_document(text: str, words: int) -> str:
    """The text again and again, each time under another number, with the sentence that answers in the middle.

    Cut to about so many words; a document that is shorter than the text is the text's beginning.
    """
    size = len(text.split()) + 2
    if words < size:
        kept = text.split()[: max(0, words - len(NEEDLE.split()))]
        half = len(kept) // 2
        return " ".join([*kept[:half], NEEDLE, *kept[half:]])
    parts = [f"Part {number}\n{text}" for number in range(1, max(1, round(words / size)) + 1)]
    parts.insert(len(parts) // 2, NEEDLE)
    return "\n\n".join(parts)


def peak_memory() -> int:
    """The largest memory that this process ever held, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def table(records: list[dict[str, Any]]) -> str:
    """Markdown."""
    lines = [
        "| words | way | windows read | seconds | GFLOPs | memory added |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {record['words']:,} | {record['way']} | {record['windows']:,} | {record['seconds']:.2f} | "
        f"{record.get('gflops', float('nan')):,.0f} | {record['added_mb']:,.0f} MB |"
        for record in records
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
