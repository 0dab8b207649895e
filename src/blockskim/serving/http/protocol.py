"""A connection: a bound for what comes before a body, JSON for what is no request, and HTTP/1.1 alone.

The server's parser collects address, headers, and headers behind a body without a bound, before anything of ours is
asked, the key included.
"""

from contextlib import suppress
from http import HTTPStatus
from typing import ClassVar

import httptools
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


NO_REQUEST = Answerless(
    400, "no_http", "what was sent is no request of HTTP/1.1 that this service takes", {"Connection": "close"}
)


class _Refused(Exception):
    """The headers are not as they may be; the parser hands this on as an error of its own."""


class HttpConnection(HttpToolsProtocol):
    """A connection on which headers that are too large get 431; ``counting`` makes a kind that is counted.

    What is no request gets 400. A request before it on the same connection, which is being answered, gets its answer
    first. A wish to go on in another protocol is passed over, as HTTP allows: the request is answered as it stands.
    """

    metrics: ClassVar[Metrics | None] = None
    _unparsed = 0
    _head = 0
    _too_large = False
    _begun = False
    _wishes_upgrade = False  # The parser takes no body of such a request, and it is read again without the wish.
    _refused = b""  # What is sent once requests before it have their answers.

    def data_received(self, data: bytes) -> None:
        """Take in what came."""
        if self._refused:
            return
        self._unset_keepalive_if_required()
        # A long value is collected inside of the parser, which tells of it in the end alone.
        self._unparsed += len(data)
        try:
            self._parse(data)
        except httptools.HttpParserError:
            self.send_400_response("")
            return
        if self._unparsed > MOST_HEAD and not self._too_large and not self.transport.is_closing():
            self._too_large = True
            self.send_400_response("")

    def _parse(self, data: bytes) -> None:
        """Have the parser read what came; it stops behind each head that wishes for another protocol."""
        left = memoryview(data)
        while left:
            try:
                self.parser.feed_data(left)
                return
            except httptools.HttpParserUpgrade as stopped:
                left = left[stopped.args[0] :]
            head = self._head_without_upgrade()
            # The old one takes nothing more if that was to be the last request.
            self.parser = httptools.HttpRequestParser(self)
            with suppress(AttributeError):  # httptools before 0.6.3
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
            self.parser.feed_data(head)

    def _head_without_upgrade(self) -> bytes:
        """The head that was read last, as it would be without the wish for another protocol."""
        first = b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode("ascii"))
        headers = [b"%b: %b" % header for header in self.headers if header[0] != b"upgrade"]
        return b"\r\n".join([first, *headers, b"", b""])

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
        self._wishes_upgrade = self.parser.should_upgrade()
        if not self._wishes_upgrade:
            super().on_headers_complete()
        elif self.parser.get_method() == b"CONNECT":
            raise _Refused

    def on_body(self, body: bytes) -> None:
        """A part of a body came."""
        self._unparsed = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """All of a request came."""
        self._unparsed = 0
        self._begun = False
        if not self._wishes_upgrade:
            super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no request, or one that is too large, and hang up."""
        answer = TOO_LARGE if self._too_large else NO_REQUEST
        # What is none may follow one that ended, whose headers are still here.
        request_id = id_of(self.headers if self._begun else ())
        self._note(answer, request_id)
        # There is none before the first request. An answer that is on its way must not be mixed with this one.
        cycle = getattr(self, "cycle", None)
        unanswered = cycle is not None and cycle.more_body and not cycle.response_started and not self.pipeline
        if cycle is None or cycle.response_complete or (unanswered and not self._too_large):
            self.transport.write(_response(answer, request_id))
        elif not cycle.more_body:
            self._refused = _response(answer, request_id)
            return
        self.transport.close()

    def on_response_complete(self) -> None:
        """A request has its answer."""
        last = not self.pipeline
        super().on_response_complete()
        if self._refused and last and not self.transport.is_closing():
            self.transport.write(self._refused)
            self.transport.close()

    def _note(self, answer: Answerless, request_id: str) -> None:
        """Log and count that a request is refused."""
        fields = {"id": request_id, "route": "other", "status": answer.status, "problem": answer.kind}
        REQUESTS.info("request", extra={"fields": fields})
        if self.metrics is not None:
            self.metrics.requests.labels(route="other", status=str(answer.status)).inc()
            self.metrics.errors.labels(kind=answer.kind).inc()

    def _count(self, size: int) -> None:
        self._head += size
        if self._head > MOST_HEAD:
            self._too_large = True
            raise _Refused


def counting(counters: Metrics) -> type[HttpConnection]:
    """A kind of connection whose refusals are counted.

    Args:
        counters: where.
    """

    class Counted(HttpConnection):
        metrics = counters

    return Counted


def _response(answer: Answerless, request_id: str) -> bytes:
    """What is sent where there is no application yet to answer."""
    body = problem_body(answer, request_id)
    headers = {"Content-Type": "application/json", "Content-Length": str(len(body)), "X-Request-Id": request_id}
    headers |= answer.headers
    lines = [f"{name}: {value}\r\n" for name, value in headers.items()]
    return f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}\r\n{''.join(lines)}\r\n".encode("ascii") + body
