"""How the service bears load: throughput beside ``evaluate``, latency at half of it, short questions beside long texts.

    python benchmarks/serve_load.py --data dev-v1.1.json --seconds 60 --against plain litserve > load.json

All of it goes over loopback. The rate at saturation is that of a closed loop of ``--at-once`` clients; everything else
is an open loop: requests come in random order at random moments, whether or not those before are answered. Prints one
line of JSON.
"""

import argparse
import asyncio
import json
import os
import platform
import random
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from loopback import Ask, Calls, Client, Server, arrive, call, running, saturate

from blockskim.checks import check_count, check_range
from blockskim.data.examples import Example
from blockskim.data.reading import read_examples
from blockskim.errors import BlockSkimError

LONG_WORDS = 20_000
ROUNDS = 4
"""Times that ``evaluate``, saturation, single requests and half of the rate take turns. A machine that is shared is not
equally fast for long, and may stand still for a moment: the median of the rounds' ratios is told."""

LONG_EVERY = 4.0
"""Seconds between two long texts, on average."""


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=1000)
    parser.add_argument("--model")
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--dtype", default="float32", help="number format, of the others as well")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--seconds", type=float, default=60.0, help="of each measurement")
    parser.add_argument("--at-once", type=int, default=64)
    parser.add_argument("--against", nargs="*", choices=["plain", "litserve"], default=[])
    chosen = parser.parse_args()
    try:
        found = everything(chosen)
    except BlockSkimError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    sys.stdout.write(json.dumps(found) + "\n")
    return 0


def everything(chosen: argparse.Namespace) -> dict[str, Any]:
    """The service, and what it is compared with.

    Raises:
        BlockSkimError: a number is impossible, or the data can't be read.
    """
    for name in ("limit", "threads", "at_once"):
        check_count(f"--{name.replace('_', '-')}", getattr(chosen, name))
    check_range("--seconds", chosen.seconds, 0.0, 3600.0, open_low=True)
    examples = list(islice(read_examples(chosen.data), chosen.limit))
    # A data set has its questions by text, long texts in a row; what arrives at a service is mixed.
    random.Random(0).shuffle(examples)
    asks = [ask(example.question, example.context) for example in examples]
    named = [] if chosen.model is None else ["--model", chosen.model]
    threads = ["--threads", str(chosen.threads)]
    options = [*named, *threads, "--backend", chosen.backend, "--dtype", chosen.dtype]

    def evaluate() -> dict[str, Any]:
        return evaluated(chosen.data, chosen.limit, options)

    serve = ["-m", "blockskim", "serve", "--port", "0", "--no-log-requests", "--timeout", "120", *options]
    with running(serve) as server:
        found = asyncio.run(measured(server, asks, long_asks(examples), chosen.seconds, chosen.at_once, evaluate))
    for name in chosen.against:
        script = str(Path(__file__).with_name("serve_baselines.py"))
        port = ["--port", "0" if name == "plain" else "8099"]
        with running([script, name, *named, *threads, *port, "--dtype", chosen.dtype]) as server:
            rate = asyncio.run(saturated(server, asks, chosen.seconds, chosen.at_once))["per_second"]
        found[name] = {"per_second": rate, "times": round(found["saturation"]["per_second"] / rate, 2)}
    found["conditions"] = conditions(chosen)
    return found


def ask(question: str, context: str) -> Ask:
    """A request."""
    return Ask(json.dumps({"inputs": {"question": question, "context": context}}).encode())


def long_asks(examples: list[Example]) -> list[Ask]:
    """Requests over texts of many words, made of the contexts one after the other."""
    words = [word for text in dict.fromkeys(example.context for example in examples) for word in text.split()]
    words *= -(-LONG_WORDS // len(words))
    return [
        ask(example.question, " ".join(words[shift:] + words[:shift]).rsplit(" ", len(words) - LONG_WORDS)[0])
        for shift, example in zip(range(0, 4000, 1000), examples, strict=False)
    ]


def evaluated(data: Path, limit: int, options: list[str]) -> dict[str, Any]:
    """What ``evaluate`` prints, in a process of its own."""
    command = [sys.executable, "-m", "blockskim", "evaluate", "--data", str(data), "--limit", str(limit)]
    run = subprocess.run([*command, *options, "--json", "--quiet"], stdout=subprocess.PIPE, check=True, timeout=3600)
    told: dict[str, Any] = json.loads(run.stdout)
    return told


async def measured(
    server: Server,
    asks: list[Ask],
    longs: list[Ask],
    seconds: float,
    at_once: int,
    evaluate: Callable[[], Mapping[str, Any]],
) -> dict[str, Any]:
    """All that is measured of the service.

    Args:
        server: idle.
        asks: short requests.
        longs: requests over long texts.
        seconds: of each measurement.
        at_once: clients at saturation.
        evaluate: gives what ``evaluate`` prints for the same questions; the service is idle meanwhile.
    """
    client = Client(server)
    single, full, half = Calls(), Calls(), Calls()
    rates, evaluations, ratios, shares = [], [], [], []
    for seed in range(ROUNDS):
        told = evaluate()
        calls, rate = await saturate(client, asks, seconds, at_once)
        alone = Calls()
        for number in range(100):
            await call(client, asks, number, alone)
        busy = await arrive(client, asks, seconds, rate / 2, seed)
        rates.append(rate)
        evaluations.append(told["windows"] / told["seconds"])
        shares.append(rate * told["seconds"] / len(asks))
        ratios.append(busy.percentile(0.99) / alone.percentile(0.5))
        for all_of_them, more in ((full, calls), (single, alone), (half, busy)):
            all_of_them.add(more)
    rate = statistics.median(rates)
    # What long texts leave free is less than half, so the short ones come at a fifth in both of these.
    short = await arrive(client, asks, seconds, rate / 5, seed=1)
    beside = asyncio.create_task(arrive(client, longs, seconds, 1 / LONG_EVERY, seed=2))
    mixed = await arrive(client, asks, seconds, rate / 5, seed=1)
    long = await beside
    client.close()
    return {
        "single": single.figures(),
        "saturation": {"per_second": round(rate, 2), **full.figures()},
        "half": half.figures(),
        "half_p99_over_single_p50": round(statistics.median(ratios), 2),
        "half_of_each_round": [round(ratio, 2) for ratio in ratios],
        "short_alone": short.figures(),
        "short_beside_long": mixed.figures(),
        "long": long.figures(),
        "short_p95_beside_over_alone": round(mixed.percentile(0.95) / short.percentile(0.95), 2),
        "evaluate_windows_per_second": round(statistics.median(evaluations), 1),
        "share_of_evaluate": round(statistics.median(shares), 3),
        "share_of_each_round": [round(share, 3) for share in shares],
    }


async def saturated(server: Server, asks: list[Ask], seconds: float, at_once: int) -> dict[str, Any]:
    """Calls a second of another server."""
    client = Client(server)
    for number in range(3):
        await call(client, asks, number, Calls())
    calls, rate = await saturate(client, asks, seconds, at_once)
    client.close()
    return {"per_second": round(rate, 2), **calls.figures()}


def conditions(chosen: argparse.Namespace) -> dict[str, Any]:
    """What the figures hold for."""
    given = {name: str(value) if isinstance(value, Path) else value for name, value in vars(chosen).items()}
    given["data"] = chosen.data.name
    return {**given, "python": platform.python_version(), "machine": platform.machine(), "cores": os.cpu_count()}


if __name__ == "__main__":
    raise SystemExit(main())
