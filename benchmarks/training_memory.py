"""Memory of ``blockskim train`` on as many questions as asked for: the peak over the process and its children.

    python benchmarks/training_memory.py --questions 50000
    python benchmarks/training_memory.py --questions 1000000      # under 2 GB, with a tiny model

Questions are made up: every fifth has a new context of 100 words, and titles go round over a thousand articles. A tiny
random model learns from them for some steps, so that what is measured is the data's business and not the model's.
Prints a line of JSON and ends with 1 if the peak is at the bound or above.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from process_memory import tree_memory
from tiny_random import tiny_encoder

from blockskim.training.window_cache import FOLDER

MOST_MEMORY = 2e9
STEPS = 50
BATCH_SIZE = 16
EVERY = 0.2
"""Seconds from one look at the memory to the next."""

TEXT = Path(__file__).parents[1] / "examples" / "demo.txt"


def main() -> int:
    """Measure one run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--questions", type=int, default=50_000)
    parser.add_argument("--words", type=int, default=100)
    parser.add_argument("--folder", type=Path, help="where data and the run go  [default: a temporary one]")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.folder) as name:
        folder = Path(name)
        data = write_questions(folder / "train.jsonl", chosen.questions, chosen.words)
        write_questions(folder / "dev.jsonl", 200, chosen.words)
        record = watched(command(folder, tiny_encoder(folder / "base"), chosen.questions), folder / "run" / FOLDER)
        record["data_mb"] = data.stat().st_size / 1e6
    values = {"questions": chosen.questions, "words": chosen.words, **record}
    sys.stdout.write(json.dumps({name: round(value, 1) for name, value in values.items()}) + "\n")
    return 0 if record["peak_mb"] * 1e6 < MOST_MEMORY else 1


def command(folder: Path, base: Path, questions: int) -> list[str]:
    """Training for some steps and one evaluation."""
    settings = {
        "epochs": STEPS * BATCH_SIZE / questions,
        "batch_size": BATCH_SIZE,
        "precision": "float32",
        "skim.block_size": 16,
        "skim.inputs": "[match]",
    }
    words = [word for setting, value in settings.items() for word in ("--set", f"{setting}={value}")]
    files = ["--train", folder / "train.jsonl", "--dev", folder / "dev.jsonl", "--output", folder / "run"]
    given = ["--base", base, *files, "--device", "cpu", "--quiet", *words]
    return [sys.executable, "-m", "blockskim", "train", *map(str, given)]


def watched(arguments: list[str], windows: Path) -> dict[str, float]:
    """Run a command; the most memory of it and its children while it reads, tokenises and trains, and what it took."""
    started = time.monotonic()
    # What training tells of itself goes with the messages: standard output is for the figures.
    running = subprocess.Popen(arguments, stdout=sys.stderr)
    peaks = {"reading": 0, "tokenising": 0, "training": 0}
    seconds = dict.fromkeys(peaks, 0.0)
    size = 0
    while running.poll() is None:
        phase = phase_of(windows, peaks["tokenising"] > 0)
        peaks[phase] = max(peaks[phase], tree_memory(running.pid))
        seconds[phase] = time.monotonic() - started
        if phase == "training":
            size = max(size, sum(path.stat().st_size for path in windows.glob("*/*")))
        time.sleep(EVERY)
    if running.returncode:
        raise SystemExit(f"training ended with code {running.returncode}")
    ends = {f"{phase}_until_s": value for phase, value in seconds.items()}
    parts = {f"{phase}_mb": peak / 1e6 for phase, peak in peaks.items()}
    return {"peak_mb": max(peaks.values()) / 1e6, **parts, **ends, "windows_mb": size / 1e6}


def phase_of(windows: Path, has_tokenised: bool) -> str:
    """What a run is at: the folder of its windows has a temporary name while they are made, and is gone at the end."""
    if any(path for path in windows.glob("[!.]*")):
        return "training"
    if windows.exists():
        return "tokenising"
    return "training" if has_tokenised else "reading"


def write_questions(path: Path, count: int, words: int) -> Path:
    """Write questions as MRQA lines, a context and its five questions a line."""
    rng = random.Random(0)
    pool = TEXT.read_text(encoding="utf-8").split()
    with path.open("w", encoding="utf-8") as file:
        for first in range(0, count, 5):
            context = " ".join(rng.choices(pool, k=words))
            asked = [question(number, context, pool, rng) for number in range(first, min(first + 5, count))]
            file.write(json.dumps({"id": f"article {first // 5 % 1000}", "context": context, "qas": asked}) + "\n")
    return path


def question(number: int, context: str, pool: list[str], rng: random.Random) -> dict[str, Any]:
    """A question whose answer is a word of the context."""
    word = rng.choice(context.split())
    start = context.index(word)
    spans = [{"text": word, "char_spans": [[start, start + len(word) - 1]]}]
    return {
        "qid": str(number),
        "question": " ".join(rng.choices(pool, k=10)),
        "answers": [word],
        "detected_answers": spans,
    }


if __name__ == "__main__":
    raise SystemExit(main())
