"""The service under all that can be done to it at once, and whether anything is lost, wrong or left behind.

    python benchmarks/serve_soak.py --data dev-v1.1.json --minutes 20 > soak.json

Requests come at three times what the service can answer. Beside them come clients that send byte by byte, that leave
before their answer, whose bodies are cut off, too large, no JSON or of wrong types, and texts of a megabyte; and worker
processes are killed. Every answer is compared with the library's. Prints one line of JSON, and exits with 1 where
something did not hold.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import statistics
import sys
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from loopback import Ask, Calls, Client, Server, arrive, running, saturate

from blockskim import QuestionAnswerer
from blockskim.data.reading import read_examples
from blockskim.inference.shipped import shipped_model

KILL_EVERY, LOOK_EVERY = 60.0, 5.0
BODY = 2_000_000
ALLOWED = {200, 400, 408, 413, 422, 429, 502, 503, 504}
GROWTH = 1.25
"""By how much more memory may be held in the last quarter than in the second."""

Act = Callable[[Server, random.Random], Coroutine[Any, Any, int]]


def main() -> None:
    """Run and judge."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=200)
    parser.add_argument("--model")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--no-large", action="store_true", help="no texts of a megabyte, on a slow machine")
    chosen = parser.parse_args()
    name = chosen.model or str(shipped_model())
    pairs = [(example.question, example.context) for example in islice(read_examples(chosen.data), chosen.limit)]
    qa = QuestionAnswerer(name, threads=1)
    expected = [by_library(qa, pairs, number) for number in range(len(pairs))]
    large = (pairs[0][0], " ".join(context for _, context in pairs)[:50_000] * 20)
    options = ["--port", "0", "--no-log-requests", "--model", name, "--threads", "1", "--timeout", "20"]
    serve = ["-m", "blockskim", "serve", "--workers", str(chosen.workers), *options]
    with running(serve) as server:
        soak = Soak(server, pairs, expected, None if chosen.no_large else large)
        found = asyncio.run(soak.run(60 * chosen.minutes))
        server.process.terminate()
        found["exit_code"] = server.process.wait(120)
    found["held"] = held(found)
    found["conditions"] = {"minutes": chosen.minutes, "workers": chosen.workers, "cores": os.cpu_count()}
    sys.stdout.write(json.dumps(found) + "\n")
    sys.exit(0 if all(found["held"].values()) else 1)


