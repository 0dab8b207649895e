"""How large headers may be, what is no request, and wishes for another protocol; over a connection that is none."""

import asyncio
import json
import logging
import re

import pytest

pytest.importorskip("httptools")
pytest.importorskip("prometheus_client")
pytest.importorskip("uvicorn")

import uvicorn

from blockskim.serving.http.metrics import Metrics
from blockskim.serving.http.protocol import MOST_HEAD, counting
from blockskim.serving.logs import REQUESTS, JsonLines

PIECE = 16_384
SMALL = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


class Wire(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self):
        super().__init__()
        self.sent, self.closed = b"", False

    def write(self, data):
        assert not self.closed
        self.sent += data

    def close(self):
        self.closed = True

    def is_closing(self):
        return self.closed

    def pause_reading(self):
        pass

    def resume_reading(self):
        pass


def sent(data, size=PIECE, hang=False, read=None):
    """What is answered to bytes that come in pieces, the bytes that were taken, and what was counted.

    Requests that were read are put into ``read``.
    """

    async def app(scope, receive, send):
        if hang:
            await asyncio.sleep(60)
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body")
        if read is not None:
            read.append((scope["method"], scope["path"], scope["headers"], body))
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def run():
        metrics = Metrics(lambda: 0, lambda: True)
        config = uvicorn.Config(app, http=counting(metrics), ws="none", lifespan="off", log_config=None)
        config.load()
        state = uvicorn.server.ServerState()
        protocol = config.http_protocol_class(config=config, server_state=state, app_state={})
        wire, taken = Wire(), 0
        protocol.connection_made(wire)
        for place in range(0, len(data), size):
            if wire.closed:
                break
            protocol.data_received(data[place : place + size])
            taken += len(data[place : place + size])
            for _ in range(3):
                await asyncio.sleep(0)
        while not (hang or wire.closed or (protocol.cycle.response_complete and not protocol._refused)):
            await asyncio.sleep(0)
        closed = wire.closed
        protocol.connection_lost(None)
        wire.closed = closed
        for task in protocol.tasks:
            task.cancel()
        return wire, taken, metrics.exposition().decode()

    return asyncio.run(asyncio.wait_for(run(), 60))


LARGE = MOST_HEAD + 2 * PIECE
TOO_LARGE = {
    "one long value": b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + b"x" * 10 * LARGE,
    "a long name": b"GET / HTTP/1.1\r\n" + b"x" * 10 * LARGE,
    "a long address": b"GET /" + b"x" * 10 * LARGE,
    "many headers": b"GET / HTTP/1.1\r\n" + b"X-Short: x\r\n" * LARGE,
    "the second request": SMALL + b"GET / HTTP/1.1\r\nX-Long: " + b"x" * 10 * LARGE,
}


@pytest.mark.parametrize("size", [1_000, PIECE, 10**9])
@pytest.mark.parametrize("data", TOO_LARGE.values(), ids=TOO_LARGE)
def test_headers_that_are_too_large_are_refused_and_not_kept(data, size):
    wire, taken, counted = sent(data, size)
    if data.startswith(SMALL) and size > LARGE:
        return  # What comes at once with the end of a request is not counted; a server reads less at once.
    assert wire.closed
    assert size > LARGE or taken <= LARGE
    assert b"HTTP/1.1 431 Request Header Fields Too Large\r\n" in wire.sent
    head, _, body = wire.sent.rpartition(b"\r\n\r\n")
    told = json.loads(body)
    assert f"X-Request-Id: {told['request_id']}\r\n".encode() in head
    assert (told["kind"], len(told["request_id"])) == ("head_too_large", 32)
    assert 'blockskim_requests_total{route="other",status="431"} 1.0' in counted
    assert 'blockskim_errors_total{kind="head_too_large"} 1.0' in counted


@pytest.mark.parametrize("size", [PIECE, 10**9])
@pytest.mark.parametrize("given", [b"my-id", b"no id"])
def test_a_request_that_is_refused_is_logged_under_the_id_that_it_is_told(caplog, given, size):
    caplog.set_level(logging.INFO, "blockskim.serving")
    wire, _, _ = sent(b"GET / HTTP/1.1\r\nX-Request-Id: " + given + b"\r\nX-Long: " + b"x" * LARGE + b"\r\n\r\n", size)
    told = json.loads(wire.sent.rpartition(b"\r\n\r\n")[2])["request_id"]
    assert (told == "my-id") == (given == b"my-id")
    (line,) = (json.loads(JsonLines().format(record)) for record in caplog.records if record.name == REQUESTS.name)
    assert (line["id"], line["status"], line["problem"]) == (told, 431, "head_too_large")


def test_what_is_no_request_has_not_the_id_of_the_one_before_it():
    first = b"GET / HTTP/1.1\r\nHost: x\r\nX-Request-Id: my-id\r\n\r\n"
    wire, _, _ = sent(first + b"\r\n" * LARGE)
    assert b" 431 " in wire.sent
    assert b"my-id" not in wire.sent


def test_requests_before_one_that_is_too_large_have_their_answers_first():
    large = b"GET / HTTP/1.1\r\nX-Long: " + b"x" * LARGE + b"\r\n\r\n"
    wire, _, counted = sent(SMALL * 3 + large + SMALL, 10**9)
    answers = [part[:3] for part in wire.sent.split(b"HTTP/1.1 ")[1:]]
    assert (answers, wire.closed) == ([b"204", b"204", b"204", b"431"], True)
    assert 'blockskim_requests_total{route="other",status="431"} 1.0' in counted


