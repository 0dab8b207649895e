"""The life of a service: it listens, starts workers, is ready when they are warm, and ends without losing a request."""

import asyncio
import contextlib
import importlib
import signal
import socket
import time
from collections.abc import Callable, Iterator
from types import FrameType

import uvicorn

from blockskim.errors import ConfigError
from blockskim.extras import has
from blockskim.serving.engine import ModelSettings
from blockskim.serving.http.app import make_app
from blockskim.serving.http.metrics import Metrics
from blockskim.serving.http.protocol import counting
from blockskim.serving.http.settings import HttpSettings
from blockskim.serving.logs import LIFE, LogSettings, configure_logs
from blockskim.serving.pool import WorkerPool
from blockskim.serving.scheduler import Capacity


def serve(
    model: ModelSettings,
    capacity: Capacity,
    http: HttpSettings,
    logs: LogSettings,
    host: str = "127.0.0.1",
    port: int = 8080,
    workers: int = 1,
    grace: float = 30.0,
    drain_delay: float = 0.0,
    keep_alive: int = 75,
) -> bool:
    """Serve until a signal says to stop; for the main thread of a process.

    Args:
        model: what answers.
        capacity: how much is done at once.
        http: what is allowed.
        logs: what is logged.
        host: address to listen on.
        port: to listen on; 0 for any that is free.
        workers: processes with a model each.
        grace: seconds that requests have to be finished in when it is to stop.
        drain_delay: seconds before that in which it says that it is not ready, and takes requests as before.
        keep_alive: seconds for which a connection on which nothing comes stays open.

    Returns:
        Whether every request was finished.

    Raises:
        ConfigError: the address can't be listened on, or a setting does not fit the model.
        ModelError: the model can't be loaded.
    """
    configure_logs(logs)
    with _listening(host, port) as listener, asyncio.Runner(loop_factory=_loop_factory()) as runner:
        life = _Life(model, capacity, http, logs, workers, grace, drain_delay, keep_alive)
        return runner.run(life.run(listener))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """What makes event loops of uvloop, which cost less; None where it is not installed, as on Windows."""
    return importlib.import_module("uvloop").new_event_loop if has("uvloop") else None


@contextlib.contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that listens.

    Raises:
        ConfigError: the address is blank, none of this machine's, or is taken.
    """
    if not host.strip():
        # The system takes it for all addresses, which opens the service to whoever reaches this machine.
        raise ConfigError(f"host is {host!r}; it must be an address of this machine, or 0.0.0.0 for all of them")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"{host} port {port} can't be listened on: {reason}") from error
    with listener:
        # Head and body of an answer are written apart; without this the body waits for the client to confirm the head,
        # which takes it 40 ms. Connections have it from the socket that listens, and asyncio leaves this one be.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield listener


class _Server(uvicorn.Server):
    """A server that leaves signals to the life around it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


class _Life:
    """One service from its start to its end."""

    def __init__(
        self,
        model: ModelSettings,
        capacity: Capacity,
        http: HttpSettings,
        logs: LogSettings,
        workers: int,
        grace: float,
        drain_delay: float,
        keep_alive: int,
    ) -> None:
        self._grace, self._drain_delay = grace, drain_delay
        self._forced = asyncio.Event()
        self._metrics = Metrics(lambda: self._pool.waiting, lambda: self._pool.ready)
        self._pool = WorkerPool(model, capacity, logs, workers, self._metrics, timeout=http.seconds)
        config = uvicorn.Config(
            make_app(self._pool, http, self._metrics),
            http=counting(self._metrics),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=keep_alive,
            timeout_graceful_shutdown=max(1, round(grace)),
        )
        self._server = _Server(config)

    async def run(self, listener: socket.socket) -> bool:
        """Serve on a socket until a signal says to stop; gives whether every request was finished."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()

        def told(number: int, _frame: FrameType | None) -> None:
            # The second time somebody means it.
            loop.call_soon_threadsafe(self._force if stop.is_set() else stop.set)

        before = {number: signal.signal(number, told) for number in (signal.SIGTERM, signal.SIGINT)}
        serving = loop.create_task(self._server.serve(sockets=[listener]))
        starting = loop.create_task(self._start(listener))
        stopping = loop.create_task(stop.wait())
        try:
            await asyncio.wait({serving, starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done() and not serving.done() and not stopping.done():
                starting.result()
                await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
            await self._drain(serving)
            LIFE.info("stopping", extra={"fields": {"requests": self._pool.waiting, "grace": self._grace}})
            return await self._end(serving)
        finally:
            for task in (starting, stopping):
                task.cancel()
            self._server.should_exit = self._server.force_exit = True
            with contextlib.suppress(asyncio.CancelledError):
                await serving
            self._pool.kill()
            for number, handler in before.items():
                signal.signal(number, handler)

    async def _start(self, listener: socket.socket) -> None:
        address, port = listener.getsockname()[:2]
        host = f"[{address}]" if ":" in address else address
        LIFE.info("listening", extra={"fields": {"url": f"http://{host}:{port}"}})
        began = time.monotonic()
        await self._pool.start()
        fields = {"seconds": round(time.monotonic() - began, 2), **self._pool.describe()}
        LIFE.info("ready", extra={"fields": fields})

    async def _drain(self, serving: "asyncio.Task[None]") -> None:
        """Let those who share out requests see that this is going, before anything is refused."""
        # Nobody sends to one that never was ready; to one that is not just now, as a worker is replaced, many do.
        if not self._pool.describe() or not self._drain_delay:
            return
        LIFE.info("draining", extra={"fields": {"seconds": self._drain_delay}})
        self._pool.drain()
        forced = asyncio.ensure_future(self._forced.wait())
        await asyncio.wait({serving, forced}, timeout=self._drain_delay, return_when=asyncio.FIRST_COMPLETED)
        forced.cancel()

    async def _end(self, serving: "asyncio.Task[None]") -> bool:
        """Take no more, and finish what runs."""
        until = time.monotonic() + self._grace
        self._server.should_exit = True
        finished = await self._pool.stop(self._grace)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(serving), max(1.0, until - time.monotonic()))
        LIFE.info("stopped", extra={"fields": {"finished": finished}})
        return finished

    def _force(self) -> None:
        """End at once."""
        self._forced.set()
        self._server.force_exit = True
        self._pool.kill()
