"""Plan a run past this machine: how long it takes on many, what it costs, and what limits it, by simulation.

    blockskim bulk answer rows.jsonl --output out              # what one worker does on a machine, measured
    python benchmarks/bulk_plan.py out --rows 1e9 --machines 100 --workers-each 16 --price 0.05

The output directory of a run says how long each of its shards took, and its manifest how many bytes were read. From
these the simulation draws. A free worker takes the next shard. Its rows come out of storage that all machines share,
then it computes; a machine that dies loses what its workers have in hand, and comes back after a while. Machines
differ in speed. What is not simulated: the network of a cluster's scheduler, and what others do on the same machines.
"""

import argparse
import heapq
import json
import random
import statistics
import sys
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Measured:
    """What a run showed of a shard.

    Attributes:
        rows: of a shard.
        num_bytes: of the input of a shard.
        seconds: of each shard.
    """

    rows: float
    num_bytes: float
    seconds: tuple[float, ...]


@dataclass(frozen=True)
class Cluster:
    """Machines.

    Attributes:
        machines: how many.
        workers_each: processes on each.
        slowdown: how many times slower a worker is with all workers of its machine at work than alone.
        spread: standard deviation of the machines' speeds, as a share of their mean.
        storage: bytes a second that all machines can read together.
        hours_to_failure: of a machine, on average; 0 for never.
        restart: seconds until a machine that died works again, and that it needs to start.
        price: of a worker for an hour.
    """

    machines: int
    workers_each: int
    slowdown: float = 1.0
    spread: float = 0.05
    storage: float = 1e9
    hours_to_failure: float = 0.0
    restart: float = 60.0
    price: float = 0.0


@dataclass(frozen=True)
class Plan:
    """What a simulation gave.

    Attributes:
        hours: from start to end.
        rows_per_second: of all together.
        efficiency: share of the time of all workers that went into shards that counted.
        waiting: share of it that went into waiting for storage.
        lost: share of it that failures cost.
        idle: share of it at the start, and at the end when some had nothing left to do.
        cost: of all workers for that time.
    """

    hours: float
    rows_per_second: float
    efficiency: float
    waiting: float
    lost: float
    idle: float
    cost: float


def measured(output: Path) -> Measured:
    """What the output directory of a run says of its shards; the last one, which is smaller, is left out."""
    reports = [json.loads(path.read_text()) for path in sorted((output / "_shards").glob("*.json"))]
    manifest = json.loads((output / "_manifest.json").read_text())
    rows = sum(report["rows"] for report in reports)
    num_bytes = sum(file["bytes"] for file in manifest["inputs"])
    whole = reports[:-1] or reports
    mean = statistics.fmean(report["rows"] for report in whole)
    return Measured(mean, num_bytes / rows * mean, tuple(report["seconds"] for report in whole))


def simulate(shard: Measured, cluster: Cluster, rows: float, seed: int = 0) -> Plan:
    """Run so many rows through a cluster."""
    rng = random.Random(seed)
    speeds = [max(0.1, rng.gauss(1.0, cluster.spread)) for _ in range(cluster.machines)]
    workers = cluster.machines * cluster.workers_each
    left = max(1, round(rows / shard.rows))
    shards = left
    dies = [_next_death(rng, cluster, 0.0) for _ in range(cluster.machines)]
    # When each worker is free, and where it is.
    free = [(cluster.restart, number % cluster.machines) for number in range(workers)]
    heapq.heapify(free)
    storage_free = end = useful = waiting = lost = 0.0
    while left:
        now, machine = heapq.heappop(free)
        if now > dies[machine]:
            # It came back meanwhile.
            dies[machine] = _next_death(rng, cluster, now)
        read = max(now, storage_free) + shard.num_bytes / cluster.storage
        storage_free = read
        done = read + rng.choice(shard.seconds) * cluster.slowdown / speeds[machine]
        if done > dies[machine]:
            back = max(now, dies[machine]) + cluster.restart
            lost += back - now
            heapq.heappush(free, (back, machine))
            continue
        left -= 1
        waiting += read - now
        useful += done - read
        end = max(end, done)
        heapq.heappush(free, (done, machine))
    total = end * workers
    return Plan(
        hours=end / 3600,
        rows_per_second=shards * shard.rows / end,
        efficiency=useful / total,
        waiting=waiting / total,
        lost=lost / total,
        idle=max(0.0, 1 - (useful + waiting + lost) / total),
        cost=total / 3600 * cluster.price,
    )


def _next_death(rng: random.Random, cluster: Cluster, now: float) -> float:
    if not cluster.hours_to_failure:
        return float("inf")
    return now + rng.expovariate(1 / (cluster.hours_to_failure * 3600))


def main() -> int:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("output", type=Path, help="directory of a run that was measured")
    parser.add_argument("--rows", type=float, default=1e9)
    parser.add_argument("--machines", type=int, nargs="+", default=[1, 10, 100, 1000])
    parser.add_argument("--workers-each", type=int, default=16)
    parser.add_argument("--slowdown", type=float, default=1.0, help="of a worker beside those of its machine")
    parser.add_argument("--spread", type=float, default=0.05)
    parser.add_argument("--storage", type=float, default=1e9, help="bytes a second")
    parser.add_argument("--hours-to-failure", type=float, default=0.0)
    parser.add_argument("--restart", type=float, default=60.0)
    parser.add_argument("--price", type=float, default=0.0, help="of a worker for an hour")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    shard = measured(chosen.output)
    for machines in chosen.machines:
        cluster = Cluster(
            machines,
            chosen.workers_each,
            chosen.slowdown,
            chosen.spread,
            chosen.storage,
            chosen.hours_to_failure,
            chosen.restart,
            chosen.price,
        )
        plan = simulate(shard, cluster, chosen.rows)
        if chosen.json:
            sys.stdout.write(json.dumps({**asdict(cluster), **asdict(plan)}) + "\n")
            continue
        shares = ", ".join(f"{name} {getattr(plan, name):.1%}" for name in ("efficiency", "waiting", "lost", "idle"))
        sys.stdout.write(
            f"{machines:,} machines: {plan.hours:,.1f} h, {plan.rows_per_second:,.0f} rows/s, {shares}, "
            f"cost {plan.cost:,.0f}\n"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
