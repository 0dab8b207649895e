"""What every request passes: its id, the key, the size of its body, how long it may take, the log and the counters."""

import asyncio
import hmac
import json
import logging
import re
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from contextlib import suppress
from enum import Enum, auto
from typing import Any

from blockskim.serving.http.metrics import Metrics
from blockskim.serving.http.problems import OURS, Answerless, answerless
from blockskim.serving.http.settings import HttpSettings
from blockskim.serving.logs import LONGEST_MESSAGE, REQUESTS
from blockskim.serving.refusals import Busy

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

OPEN = frozenset({"/health", "/ready"})
"""Paths that need no key: who asks them is a machine that knows none. Nor does the page, on which a key is given."""

UNLOGGED = OPEN | {"/metrics"}
"""Paths that machines ask every few seconds."""

DRAIN_SECONDS, DRAIN_TIMES = 3.0, 20
"""For how long, and for how many times the most that a request may have, a refused request is read on."""

LINGER_SECONDS = 15.0
"""For how long a request that is too slow is read on after it was refused."""

_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class _Left(Exception):
    """The client went away."""


class _Full(Exception):
    """The requests that are here have as many bytes as they may.

    Attributes:
        more: whether the client has more to send of the one that is too much.
    """

    more = True


class _Refused(Enum):
    """Why a body is not taken."""

    FULL = auto()
    FULL_AT_THE_END = auto()  # Its last part is too much, so the client has nothing more to send.
    SLOW = auto()
    TOO_LARGE = auto()


class Guard:
    """An ASGI application around another one."""

    def __init__(
        self,
        app: App,
        settings: HttpSettings,
        metrics: Metrics,
        check_room: Callable[[], None],
        route_of: Callable[[Scope], str],
    ) -> None:
        """Guard an application.

        Args:
            app: it, which finds the whole body at once, and ``request_id`` in the scope's state.
            settings: what is allowed.
            metrics: where requests are counted.
            check_room: raises ``Busy`` where nothing more may wait, before the body of a request is read.
            route_of: the route that a request is for, empty if there is none; of those that never get there, too.
        """
        self._app = app
        self._settings = settings
        self._metrics = metrics
        self._check_room = check_room
        self._route_of = route_of
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        visit = _Visit(scope, send)
        try:
            await self._answer(visit, receive)
        except _Left:
            visit.status, visit.kind = 499, "client_left"
        except Exception as error:
            visit.kind = "internal"
            REQUESTS.error("a request failed", exc_info=error, extra={"fields": {"id": visit.id}})
            if not visit.started:
                await visit.refuse(Answerless(500, "internal", OURS))
        finally:
            self._count(visit)

    async def _answer(self, visit: "_Visit", receive: Receive) -> None:
        refused = self._refused(visit)
        if refused is not None:
            # Who asks before it sends is told without having sent.
            if b"expect" not in dict(visit.scope["headers"]):
                await _drain(receive, self._settings.max_body, DRAIN_SECONDS)
            await visit.refuse(refused)
            return
        held = 0

        def hold(size: int) -> None:
            nonlocal held
            if self._held + size > self._settings.max_held:
                raise _Full
            held += size
            self._held += size

        try:
            body = await self._read(receive, hold)
            if isinstance(body, bytes):
                await _while_connected(self._app, visit, body, receive)
        finally:
            # Before anything is refused: what was read of that is let go, and stands in nobody's way meanwhile.
            self._held -= held
        if not isinstance(body, bytes):
            await self._refuse_body(visit, receive, body)

    async def _read(self, receive: Receive, hold: Callable[[int], None]) -> "bytes | _Refused":
        """The body of a request, or why it is refused, where nothing of it is kept any more.

        Args:
            receive: gives its parts.
            hold: told of each part that is kept.
        """
        # The traceback of an error would keep what was read.
        try:
            async with asyncio.timeout(self._settings.seconds):
                body = await _body(receive, self._settings.max_body, hold)
        except _Full as full:
            return _Refused.FULL if full.more else _Refused.FULL_AT_THE_END
        except TimeoutError:
            return _Refused.SLOW
        return _Refused.TOO_LARGE if body is None else body

    async def _refuse_body(self, visit: "_Visit", receive: Receive, why: "_Refused") -> None:
        """Answer a request whose body is not taken."""
        most = self._settings.max_body
        if why is _Refused.SLOW:
            sentence = f"the request did not arrive within {self._settings.seconds:g} s"
            answer = Answerless(408, "slow_request", sentence, {"Connection": "close"})
            # Who reads only after all is sent finds nothing on a connection that was closed in the meantime.
            await visit.refuse(answer, lambda: _drain(receive, most, LINGER_SECONDS))
            return
        if why is not _Refused.FULL_AT_THE_END:
            await _drain(receive, most, DRAIN_SECONDS)
        if why is _Refused.TOO_LARGE:
            await visit.refuse(_too_large(most))
            return
        sentence = "the requests that are here are as large as they may be together; try again in 1 s"
        await visit.refuse(Answerless(429, "busy", sentence, {"Retry-After": "1", "Connection": "close"}))

    def _refused(self, visit: "_Visit") -> Answerless | None:
        """Why a request is refused before its body is read; None if it is not."""
        headers = dict(visit.scope["headers"])
        path, method = visit.scope["path"], visit.scope["method"]
        key = self._settings.api_key
        if key is not None and path not in OPEN and not (path == "/" and method in ("GET", "HEAD")):
            scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
            right = hmac.compare_digest(given.lstrip(b" "), key.encode("utf-8"))
            if scheme.lower() != b"bearer" or not right:
                sentence = "this service needs a key: send it as the header Authorization: Bearer KEY"
                return Answerless(401, "no_key", sentence, {"WWW-Authenticate": "Bearer"})
        length = headers.get(b"content-length", b"")
        if length.isdigit() and int(length[:20]) > self._settings.max_body:
            return _too_large(self._settings.max_body)
        if method == "POST":
            try:
                self._check_room()
            except Busy as error:
                return answerless(error)
        return None

    def _count(self, visit: "_Visit") -> None:
        route = self._route_of(visit.scope) or "other"
        seconds = visit.seconds
        self._metrics.requests.labels(route=route, status=str(visit.status)).inc()
        self._metrics.durations.labels(route=route).observe(seconds)
        if visit.kind:
            self._metrics.errors.labels(kind=visit.kind).inc()
        fields = {
            "id": visit.id,
            "method": visit.scope["method"],
            "route": route,
            "status": visit.status,
            "milliseconds": round(1000 * seconds, 1),
            **({"problem": visit.kind} if visit.kind else {}),
            # It may quote the request.
            **({"sentence": visit.sentence[:LONGEST_MESSAGE]} if visit.sentence and self._settings.log_texts else {}),
            **visit.scope["state"].get("logged", {}),
        }
        if visit.scope["path"] not in UNLOGGED:
            level = logging.WARNING if visit.status == 429 or visit.status >= 500 else logging.INFO
            REQUESTS.log(level, "request", extra={"fields": fields})


