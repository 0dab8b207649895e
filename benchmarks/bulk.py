"""What must hold of ``blockskim bulk``, measured: memory, kills, several workers, and what is not the model's time.

    python benchmarks/bulk.py memory --rows 1000000 --model tiny      # under 1.5 GB for the whole tree, and level
    python benchmarks/bulk.py memory --rows 50000
    python benchmarks/bulk.py kills --rows 20000 --kills 10 --model tiny
    python benchmarks/bulk.py workers --rows 4000 --shard-rows 250    # two workers at least 1.7 times one
    python benchmarks/bulk.py overhead --rows 500 --rounds 15         # windows a second beside those of predict
    python benchmarks/bulk.py ray --rows 5000 --shard-rows 250        # two actors beside two workers, once they run
    python benchmarks/bulk.py plan --rows 6000                        # a billion rows on many machines, simulated

Each prints a line of JSON and ends with 1 if what must hold does not. Rows are of as many words as asked for, in an
order of their own for every row, with a question each. ``--model tiny`` is a random model of two layers, for what is
not the model's business; without it the model that comes along runs.
"""

import argparse
import json
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bulk_plan import Cluster, measured, simulate
from process_memory import tree_memory
from tiny_random import tiny_model

from blockskim.checks import check_count
from blockskim.errors import ConfigError

TEXT = Path(__file__).parents[1] / "examples" / "demo.txt"
MOST_MEMORY = 1.5e9
LEAST_SPEEDUP = 1.7
LEAST_SHARE = 0.9
PLANNED_ROWS = 1e9
PLANNED_MACHINES = (1, 10, 100, 1000)
WORKERS_EACH, HOURS_TO_FAILURE, PRICE = 16, 1000.0, 0.05
"""Of each machine that is planned with, and of a worker for an hour."""
FEW_ROWS = 1000
"""Of a run whose time is taken off, so that what is left is not the time to start."""


