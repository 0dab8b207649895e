"""Keys, sizes, limits, time, clients that leave, and what is logged of all of it."""

import asyncio
import json
import logging
from unittest import mock

import pytest

from blockskim.errors import DataError
from blockskim.serving.http import guard
from blockskim.serving.logs import JsonLines
from blockskim.serving.refusals import Busy, Lost, Stopping
from blockskim.serving.scheduler import Capacity
from http_calls import until
from local_service import LocalService
from served import QUESTION, TEXT

ONE = {"inputs": {"question": QUESTION, "context": TEXT}}


def test_a_key_opens_what_it_should(make_site):
    site = make_site(api_key="kéy")
    for path in ("/health", "/ready", "/"):
        assert site("GET", path).status_code == 200
    right = {"authorization": "Bearer kéy".encode()}
    for method, path, given in (("POST", "/", {"json": ONE}), ("GET", "/info", {}), ("GET", "/metrics", {})):
        for wrong in ({}, {"authorization": b"Bearer key"}, {"authorization": "kéy".encode()}, {"authorization": b""}):
            refused = site(method, path, headers=wrong, **given)
            assert (refused.status_code, refused.json()["kind"]) == (401, "no_key")
            assert refused.headers["www-authenticate"] == "Bearer"
        assert site(method, path, headers=right, **given).status_code == 200


@pytest.mark.parametrize("given", ["bearer key", "BEARER key", "Bearer  key"])
def test_the_name_of_the_scheme_has_no_case(make_site, given):
    assert make_site(api_key="key")("GET", "/info", headers={"authorization": given}).status_code == 200


@pytest.mark.parametrize(
    ("given", "status"), [("Bearer two  words", 200), ("Bearer two words", 401), ("Bearer two", 401)]
)
def test_all_behind_the_scheme_is_the_key(make_site, given, status):
    assert make_site(api_key="two  words")("GET", "/info", headers={"authorization": given}).status_code == status


@pytest.mark.parametrize("given", ["Basic key", "Bearerkey", "key", "Bearer KEY", "Bearer key2"])
def test_what_is_no_key(make_site, given):
    assert make_site(api_key="key")("GET", "/info", headers={"authorization": given}).status_code == 401


def test_what_is_refused_early_counts_for_its_route(make_site):
    site = make_site(api_key="key", max_body=100)
    right = {"authorization": "Bearer key"}
    site.post("/search", {})
    site.post("/models/any/name", {})
    site.post("/nothing", {})
    site("DELETE", "/prune")
    site.post("/highlight", {"question": "x" * 100}, headers=right)
    site("GET", "/openapi.json", headers=right)
    text = site("GET", "/metrics", headers=right).text
    for route, status in (
        ("/search", 401),
        ("/models/{name:path}", 401),
        ("other", 401),
        ("/prune", 401),
        ("/highlight", 413),
        ("/openapi.json", 200),
    ):
        assert f'blockskim_requests_total{{route="{route}",status="{status}"}} 1.0' in text


def test_no_key_is_asked_for_where_there_is_none(site):
    assert site.post("/", ONE, headers={"authorization": "Bearer any"}).status_code == 200


def test_a_body_that_is_too_large(make_site):
    site = make_site(max_body=500)
    announced = site.post("/", {"inputs": {"question": QUESTION, "context": "x" * 500}})

    async def parts():
        for _ in range(100):
            yield b"x" * 100

    streamed = site("POST", "/", content=parts())
    for refused in (announced, streamed):
        assert (refused.status_code, refused.json()["kind"]) == (413, "too_large")
        assert "larger than 500 bytes" in refused.json()["error"]
    assert site.post("/", {"inputs": {"question": QUESTION, "context": "x" * 300}}).status_code == 200


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/", {"inputs": [ONE["inputs"]] * 4}),
        ("/search", {"question": QUESTION, "documents": [TEXT] * 4}),
        ("/highlight", {"question": QUESTION, "documents": [TEXT] * 4}),
        ("/prune", {"question": QUESTION, "documents": [TEXT] * 4}),
        ("/v1/rerank", {"query": QUESTION, "documents": [TEXT] * 4}),
    ],
)
def test_too_many_pairs(make_site, path, body):
    refused = make_site(max_pairs=3).post(path, body)
    assert (refused.status_code, refused.json()["kind"]) == (413, "too_many_pairs")
    assert "4 pairs" in refused.json()["error"] and "3 at most" in refused.json()["error"]