class _Visit:
    """A request while it is answered."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self.scope, self._send = scope, send
        self.began = time.perf_counter()
        self.id = id_of(scope["headers"])
        self.status, self.kind, self.sentence, self.started = 500, "", "", False
        scope.setdefault("state", {})
        scope["state"] |= {"request_id": self.id, "visit": self}

    @property
    def seconds(self) -> float:
        """How long it is there."""
        return time.perf_counter() - self.began

    def note(self, answer: Answerless) -> None:
        """Remember why there is no answer."""
        self.kind, self.sentence = answer.kind, answer.sentence

    async def send(self, message: Message) -> None:
        """Send a part of the response, with the id of the request."""
        if message["type"] == "http.response.start":
            self.started, self.status = True, message["status"]
            message["headers"] = [*message.get("headers", []), (b"x-request-id", self.id.encode("ascii"))]
        await self._send(message)

    async def refuse(self, answer: Answerless, before_end: Callable[[], Awaitable[None]] | None = None) -> None:
        """Answer that there is no answer.

        Args:
            answer: why there is none.
            before_end: what is done while the client has all of it, and the connection is still open.
        """
        self.note(answer)
        body = problem_body(answer, self.id)
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body)), **answer.headers}
        raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        await self.send({"type": "http.response.start", "status": answer.status, "headers": raw})
        await self.send({"type": "http.response.body", "body": body, "more_body": before_end is not None})
        if before_end is not None:
            with suppress(_Left):
                await before_end()
            await self.send({"type": "http.response.body", "body": b""})


def id_of(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The id of a request: the client's own where it sends one, or a new one."""
    given = dict(headers).get(b"x-request-id", b"").decode("latin-1")
    return given if _ID.fullmatch(given) else uuid.uuid4().hex


def problem_body(answer: Answerless, request_id: str) -> bytes:
    """JSON that says why there is no answer. It is ASCII, whatever the sentence quotes."""
    return json.dumps({"error": answer.sentence, "kind": answer.kind, "request_id": request_id}).encode("ascii")


def _too_large(most: int) -> Answerless:
    sentence = f"the request is larger than {most:,} bytes, which is the most that is taken"
    # Some of what was sent may not have been read, so the connection can't be used again.
    return Answerless(413, "too_large", sentence, {"Connection": "close"})


async def _body(receive: Receive, most: int, hold: Callable[[int], None] | None) -> bytes | None:
    """The whole body; None if it has more than so many bytes.

    Args:
        receive: gives its parts.
        most: bytes.
        hold: told of the bytes of each part before it is kept; with None nothing is, and the body is empty.

    Raises:
        _Left: the client went away before it was there.
    """
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Left
        part = message.get("body", b"")
        size += len(part)
        if size > most:
            return None
        more = message.get("more_body", False)
        if hold is not None:
            try:
                hold(len(part))
            except _Full as full:
                full.more = more
                raise
            parts.append(part)
        if not more:
            return b"".join(parts)


async def _drain(receive: Receive, most: int, seconds: float) -> None:
    """Read on what will not be used, for a while: who is still sending finds no answer on a connection that is closed.

    Raises:
        _Left: the client went away.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await _body(receive, DRAIN_TIMES * most, None)


async def _while_connected(app: App, visit: _Visit, body: bytes, receive: Receive) -> None:
    """Run an application, until it is done or the client goes away.

    Raises:
        _Left: the client did.
    """
    waiting = [{"type": "http.request", "body": body, "more_body": False}]
    gone = asyncio.get_running_loop().create_future()

    async def given() -> Message:
        if waiting:
            return waiting.pop()
        await asyncio.shield(gone)
        return {"type": "http.disconnect"}

    async def watch() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        if not gone.done():
            gone.set_result(None)

    answering = asyncio.ensure_future(app(visit.scope, given, visit.send))
    watching = asyncio.ensure_future(watch())
    try:
        await asyncio.wait({answering, watching}, return_when=asyncio.FIRST_COMPLETED)
        if not answering.done() and not visit.started:
            answering.cancel()
            with suppress(asyncio.CancelledError):
                await answering
            raise _Left
        await answering
    finally:
        for task in (answering, watching):
            task.cancel()