class Soak:
    """One run."""

    def __init__(
        self,
        server: Server,
        pairs: list[tuple[str, str]],
        expected: list[Any],
        large: tuple[str, str] | None,
    ) -> None:
        """Prepare.

        Args:
            server: to be tried.
            pairs: questions with contexts.
            expected: the library's answers to them.
            large: a question with a text of a megabyte; None for none.
        """
        self.server, self.expected = server, expected
        self.asks = [mixed_ask(pairs, number) for number in range(len(pairs))]
        self.large = None if large is None else Ask(ask(*large))
        self.acts: dict[str, dict[int, int]] = {}
        self.broken: dict[str, int] = {}
        self.killed = 0
        self.memory: list[int] = []

    async def run(self, seconds: float) -> dict[str, Any]:
        """Everything at once, for so long; then whether the service is as it was."""
        client = Client(self.server)
        _, capacity = await saturate(client, self.asks, min(10.0, seconds / 4), 16)
        before = resources(self.server.process.pid)
        until = time.monotonic() + seconds
        acts: dict[str, Act] = {
            "slow": drip,
            "leaves": leave,
            "truncated": truncated,
            "oversized": oversized,
            "no_json": no_json,
            "wrong_types": wrong_types,
        }
        if self.large is not None:
            acts["megabyte"] = self.megabyte
        beside = [asyncio.create_task(self.again(name, act, until)) for name, act in acts.items()]
        beside += [asyncio.create_task(self.kill(until)), asyncio.create_task(self.look(until))]
        calls = await arrive(client, self.asks, seconds, max(1.0, 3 * capacity), keep=True)
        await asyncio.gather(*beside)
        client.close()
        self.broken |= client.broken
        await asyncio.sleep(5.0)
        last = Client(self.server)
        after_calls, _ = await saturate(last, self.asks, 3.0, 4)
        last.close()
        await asyncio.sleep(1.0)
        return self.told(calls, after_calls, capacity, before, resources(self.server.process.pid))

    def told(
        self, calls: Calls, after_calls: Calls, capacity: float, before: dict[str, int], after: dict[str, int]
    ) -> dict[str, Any]:
        """The figures."""
        count = len(self.expected)
        wrong = sum(told_of(answer, number % count) != self.expected[number % count]
                    for number, answer in calls.answers.items())  # fmt: skip
        quarter = max(1, len(self.memory) // 4)
        return {
            "capacity_per_second": round(capacity, 2),
            "overload": calls.figures(),
            "compared": len(calls.answers),
            "wrong": wrong,
            "beside": {name: {str(s): n for s, n in sorted(counts.items())} for name, counts in self.acts.items()},
            "broken": self.broken,
            "workers_killed": self.killed,
            "memory_mb": {
                "second_quarter": round(statistics.median(self.memory[quarter : 2 * quarter] or [0]) / 1e6, 1),
                "last_quarter": round(statistics.median(self.memory[-quarter:] or [0]) / 1e6, 1),
                "most": round(max(self.memory, default=0) / 1e6, 1),
            },
            "front_before": before,
            "front_after": after,
            "afterwards": after_calls.figures(),
        }

    async def again(self, name: str, act: Act, until: float) -> None:
        """Do something again and again, and count what the service says."""
        chance, counts = random.Random(name), self.acts.setdefault(name, {})
        while time.monotonic() < until:
            try:
                async with asyncio.timeout(60):
                    status = await act(self.server, chance)
            except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
                status, kind = 0, f"{name}: {type(error).__name__}"
                self.broken[kind] = self.broken.get(kind, 0) + 1
            counts[status] = counts.get(status, 0) + 1
            await asyncio.sleep(chance.expovariate(1.0))

    async def megabyte(self, server: Server, chance: random.Random) -> int:
        """A text of a megabyte, which may well take longer than a request may."""
        assert self.large is not None
        client = Client(server)
        status, _ = await client.post(self.large)
        client.close()
        return status

    async def kill(self, until: float) -> None:
        """Kill a worker now and then."""
        chance = random.Random(0)
        while time.monotonic() + KILL_EVERY / 2 < until:
            await asyncio.sleep(min(chance.uniform(0.5, 1.5) * KILL_EVERY, max(1.0, (until - time.monotonic()) / 2)))
            workers = children(self.server.process.pid)
            if workers:
                with suppress(ProcessLookupError):
                    os.kill(chance.choice(workers), signal.SIGKILL)
                    self.killed += 1

    async def look(self, until: float) -> None:
        """Note how much memory all processes of the service hold."""
        while time.monotonic() < until:
            pids = [self.server.process.pid, *children(self.server.process.pid)]
            self.memory.append(sum(resident(pid) for pid in pids))
            await asyncio.sleep(LOOK_EVERY)


def ask(question: str, context: str) -> bytes:
    """A request."""
    return json.dumps({"inputs": {"question": question, "context": context}}).encode()


def kind_of(number: int) -> str:
    """What a request asks for: more than half of them for a plain answer, the others for each of the other routes."""
    return ("", "", "search", "", "highlight", "", "prune")[number % 7]


def documents_of(pairs: list[tuple[str, str]], number: int) -> list[str]:
    """The text of a question, and those of two others."""
    return [pairs[(number + step) % len(pairs)][1] for step in (0, len(pairs) // 3, 2 * len(pairs) // 3)]


def mixed_ask(pairs: list[tuple[str, str]], number: int) -> Ask:
    """The request with such a number."""
    if not kind_of(number):
        return Ask(ask(*pairs[number]))
    asked = {"question": pairs[number][0], "documents": documents_of(pairs, number)}
    return Ask(json.dumps(asked).encode(), f"/{kind_of(number)}")


def told_of(answer: Any, number: int) -> Any:
    """What of an answer is compared: all but the seconds that it took."""
    part = {"": None, "search": "answers", "highlight": "sentences", "prune": "documents"}[kind_of(number)]
    return answer if part is None else answer[part]


def by_library(qa: QuestionAnswerer, pairs: list[tuple[str, str]], number: int) -> Any:
    """The same, as the library answers and JSON holds it."""
    question, documents = pairs[number][0], documents_of(pairs, number)
    found: Any
    match kind_of(number):
        case "search":
            found = qa.search(question, documents).answers
        case "highlight":
            found = list(qa.highlight(question, documents))
        case "prune":
            found = qa.prune(question, documents).documents
        case _:
            found = qa(question, pairs[number][1])
    return json.loads(json.dumps(found))


async def send(server: Server, parts: list[bytes], pause: float = 0.0, read: bool = True) -> int:
    """Send bytes as they are; gives the status of the answer, 0 for none."""
    reader, writer = await asyncio.open_connection(server.host, server.port)
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(pause)
        if not read:
            return 0
        line = await reader.readline()
        return int(line.split()[1]) if line else 0
    finally:
        writer.close()


def head(length: int) -> bytes:
    """The head of a request."""
    return f"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n".encode()


async def drip(server: Server, chance: random.Random) -> int:
    """Send byte by byte, and never all of it."""
    return await send(server, [head(1000), *[b"x"] * chance.randrange(20, 60)], pause=0.5)


async def leave(server: Server, chance: random.Random) -> int:
    """Ask and leave."""
    content = ask("Where is the kite?", "The kite is in Wales. " * chance.randrange(1, 2000))
    return await send(server, [head(len(content)) + content], pause=chance.uniform(0, 0.2), read=False)


async def truncated(server: Server, chance: random.Random) -> int:
    """Announce more than is sent, and leave."""
    content = ask("Where is the kite?", "The kite is in Wales.")
    return await send(server, [head(len(content) + 100) + content], pause=0.1, read=False)


async def oversized(server: Server, chance: random.Random) -> int:
    """Send more than is taken."""
    return await send(server, [head(BODY + 1000), *[b" " * 100_000] * (BODY // 100_000), b" " * 1000])


async def no_json(server: Server, chance: random.Random) -> int:
    """Send bytes of chance."""
    content = chance.randbytes(chance.randrange(1, 5000))
    return await send(server, [head(len(content)) + content])


async def wrong_types(server: Server, chance: random.Random) -> int:
    """Send JSON that is no request."""
    values: list[Any] = [1, None, [], {}, "x", {"inputs": 1}, {"inputs": {"question": [], "context": {}}}]
    content = json.dumps(chance.choice(values)).encode()
    return await send(server, [head(len(content)) + content])


def children(pid: int) -> list[int]:
    """Worker processes of a service: those that it spawned, but for the one that looks after what they share."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, IndexError, ValueError):
            parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
            if parent == pid and b"spawn_main" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return found


def resident(pid: int) -> int:
    """Bytes of memory that a process holds."""
    with suppress(OSError, IndexError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def resources(pid: int) -> dict[str, int]:
    """Threads and open files of a process."""
    folders = {"threads": "task", "files": "fd"}
    return {name: len(list(Path(f"/proc/{pid}/{folder}").iterdir())) for name, folder in folders.items()}


def held(found: dict[str, Any]) -> dict[str, bool]:
    """What had to hold, and whether it did."""
    overload = {int(status) for status in found["overload"]["statuses"]}
    sent = {name: {int(status) for status in counts} for name, counts in found["beside"].items()}
    memory, before, after = found["memory_mb"], found["front_before"], found["front_after"]
    return {
        "every_answer_is_the_librarys": found["wrong"] == 0 and found["compared"] > 0,
        "every_request_is_answered": overload <= ALLOWED,
        "bad_ones_are_refused": all(sent[name] <= ALLOWED - {200} for name in ("oversized", "no_json", "wrong_types")),
        "memory_is_level": memory["last_quarter"] <= GROWTH * max(1.0, memory["second_quarter"]),
        "no_thread_is_left": after["threads"] <= before["threads"] + 2,
        "no_file_is_left": after["files"] <= before["files"] + 8,
        "it_answers_afterwards": set(found["afterwards"]["statuses"]) == {"200"},
        "it_ends_with_0": found["exit_code"] == 0,
    }


if __name__ == "__main__":
    main()
