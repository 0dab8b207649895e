"""A bound for what comes before a body: address, headers, and headers behind a body.

The server's parser collects them without one, before anything of ours is asked, the key included.
"""

from http import HTTPStatus
from typing import ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from blockskim.serving.http.guard import id_of, problem_body
from blockskim.serving.http.metrics import Metrics
from blockskim.serving.http.problems import Answerless
from blockskim.serving.logs import REQUESTS

MOST_HEAD = 65_536
"""Bytes that arrive without any of them being of a body, and of all headers of a request."""

TOO_LARGE = Answerless(
    431,
    "head_too_large",
    f"the address and the headers are larger than {MOST_HEAD:,} bytes, which is the most that is taken",
    {"Connection": "close"},
)


class _TooLarge(Exception):
    """The headers are larger than they may be; the parser hands this on as an error of its own."""


class BoundedHead(HttpToolsProtocol):
    """A connection on which headers that are too large get 431; ``counting`` makes a kind that is counted.

    A request before it on the same connection, which is being answered, gets its answer first.
    """

    metrics: ClassVar[Metrics | None] = None
    _unparsed = 0
    _head = 0
    _too_large = False
    _begun = False
    _refused = b""  # What is sent once requests before it have their answers.

    def data_received(self, data: bytes) -> None:
        """Take in what came."""
        if self._refused:
            return
        # A long value is collected inside of the parser, which tells of it in the end alone.
        self._unparsed += len(data)
        super().data_received(data)
        if self._unparsed > MOST_HEAD and not self._too_large and not self.transport.is_closing():
            self._too_large = True
            self.send_400_response("")

    def on_message_begin(self) -> None:
        """A request begins."""
        self._head = 0
        self._begun = True
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """A part of an address came."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header came, be it before a body or behind it."""
        self._count(len(name) + len(value) + len(b": \r\n"))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """All headers came."""
        self._unparsed = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A part of a body came."""
        self._unparsed = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """All of a request came."""
        self._unparsed = 0
        self._begun = False
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no request, or one that is too large, and hang up."""
        if not self._too_large:
            super().send_400_response(msg)
            return
        # What is too large may be none, and the headers those of the request before it.
        request_id = id_of(self.headers if self._begun else ())
        self._note(request_id)
        # There is none before the first request. An answer that is on its way must not be mixed with this one.
        cycle = getattr(self, "cycle", None)
        if cycle is None or cycle.response_complete:
            self.transport.write(_response(TOO_LARGE, request_id))
        elif not cycle.more_body:
            self._refused = _response(TOO_LARGE, request_id)
            return
        self.transport.close()

    def on_response_complete(self) -> None:
        """A request has its answer."""
        last = not self.pipeline
        super().on_response_complete()
        if self._refused and last and not self.transport.is_closing():
            self.transport.write(self._refused)
            self.transport.close()

    def _note(self, request_id: str) -> None:
        """Log and count that a request is refused."""
        fields = {"id": request_id, "route": "other", "status": TOO_LARGE.status, "problem": TOO_LARGE.kind}
        REQUESTS.info("request", extra={"fields": fields})
        if self.metrics is not None:
            self.metrics.requests.labels(route="other", status=str(TOO_LARGE.status)).inc()
            self.metrics.errors.labels(kind=TOO_LARGE.kind).inc()

    def _count(self, size: int) -> None:
        self._head += size
        if self._head > MOST_HEAD:
            self._too_large = True
            raise _TooLarge


def counting(counters: Metrics) -> type[BoundedHead]:
    """A kind of connection whose refusals are counted.

    Args:
        counters: where.
    """

    class Counted(BoundedHead):
        metrics = counters

    return Counted


def _response(answer: Answerless, request_id: str) -> bytes:
    """What is sent where there is no application yet to answer."""
    body = problem_body(answer, request_id)
    headers = {"Content-Type": "application/json", "Content-Length": str(len(body)), "X-Request-Id": request_id}
    headers |= answer.headers
    lines = [f"{name}: {value}\r\n" for name, value in headers.items()]
    return f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}\r\n{''.join(lines)}\r\n".encode("ascii") + body
