"""Over loopback: a client of another library, and what only a real connection does."""

import http.client
import json
import socket
import time

import pytest

from http_calls import Site, listening, until
from served import QUESTION, TEXT


@pytest.fixture(autouse=True)
def loopback_is_no_hub(monkeypatch):
    """Tests are offline, which the hub's client takes for its reason not to ask anybody."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)


@pytest.fixture(scope="module")
def served():
    site = Site(served_name="kite", max_body=100_000, seconds=20.0, api_key="secret")
    with listening(site.app) as url:
        yield site, url
    site.close()


def raw(url, data, close=False):
    """What a server answers to bytes."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), 20) as connection:
        connection.sendall(data)
        if close:
            connection.shutdown(socket.SHUT_WR)
        connection.settimeout(20)
        found = b""
        while part := connection.recv(65_536):
            found += part
        return found


@pytest.mark.parametrize("route", ["", "/models/kite"])
def test_the_client_of_the_hugging_face_hub(served, route):
    from huggingface_hub import InferenceClient

    site, url = served
    client = InferenceClient(model=url + route, token="secret", timeout=20)
    one = client.question_answering(question=QUESTION, context=TEXT)
    expected = site.answerer(QUESTION, TEXT)
    assert (one.answer, one.start, one.end, one.score) == tuple(
        expected[name] for name in ("answer", "start", "end", "score")
    )
    several = client.question_answering(question=QUESTION, context=TEXT, top_k=3, handle_impossible_answer=True)
    assert [found.answer for found in several] == [
        found["answer"] for found in site.answerer(QUESTION, TEXT, top_k=3, handle_impossible_answer=True)
    ]


def test_its_errors_hold_our_sentence(served):
    from huggingface_hub import InferenceClient
    from huggingface_hub.errors import HfHubHTTPError

    client = InferenceClient(model=served[1], token="secret", timeout=20)
    with pytest.raises(HfHubHTTPError, match="422"):
        client.question_answering(question=" ", context=TEXT)


def test_a_truncated_body_is_no_answer_and_no_harm(served):
    site, url = served
    head = b"POST / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer secret\r\nContent-Length: 1000\r\n\r\n"
    assert b"HTTP/1.1 200" not in raw(url, head + b'{"inputs"', close=True)
    until(lambda: len(site.engine.scheduler) == 0)


def test_a_body_without_an_end_is_cut_off(served):
    head = b"POST / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer secret\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"4000\r\n" + b"x" * 0x4000 + b"\r\n"
    answer = raw(served[1], head + chunk * 12 + b"0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413")
    assert json.loads(answer.split(b"\r\n\r\n", 1)[1])["kind"] == "too_large"


def test_who_announces_too_much_is_told_so_while_sending(served):
    head = b"POST / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer secret\r\nContent-Length: 1000000\r\n\r\n"
    assert raw(served[1], head + b"x" * 1_000_000).startswith(b"HTTP/1.1 413")


def test_who_asks_before_it_sends_too_much_need_not_send(served):
    head = b"POST / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer secret\r\nContent-Length: 1000000\r\n"
    assert raw(served[1], head + b"Expect: 100-continue\r\n\r\n").startswith(b"HTTP/1.1 413")


def test_what_is_no_http_is_refused(served):
    answer = raw(served[1], b"\x16\x03\x01 nonsense\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400")
    assert json.loads(answer.split(b"\r\n\r\n", 1)[1])["kind"] == "no_http"


@pytest.mark.parametrize("pause", [0.0, 0.2])
def test_who_wishes_for_http_2_is_answered_in_http_1(served, caplog, pause):
    site, url = served
    host, port = url.removeprefix("http://").split(":")
    body = json.dumps({"inputs": {"question": QUESTION, "context": TEXT}}).encode()
    head = (
        "POST / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer secret\r\nContent-Type: application/json\r\n"
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEA\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode()
    with socket.create_connection((host, int(port)), 20) as connection:
        for _ in range(2):
            connection.sendall(head)
            time.sleep(pause)
            connection.sendall(body)
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            assert (answer.status, json.loads(answer.read())) == (200, site.answerer(QUESTION, TEXT))
    assert not [record for record in caplog.records if record.name.startswith("uvicorn")]


def test_a_client_that_sends_slowly_finds_the_refusal_once_it_reads():
    site = Site(max_body=100_000, seconds=0.5)
    with listening(site.app) as url:
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), 20) as connection:
            head = "POST / HTTP/1.1\r\nHost: site\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
            connection.sendall(head.encode())
            for _ in range(12):
                time.sleep(0.1)
                connection.sendall(b"x")
            found = connection.recv(65_536)
    site.close()
    assert found.startswith(b"HTTP/1.1 408 ")
    assert b"did not arrive within 0.5 s" in found
