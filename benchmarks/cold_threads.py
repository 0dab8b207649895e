"""Threads that all come first: do they get the right answers from a model that is not ready for inference?

    python benchmarks/cold_threads.py --bursts 200 --fresh 20

In each burst several threads start together, each with a question of its own. Before it, what the model had made ready
for inference is made worthless: by a change in place of all its weights (of 0), or by training mode and back.
Before a fresh burst the model is loaded anew. An answer is wrong if it differs in anything, its score included, from
what one thread alone was told. Exits with 1 when there was a wrong answer or an error.
"""

import argparse
import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch

from blockskim import QuestionAnswerer

OTTERS = (
    "Sea otters have the thickest fur of any animal. They feed on sea urchins, crabs and clams, which they crack with "
    "a stone while floating on their backs. A treaty signed in 1911 ended the hunt for their pelts."
)
LIGHTHOUSES = (
    "Henry Winstanley put the first lighthouse on the Eddystone Rocks in 1698. A second tower, mostly of timber, stood "
    "until it caught fire in 1755. The third lighthouse was built by John Smeaton, who cut its blocks from granite."
)
PROBES = (
    "Voyager 1 left Cape Canaveral on 5 September 1977 on top of a Titan rocket. In March 1979 the probe flew past "
    "Jupiter. Its electricity comes from the heat of decaying plutonium."
)
QUESTIONS = (
    ("When was the treaty signed?", OTTERS, "1911"),
    ("Who built the third lighthouse?", LIGHTHOUSES, "John Smeaton"),
    ("When did Voyager 1 leave Cape Canaveral?", PROBES, "5 September 1977"),
    ("Who put the first lighthouse on the Eddystone Rocks?", LIGHTHOUSES, "Henry Winstanley"),
    ("When did the second tower catch fire?", LIGHTHOUSES, "1755"),
    ("What did the probe fly past in March 1979?", PROBES, "Jupiter"),
    ("What do sea otters crack clams with?", OTTERS, "a stone"),
    ("When was the first lighthouse built?", LIGHTHOUSES, "1698"),
)
"""Question, text and right answer."""


def main() -> int:
    """Run all bursts and print what came of them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", help="directory or hub id; the model that comes along by default")
    parser.add_argument("--bursts", type=int, default=200)
    parser.add_argument("--fresh", type=int, default=0, help="so many bursts more, each on a newly loaded model")
    parser.add_argument("--threads", type=int, default=8, help="that ask at the same time")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    started = time.perf_counter()
    alone = QuestionAnswerer(chosen.model, backend="torch")
    right = [alone(question, text) for question, text, _ in QUESTIONS]
    missed = [asked[0] for asked, found in zip(QUESTIONS, right, strict=True) if found["answer"] != asked[2]]
    counts: Counter[str] = Counter()
    for burst in range(chosen.bursts):
        spoil(alone, burst)
        counts += ask_at_once(alone, right, burst, chosen.threads)
    for burst in range(chosen.fresh):
        counts += ask_at_once(QuestionAnswerer(chosen.model, backend="torch"), right, burst, chosen.threads)
    record = {
        "bursts": chosen.bursts + chosen.fresh,
        "fresh": chosen.fresh,
        "threads": chosen.threads,
        "answers": counts.total(),
        "wrong": sum(count for name, count in counts.items() if name.startswith("wrong")),
        "errors": sum(count for name, count in counts.items() if name.startswith("error")),
        "missed_alone": missed,
        "seconds": round(time.perf_counter() - started, 1),
    }
    details = {name: count for name, count in counts.most_common() if name != "right"}
    if chosen.json:
        sys.stdout.write(json.dumps({**record, "details": details}) + "\n")
    else:
        sys.stdout.writelines(f"{name}: {value}\n" for name, value in record.items())
        sys.stdout.writelines(f"  {count} x {name}\n" for name, count in details.items())
    return int(bool(record["wrong"] or record["errors"] or missed))


def spoil(answerer: QuestionAnswerer, burst: int) -> None:
    """Make worthless what a model has made ready for inference, in one of two ways by turns."""
    network: Any = answerer.model
    if burst % 2:
        network.train()
        network.eval()
        return
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0)


def ask_at_once(answerer: QuestionAnswerer, right: Sequence[dict[str, Any]], burst: int, threads: int) -> Counter[str]:
    """Have several threads ask at the same moment.

    Args:
        answerer: that they share.
        right: the answer to each of ``QUESTIONS``, as one thread alone gets it.
        burst: its number; each time a thread asks another question.
        threads: how many.

    Returns:
        How many answers were right, how many were wrong, and in which way.
    """
    outcomes: list[str] = ["error: the thread did not end"] * threads
    start = threading.Barrier(threads)

    def ask(thread: int) -> None:
        number = (thread + burst) % len(QUESTIONS)
        question, text, _ = QUESTIONS[number]
        start.wait()
        try:
            found = answerer(question, text)
        except Exception as error:
            outcomes[thread] = f"error: {type(error).__name__}: {error}"
            return
        same = found == right[number]
        outcomes[thread] = "right" if same else f"wrong: {question} {found['answer']!r} {found['score']:.6f}"

    workers = [threading.Thread(target=ask, args=(thread,), daemon=True) for thread in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    return Counter(outcomes)


if __name__ == "__main__":
    sys.exit(main())
