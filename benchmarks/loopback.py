"""What the benchmarks of the service share: a server as a process, a lean client, and the latencies of many calls."""

import asyncio
import json
import os
import queue
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

START_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Server:
    """A server that listens.

    Attributes:
        host: where.
        port: where.
        process: of it.
    """

    host: str
    port: int
    process: subprocess.Popen[str]


@dataclass(frozen=True, slots=True)
class Ask:
    """A request.

    Attributes:
        body: JSON.
        path: of the route.
    """

    body: bytes
    path: str = "/"


@contextmanager
def running(arguments: Sequence[str], ready: str = "ready") -> Iterator[Server]:
    """A server process from when it logs that it is ready; it is told to stop in the end.

    Its log is lines of JSON with an ``event``; that of "listening" has the ``url``.

    Args:
        arguments: of Python.
        ready: the event after which it may be asked.
    """
    # A group of its own: some servers leave processes behind, which would hold on to the output of whoever asked.
    process = subprocess.Popen(
        [sys.executable, *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    lines: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        assert process.stderr is not None
        for line in process.stderr:
            lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    try:
        url, event = "", ""
        while event != ready:
            line = lines.get(timeout=START_SECONDS)
            if line is None:
                raise SystemExit("the server ended before it was ready")
            if line.startswith("{"):
                told = json.loads(line)
                event, url = told["event"], told.get("url", url)
        host, port = url.removeprefix("http://").rsplit(":", 1)
        yield Server(host, int(port), process)
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(30)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


@dataclass(slots=True)
class Calls:
    """What came of many calls.

    Attributes:
        seconds: of each call that was answered with 200.
        statuses: how often each status came; 0 stands for a connection that broke.
        answers: what was answered, by the number of the call.
    """

    seconds: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)
    answers: dict[int, Any] = field(default_factory=dict)

    def add(self, others: "Calls") -> None:
        """Add what came of other calls, but for their answers."""
        self.seconds += others.seconds
        for status, count in others.statuses.items():
            self.statuses[status] = self.statuses.get(status, 0) + count

    def percentile(self, share: float) -> float:
        """Seconds within which such a share of the calls was answered; not a number where none was."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")

    def figures(self) -> dict[str, Any]:
        """Percentiles in milliseconds, and statuses."""
        percentiles = {f"p{int(100 * share)}": 1000 * self.percentile(share) for share in (0.5, 0.95, 0.99)}
        rounded = {name: round(value, 1) if self.seconds else None for name, value in percentiles.items()}
        return rounded | {"statuses": {str(status): count for status, count in sorted(self.statuses.items())}}


class Client:
    """Keeps connections open and reads whole answers; it does as little as can be, for it runs beside the server."""

    def __init__(self, server: Server) -> None:
        """Talk with a server; connections are opened as they are needed."""
        self._server = server
        self.broken: dict[str, int] = {}
        """Kinds of errors for which nothing was answered."""
        self._free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def post(self, ask: Ask, seconds: float = 120.0) -> tuple[int, bytes]:
        """Status and body of an answer; status 0 where the connection broke or nothing came in time."""
        try:
            async with asyncio.timeout(seconds):
                return await self._post(ask)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError) as error:
            self.broken[type(error).__name__] = self.broken.get(type(error).__name__, 0) + 1
            return 0, b""

    async def _post(self, ask: Ask) -> tuple[int, bytes]:
        server = self._server
        while self._free and self._free[-1][0].at_eof():
            # The server closes what was idle for long.
            self._free.pop()[1].close()
        fresh = not self._free
        reader, writer = await asyncio.open_connection(server.host, server.port) if fresh else self._free.pop()
        head = (
            f"POST {ask.path} HTTP/1.1\r\nHost: {server.host}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(ask.body)}\r\n\r\n"
        )
        try:
            writer.write(head.encode("ascii") + ask.body)
            lines = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
            headers = {
                name.strip().lower(): value.strip()
                for name, _, value in (line.partition(b":") for line in lines[1:] if line)
            }
            content = await reader.readexactly(int(headers[b"content-length"]))
        except (ConnectionError, asyncio.IncompleteReadError) as error:
            writer.close()
            # As every client does: what was idle may have been closed just when it was used again.
            if not fresh and not getattr(error, "partial", b""):
                return await self._post(ask)
            raise
        except BaseException:
            writer.close()
            raise
        if headers.get(b"connection", b"").lower() == b"close":
            writer.close()
        else:
            self._free.append((reader, writer))
        return int(lines[0].split()[1]), content

    def close(self) -> None:
        """Close the connections."""
        for _, writer in self._free:
            writer.close()


async def call(client: Client, asks: Sequence[Ask], number: int, calls: Calls, keep: bool = False) -> None:
    """Make one call and note what came of it."""
    began = time.perf_counter()
    status, content = await client.post(asks[number % len(asks)])
    calls.statuses[status] = calls.statuses.get(status, 0) + 1
    if status == 200:
        calls.seconds.append(time.perf_counter() - began)
        if keep:
            calls.answers[number] = json.loads(content)


async def saturate(client: Client, asks: Sequence[Ask], seconds: float, at_once: int) -> tuple[Calls, float]:
    """As many calls as can be answered, so many at once: a new one as soon as one is answered; and calls a second."""
    calls, began = Calls(), time.perf_counter()
    numbers = iter(range(10**9))

    async def go_on() -> None:
        while time.perf_counter() - began < seconds:
            await call(client, asks, next(numbers), calls)

    await asyncio.gather(*(go_on() for _ in range(at_once)))
    return calls, len(calls.seconds) / (time.perf_counter() - began)


async def arrive(
    client: Client, asks: Sequence[Ask], seconds: float, rate: float, seed: int = 0, keep: bool = False
) -> Calls:
    """Calls that come at random moments, so many a second on average, whether or not those before are answered."""
    chance, calls = random.Random(seed), Calls()
    tasks: list[asyncio.Task[None]] = []
    began, moment = time.perf_counter(), 0.0
    for number in range(max(1, int(10 * rate * seconds))):
        moment += chance.expovariate(rate)
        if moment > seconds:
            break
        await asyncio.sleep(max(0.0, moment - (time.perf_counter() - began)))
        tasks.append(asyncio.create_task(call(client, asks, number, calls, keep)))
    await asyncio.gather(*tasks)
    return calls