def main() -> int:
    """Measure one thing."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=MEASUREMENTS)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--words", type=int, default=100)
    parser.add_argument("--model", help="a directory, or tiny  [default: the model that comes along]")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--shard-rows", type=int, default=1000)
    parser.add_argument("--folder", type=Path, help="where data and outputs go  [default: a temporary one]")
    chosen = parser.parse_args()
    least = {"rows": FEW_ROWS + 1 if chosen.what == "ray" else 1, "words": 1, "kills": 1, "rounds": 1, "shard_rows": 1}
    try:
        for name, value in least.items():
            check_count(f"--{name.replace('_', '-')}", getattr(chosen, name), value)
    except ConfigError as error:
        parser.error(str(error))
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        chosen.folder = Path(folder)
        chosen.data = write_rows(chosen.folder / "rows.jsonl", chosen.rows, chosen.words)
        if chosen.model == "tiny":
            chosen.model = str(tiny_model(chosen.folder / "tiny"))
        record = MEASUREMENTS[chosen.what](chosen)
    sys.stdout.write(json.dumps({"what": chosen.what, "rows": chosen.rows, "words": chosen.words, **record}) + "\n")
    return 0 if record["holds"] else 1


def memory(chosen: argparse.Namespace) -> dict[str, Any]:
    """Memory of the process and its children while it runs, and whether it stays level."""
    watch, summary = watched(bulk(chosen, "out"))
    # What comes first is loading; what grows later is a leak.
    early = statistics.median(watch[len(watch) // 4 : len(watch) // 2] or watch)
    late = statistics.median(watch[3 * len(watch) // 4 :] or watch)
    peak = max(watch)
    level = late < 1.1 * early
    return {**summary, "peak_mb": peak / 1e6, "early_mb": early / 1e6, "late_mb": late / 1e6,
            "holds": peak < MOST_MEMORY and level}  # fmt: skip


def kills(chosen: argparse.Namespace) -> dict[str, Any]:
    """A run that is killed at random moments and resumed, beside one that is not."""
    whole = finish(bulk(chosen, "whole"))
    rng = random.Random(0)
    killed = 0
    while killed < chosen.kills:
        started = time.monotonic()
        running = subprocess.Popen(bulk(chosen, "out"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        # Starting takes a while, too, and must stand a kill as well.
        at = started + rng.uniform(0.5, 8 + whole["seconds"] / chosen.kills)
        while running.poll() is None and time.monotonic() < at:
            time.sleep(0.01)
        if running.poll() is not None:
            break
        running.send_signal(signal.SIGKILL)
        running.wait()
        killed += 1
    resumed = finish(bulk(chosen, "out"))
    same = shards(chosen.folder / "out") == shards(chosen.folder / "whole")
    numbers = [json.loads(line)["row"] for path in sorted((chosen.folder / "out").glob("part-*"))
               for line in path.read_text(encoding="utf-8").splitlines()]  # fmt: skip
    once = numbers == list(range(chosen.rows))
    return {"kills": killed, "rows_before": resumed["rows_before"], "same": same, "each_row_once": once,
            "holds": same and once}  # fmt: skip


def workers(chosen: argparse.Namespace) -> dict[str, Any]:
    """Two workers of a thread each beside one, in turns."""
    seconds: dict[int, list[float]] = {1: [], 2: []}
    for number in range(chosen.rounds):
        for count in seconds:
            name = f"out-{count}-{number}"
            summary = finish(bulk(chosen, name, "--workers", str(count), "--threads", str(count)))
            seconds[count].append(summary["seconds"])
    ratios = [one / two for one, two in zip(seconds[1], seconds[2], strict=True)]
    speedup = statistics.median(ratios)
    return {"one_seconds": seconds[1], "two_seconds": seconds[2], "speedup": speedup,
            "holds": speedup >= LEAST_SPEEDUP}  # fmt: skip


def overhead(chosen: argparse.Namespace) -> dict[str, Any]:
    """Windows a second beside those of ``predict`` on the same rows, and what of a worker's time is the model's."""
    questions = chosen.folder / "questions.json"
    paragraphs = [
        {"context": row["context"], "qas": [{"id": str(number), "question": row["question"]}]}
        for number, row in enumerate(rows(chosen.rows, chosen.words))
    ]
    questions.write_text(json.dumps({"version": "1.1", "data": [{"title": "rows", "paragraphs": paragraphs}]}))
    rates: list[tuple[float, float]] = []
    shares = []
    for number in range(chosen.rounds):
        command = [*blockskim("predict", chosen), "--data", str(questions), "--threads", "1", "--max-answer-len", "15"]
        command += ["--predictions", str(chosen.folder / "predictions.json")]
        # Neither is always the first.
        early = finish(command) if number % 2 else None
        summary = finish(bulk(chosen, f"out-{number}", "--threads", "1"))
        predicted = early or finish(command)
        of_bulk = summary["windows"] / summary["worker_seconds"]
        rates.append((of_bulk, predicted["windows"] / predicted["seconds"]))
        shares.append(summary["model_seconds"] / summary["worker_seconds"])
    beside, share = statistics.median(mine / other for mine, other in rates), statistics.median(shares)
    return {"windows_per_second": rates, "beside_predict": beside, "model_share": share,
            "holds": beside >= LEAST_SHARE and share >= LEAST_SHARE}  # fmt: skip


def ray(chosen: argparse.Namespace) -> dict[str, Any]:
    """Two actors of Ray on this machine beside ``--workers 2``, in turns: rows a second once all of them run."""
    few = write_rows(chosen.folder / "few.jsonl", FEW_ROWS, chosen.words)
    rates: dict[str, list[float]] = {"workers": [], "ray": []}
    for number in range(chosen.rounds):
        for way, options in (("workers", []), ("ray", ["--ray"])):
            seconds = []
            for data in (few, chosen.data):
                output = f"{way}-{data.stem}-{number}"
                command = bulk(chosen, output, "--workers", "2", "--threads", "2", *options, data=data)
                seconds.append(finish(command)["seconds"])
            rates[way].append((chosen.rows - FEW_ROWS) / (seconds[1] - seconds[0]))
    share = statistics.median(other / mine for other, mine in zip(rates["ray"], rates["workers"], strict=True))
    same = shards(chosen.folder / "ray-rows-0") == shards(chosen.folder / "workers-rows-0")
    return {"rows_per_second": rates, "beside_workers": share, "same": same,
            "holds": share >= LEAST_SHARE and same}  # fmt: skip


def plan(chosen: argparse.Namespace) -> dict[str, Any]:
    """What ``bulk_plan.py`` makes of a run of one worker on one thread: a billion rows on many machines."""
    finish(bulk(chosen, "out", "--threads", "1"))
    shard = measured(chosen.folder / "out")
    plans = []
    for machines in PLANNED_MACHINES:
        cluster = Cluster(machines, WORKERS_EACH, hours_to_failure=HOURS_TO_FAILURE, price=PRICE)
        plans.append({**asdict(cluster), **asdict(simulate(shard, cluster, PLANNED_ROWS))})
    rate = shard.rows / statistics.fmean(shard.seconds)
    return {"rows_per_second": rate, "bytes_per_row": shard.num_bytes / shard.rows, "planned_rows": PLANNED_ROWS,
            "plans": plans, "holds": True}  # fmt: skip


MEASUREMENTS = {
    "memory": memory,
    "kills": kills,
    "workers": workers,
    "overhead": overhead,
    "ray": ray,
    "plan": plan,
}


def rows(count: int, words: int) -> Iterator[dict[str, str]]:
    """Rows of so many words each."""
    known = TEXT.read_text(encoding="utf-8").split()
    rng = random.Random(0)
    for number in range(count):
        first = rng.randrange(len(known))
        text = " ".join((known[first:] + known * (words // len(known) + 1))[: words - 1])
        yield {"question": f"Who built the lighthouse number {number}?", "context": f"{number} {text}"}


def write_rows(path: Path, count: int, words: int) -> Path:
    """Rows as JSON lines."""
    with path.open("w", encoding="utf-8") as file:
        for row in rows(count, words):
            file.write(json.dumps(row) + "\n")
    return path


def blockskim(command: str, chosen: argparse.Namespace) -> list[str]:
    """A command line with the model that was chosen."""
    model = ["--model", chosen.model] if chosen.model else []
    return [sys.executable, "-m", "blockskim", *command.split(), *model, "--json", "--quiet"]


def bulk(chosen: argparse.Namespace, output: str, *more: str, data: Path | None = None) -> list[str]:
    """The command line of a run over all rows, or those of another file."""
    start = [*blockskim("bulk answer", chosen), str(data or chosen.data), "--output", str(chosen.folder / output)]
    return [*start, "--shard-rows", str(chosen.shard_rows), *more]


def finish(command: list[str]) -> dict[str, Any]:
    """Run a command to its end; what it prints as JSON."""
    return dict(json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout))


def watched(command: list[str]) -> tuple[list[int], dict[str, Any]]:
    """Run a command to its end: bytes of memory of it and its children, time after time, and what it prints."""
    running = subprocess.Popen(command, stdout=subprocess.PIPE)
    seen: list[int] = []
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(0.25):
            seen.append(tree_memory(running.pid))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    out, _ = running.communicate()
    stop.set()
    thread.join()
    if running.returncode:
        raise SystemExit(running.returncode)
    return [size for size in seen if size], dict(json.loads(out))


def shards(output: Path) -> dict[str, bytes]:
    """The content of all shards by name."""
    return {path.name: path.read_bytes() for path in output.glob("part-*")}


if __name__ == "__main__":
    sys.exit(main())