@pytest.mark.parametrize("trailer", [b"X-Long: " + b"x" * 10 * LARGE, b"X-Short: x\r\n" * LARGE])
def test_headers_behind_a_body_are_bounded_as_well(trailer):
    wire, taken, _ = sent(CHUNKED + b"1\r\nx\r\n0\r\n" + trailer, hang=True)
    # It is being answered, so nothing may stand before that.
    assert (wire.closed, wire.sent) == (True, b"")
    assert taken <= LARGE + PIECE


@pytest.mark.parametrize("size", [100, PIECE])
def test_bodies_may_be_larger_and_requests_many(size):
    chunk = b"4000\r\n" + b"x" * 0x4000 + b"\r\n"
    large = CHUNKED + chunk * 10 + b"0\r\n\r\n"
    plain = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n" + b"x" * 200_000
    headers = b"GET / HTTP/1.1\r\n" + b"X-Long: " + b"x" * (MOST_HEAD - PIECE) + b"\r\n\r\n"
    for data, count in ((large, 1), (plain, 1), (headers, 1), (SMALL * 200, 200)):
        wire, taken, counted = sent(data, size)
        assert (wire.closed, taken) == (False, len(data))
        assert b"431" not in wire.sent and 'status="431"' not in counted
        assert wire.sent.count(b"HTTP/1.1 204") == count


@pytest.mark.parametrize("given", [b"my-id", b""])
def test_what_is_no_http_is_refused_in_json(caplog, given):
    caplog.set_level(logging.INFO)
    wire, _, counted = sent(b"GET / HTTP/1.1\r\nX-Request-Id: %b\r\nHost: x\r\nno header\r\n\r\n" % given)
    assert wire.closed and wire.sent.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    head, _, body = wire.sent.partition(b"\r\n\r\n")
    told = json.loads(body)
    assert f"X-Request-Id: {told['request_id']}".encode() in head and b"Content-Type: application/json" in head
    assert told["kind"] == "no_http"
    assert (told["request_id"] == "my-id") == bool(given)
    assert 'blockskim_requests_total{route="other",status="400"} 1.0' in counted
    (line,) = (json.loads(JsonLines().format(record)) for record in caplog.records)
    assert (line["id"], line["status"], line["problem"]) == (told["request_id"], 400, "no_http")


def test_what_is_no_http_waits_for_the_answers_before_it():
    wire, _, _ = sent(SMALL * 2 + b"nonsense\r\n\r\n", 10**9)
    assert re.findall(rb"HTTP/1\.1 (\d+)", wire.sent) == [b"204", b"204", b"400"]
    assert wire.closed


def test_a_body_that_is_none_is_refused():
    wire, _, _ = sent(CHUNKED + b"no size\r\n")
    assert wire.closed and wire.sent.startswith(b"HTTP/1.1 400 ")


UPGRADE = b"Connection: Upgrade, HTTP2-Settings\r\nupGrade: %b\r\nHTTP2-Settings: AAEA\r\n"


@pytest.mark.parametrize("size", [1, 7, PIECE])
@pytest.mark.parametrize("protocol", [b"h2c", b"websocket", b"h2c, TLS/1.0"])
def test_a_wish_for_another_protocol_is_passed_over(caplog, protocol, size):
    wish, inner, read = UPGRADE % protocol, b"GET /inner HTTP/1.1\r\nUpgrade: h2c\r\n\r\n", []
    post = b"POST /%b HTTP/1.1\r\nHost: x\r\n" + wish
    data = (
        post % b"1" + b"Content-Length: %d\r\n\r\n" % len(inner) + inner
        + b"GET /2 HTTP/1.1\r\n" + wish + b"\r\n"
        + post % b"3" + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(inner) + inner + b"\r\n0\r\n\r\n"
        + post % b"4" + b"Content-Length: 0\r\n\r\n"
    )  # fmt: skip
    wire, taken, _ = sent(data, size, read=read)
    assert (wire.closed, taken, wire.sent.count(b"HTTP/1.1 204")) == (False, len(data), 4)
    assert [(method, path, body) for method, path, _, body in read] == [
        ("POST", "/1", inner),
        ("GET", "/2", b""),
        ("POST", "/3", inner),
        ("POST", "/4", b""),
    ]
    assert (b"host", b"x") in read[0][2] and (b"content-length", b"%d" % len(inner)) in read[0][2]
    assert not any(name == b"upgrade" for _, _, headers, _ in read for name, _ in headers)
    assert not caplog.records


@pytest.mark.parametrize("size", [1, PIECE])
def test_who_wishes_for_another_protocol_may_hang_up_after_the_answer(size):
    read = []
    head = b"POST /a?b=c HTTP/1.0\r\nConnection: close, upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\n"
    wire, _, _ = sent(head + b"{}", size, read=read)
    assert [(method, path, body) for method, path, _, body in read] == [("POST", "/a", b"{}")]
    assert wire.closed


def test_a_tunnel_is_refused():
    for wish in (b"", UPGRADE % b"h2c"):
        wire, _, _ = sent(b"CONNECT x:80 HTTP/1.1\r\n" + wish + b"Content-Length: 38\r\n\r\n" + SMALL)
        assert wire.closed and wire.sent.startswith(b"HTTP/1.1 400 ")
        assert b"204" not in wire.sent


def test_headers_with_a_wish_for_another_protocol_are_bounded_as_well():
    wire, _, _ = sent(b"GET / HTTP/1.1\r\n" + UPGRADE % b"h2c" + b"X-Long: " + b"x" * 10 * LARGE)
    assert wire.closed and b" 431 " in wire.sent