def test_too_many_requests_are_told_when_to_come_again(make_site):
    site = make_site(Capacity(waiting=2))
    site.answerer.model.gate.clear()

    async def run():
        import httpx

        transport = httpx.ASGITransport(site.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://site", timeout=30) as client:
            first = [asyncio.ensure_future(client.post("/", json=ONE)) for _ in range(2)]
            while len(site.engine.scheduler) < 2:
                await asyncio.sleep(0.005)
            refused = await client.post("/", json=ONE)
            site.answerer.model.gate.set()
            return refused, await asyncio.gather(*first)

    refused, answered = asyncio.run(run())
    assert (refused.status_code, refused.json()["kind"]) == (429, "busy")
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert [response.status_code for response in answered] == [200, 200]


def test_too_many_requests_are_refused_before_they_are_read(make_site, monkeypatch):
    monkeypatch.setattr(LocalService, "check_room", mock.Mock(side_effect=Busy(3, 7.0)))
    site = make_site()
    refused = site("POST", "/", content=b"{ no JSON")
    assert (refused.status_code, refused.json()["kind"], refused.headers["retry-after"]) == (429, "busy", "7")
    assert site("GET", "/health").status_code == site("GET", "/info").status_code == 200


def test_requests_that_are_here_have_so_many_bytes_together(make_site, monkeypatch):
    # Who is refused has nothing more to send, and is not waited for.
    monkeypatch.setattr(guard, "DRAIN_SECONDS", 300.0)
    site = make_site(max_held=3_000)
    site.answerer.model.gate.clear()
    large = {"inputs": {"question": QUESTION, "context": TEXT + " " * 2_000}}

    async def run():
        import httpx

        transport = httpx.ASGITransport(site.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://site", timeout=30) as client:
            first = asyncio.ensure_future(client.post("/", json=large))
            while not len(site.engine.scheduler):
                await asyncio.sleep(0.005)
            refused, small = await client.post("/", json=large), asyncio.ensure_future(client.post("/", json=ONE))
            site.answerer.model.gate.set()
            return refused, await first, await small, await client.post("/", json=large)

    refused, *answered = asyncio.run(run())
    assert (refused.status_code, refused.json()["kind"], refused.headers["retry-after"]) == (429, "busy", "1")
    assert [response.status_code for response in answered] == [200, 200, 200]


def test_a_request_that_takes_too_long(make_site):
    site = make_site(seconds=0.3)
    site.answerer.model.gate.clear()
    refused = site.post("/", {"inputs": [ONE["inputs"]] * 3})
    assert (refused.status_code, refused.json()["kind"]) == (504, "timeout")
    assert "within 0.3 s" in refused.json()["error"]
    assert len(site.engine.scheduler) == 0
    site.answerer.model.gate.set()
    assert site.post("/", ONE).status_code == 200


def test_web_pages_from_elsewhere_may_not_ask_unless_that_is_wanted(make_site):
    origin = {"origin": "https://example.org", "access-control-request-method": "POST"}
    closed, opened = make_site(), make_site(origins=("https://example.org",))
    assert "access-control-allow-origin" not in closed("OPTIONS", "/", headers=origin).headers
    assert "access-control-allow-origin" not in closed.post("/", ONE, headers=origin).headers
    assert opened("OPTIONS", "/", headers=origin).headers["access-control-allow-origin"] == "https://example.org"
    assert opened.post("/", ONE, headers=origin).headers["access-control-allow-origin"] == "https://example.org"
    other = opened.post("/", ONE, headers={"origin": "https://example.com"})
    assert "access-control-allow-origin" not in other.headers


def call(app, messages, send, **scope):
    """Call an application with messages of a client; the last one is repeated after a while."""
    waiting = list(messages)

    async def receive():
        if waiting:
            message = waiting.pop(0)
            if callable(message):
                return await message()
            return message
        await asyncio.sleep(60)

    base = {"type": "http", "method": "POST", "path": "/", "headers": [(b"content-type", b"application/json")]}
    base |= {"query_string": b"", "http_version": "1.1", "scheme": "http", "server": ("site", 80), "client": None}
    return asyncio.run(asyncio.wait_for(app({**base, **scope}, receive, send), 30))


async def ignored(message):
    raise AssertionError("nobody is there to be answered")


def test_a_client_that_leaves_takes_its_work_along(make_site):
    site = make_site()
    site.answerer.model.gate.clear()

    async def leave():
        while not len(site.engine.scheduler):
            await asyncio.sleep(0.005)
        return {"type": "http.disconnect"}

    body = {"type": "http.request", "body": json.dumps({"inputs": [ONE["inputs"]] * 9}).encode()}
    call(site.app, [body, leave], ignored)
    until(lambda: len(site.engine.scheduler) == 0)
    assert 'blockskim_errors_total{kind="client_left"} 1.0' in site("GET", "/metrics").text


def test_a_client_that_leaves_while_it_sends(make_site):
    site = make_site()
    call(site.app, [{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}], ignored)
    assert site.post("/", ONE).status_code == 200


def test_a_client_that_goes_on_sending_is_read_for_a_while_only(make_site, monkeypatch):
    monkeypatch.setattr("blockskim.serving.http.guard.DRAIN_SECONDS", 0.2)
    site, sent = make_site(max_body=10), []

    async def send(message):
        sent.append(message)

    call(site.app, [{"type": "http.request", "body": b"x" * 11, "more_body": True}] * 3, send)
    assert sent[0]["status"] == 413


def test_a_client_that_sends_too_slowly(make_site, monkeypatch):
    monkeypatch.setattr("blockskim.serving.http.guard.LINGER_SECONDS", 0.2)
    site, sent = make_site(seconds=0.2), []

    async def send(message):
        sent.append(message)

    call(site.app, [{"type": "http.request", "body": b"{", "more_body": True}], send)
    assert sent[0]["status"] == 408
    assert json.loads(sent[1]["body"])["kind"] == "slow_request"
    assert [message.get("more_body", False) for message in sent[1:]] == [True, False]


@pytest.mark.parametrize(("parts", "seconds"), [([900], 0.2), ([900, 900], 60.0)], ids=["too slow", "too large"])
def test_what_was_read_of_a_refused_request_is_in_nobodys_way(make_site, monkeypatch, parts, seconds):
    for name in ("DRAIN_SECONDS", "LINGER_SECONDS"):
        monkeypatch.setattr(guard, name, 300.0)
    site, waiting = make_site(seconds=seconds, max_body=1_000, max_held=1_000), [b" " * size for size in parts]
    scope = {"type": "http", "method": "POST", "path": "/", "headers": [], "query_string": b""}

    async def receive():
        if not waiting:
            await asyncio.sleep(300)
        return {"type": "http.request", "body": waiting.pop(), "more_body": True}

    async def send(message):
        pass

    async def run():
        import httpx

        first = asyncio.ensure_future(site.app(scope, receive, send))
        while waiting:
            await asyncio.sleep(0)
        transport = httpx.ASGITransport(site.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://site", timeout=30) as client:
            while (await client.post("/", json=ONE | {"options": " " * 500})).status_code == 429:
                await asyncio.sleep(0.01)
        assert not first.done()
        first.cancel()

    asyncio.run(asyncio.wait_for(run(), 60))


def test_a_slow_client_that_leaves_once_it_was_refused(make_site):
    site, sent = make_site(seconds=0.2), []

    async def send(message):
        sent.append(message)

    async def slow():
        await asyncio.sleep(60)

    async def leave():
        return {"type": "http.disconnect"}

    call(site.app, [{"type": "http.request", "body": b"{", "more_body": True}, slow, leave], send)
    assert sent[0]["status"] == 408
    assert 'blockskim_errors_total{kind="slow_request"} 1.0' in site("GET", "/metrics").text


def test_the_id_of_a_request(site):
    assert site("GET", "/info", headers={"x-request-id": "my-id.7"}).headers["x-request-id"] == "my-id.7"
    for wrong in ("", "a b", "x" * 65, "a\tb", '"'):
        found = site("GET", "/info", headers={"x-request-id": wrong}).headers["x-request-id"]
        assert found != wrong and len(found) == 32


@pytest.fixture
def lines(caplog):
    """What was logged, as lines of JSON."""
    caplog.set_level(logging.INFO, "blockskim.serving")
    return lambda: [json.loads(JsonLines().format(record)) for record in caplog.records]


def test_a_line_a_request_without_texts(make_site, lines):
    site = make_site()
    site.post("/", ONE, headers={"x-request-id": "first"})
    site.post("/search", {"question": QUESTION, "documents": {"secret": TEXT, "blank": ""}})
    site.post("/", {"inputs": {"question": 1, "context": TEXT}})
    site("GET", "/health")
    first, second, third = (line for line in lines() if line["event"] == "request")
    assert (first["id"], first["route"], first["status"], first["pairs"]) == ("first", "/", 200, 1)
    assert first["milliseconds"] > 0
    assert (second["route"], second["pairs"]) == ("/search", 2)
    assert (third["status"], third["problem"]) == (422, "invalid")
    assert not any("nest" in json.dumps(line) or "secret" in json.dumps(line) for line in (first, second, third))


STATUSES = [(200, "info"), (422, "info"), (429, "warning"), (502, "warning"), (503, "warning")]


@pytest.mark.parametrize(("status", "level"), STATUSES)
def test_what_the_service_could_not_answer_is_a_warning(make_site, lines, monkeypatch, status, level):
    errors = {422: DataError("no text"), 429: Busy(3, 1.0), 502: Lost(), 503: Stopping()}
    site = make_site()

    async def ask(service, asked, seconds, request_id=""):
        if status in errors:
            raise errors[status]
        return {"answers": [{}]}

    monkeypatch.setattr(LocalService, "ask", ask)
    assert site.post("/", ONE).status_code == status
    assert [(line["status"], line["level"]) for line in lines() if line["event"] == "request"] == [(status, level)]


def test_questions_are_logged_if_that_is_asked_for(make_site, lines):
    make_site(log_texts=True).post("/", ONE)
    assert [line["question"] for line in lines() if line["event"] == "request"] == [QUESTION]


@pytest.mark.parametrize("log_texts", [False, True])
def test_what_is_wrong_with_a_request_is_logged_if_that_is_asked_for(make_site, lines, log_texts):
    site = make_site(log_texts=log_texts, max_body=1_000)
    refused = site.post("/", ONE | {"parameters": {"point": "the kite"}})
    large = site.post("/", {"inputs": "x" * 1_000})
    told = [response.json()["error"] for response in (refused, large)]
    assert "the kite" in told[0]
    assert [line.get("sentence") for line in lines() if line["event"] == "request"] == (
        told if log_texts else [None, None]
    )


def test_a_fault_of_ours_is_logged_under_its_id_and_without_its_message(make_site, lines):
    site = make_site()

    def broken(inputs, thresholds=None, asking=None):
        raise RuntimeError(f"failed on {TEXT}")

    site.answerer.model.score_windows = broken
    site.post("/", ONE, headers={"x-request-id": "bad"})
    (line,) = (line for line in lines() if line["event"] == "a request failed")
    assert (line["id"], line["error"], line["level"]) == ("bad", "RuntimeError", "error")
    assert any("broken" in place for place in line["traceback"])
    assert "kite" not in json.dumps(line)
