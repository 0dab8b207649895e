"""A worker, on a thread of this process: what it tells of failures, and when it ends by itself."""

import json
import logging
import threading
import time
from multiprocessing import Pipe
from unittest import mock

import pytest

from blockskim.serving import worker as worker_module
from blockskim.serving.logs import JsonLines
from blockskim.serving.messages import from_bytes, to_bytes
from blockskim.serving.scheduler import Capacity
from blockskim.serving.worker import serve_answerer
from served import QUESTION, TEXT, plain_answerer

SECONDS = 60
BROKEN = RuntimeError(f"CUDA error on {TEXT}")


class Served:
    """A worker that is ready, with this end of its pipe."""

    def __init__(self):
        self.answerer = plain_answerer()
        self.pipe, theirs = Pipe()
        self.thread = threading.Thread(target=serve_answerer, args=(theirs, self.answerer, Capacity()), daemon=True)
        self.thread.start()
        assert "ready" in self.told()

    def told(self):
        """The next message that is more than reports."""
        while self.pipe.poll(SECONDS):
            message = from_bytes(self.pipe.recv_bytes())
            if message.keys() - {"reports"}:
                return message
        raise AssertionError("nothing was told")

    def ends(self):
        """Wait until it has ended, telling nothing more."""
        with pytest.raises(EOFError):
            self.told()
        self.thread.join(SECONDS)
        assert not self.thread.is_alive()

    def ask(self, number=1, question=QUESTION):
        asked = {"kind": "answer", "pairs": [[question, TEXT]], "options": {}}
        message = {"id": number, "asked": asked, "seconds": SECONDS, "request": f"id-{number}"}
        self.pipe.send_bytes(to_bytes(message))

    def fail(self, count=None):
        """Let the model fail, always or so many times."""
        working, failures = self.answerer.model.score_windows, []

        def score_windows(*arguments):
            if count is not None and len(failures) >= count:
                return working(*arguments)
            failures.append(1)
            raise BROKEN

        self.answerer.model.score_windows = score_windows


@pytest.fixture
def worker():
    served = Served()
    yield served
    served.pipe.close()
    served.thread.join(SECONDS)
    assert not served.thread.is_alive()


@pytest.fixture
def lines(caplog):
    """What was logged, as lines of JSON."""
    caplog.set_level(logging.ERROR, "blockskim.serving.worker")
    return lambda: [json.loads(JsonLines().format(record)) for record in caplog.records]


def test_a_failure_is_logged_under_the_id_of_its_request(worker, lines):
    worker.fail(1)
    worker.ask(7)
    told = worker.told()
    assert (told["id"], told["error"]["kind"]) == (7, "failed")
    (line,) = lines()
    assert (line["event"], line["id"], line["error"]) == ("a request failed", "id-7", "RuntimeError")
    assert any("score_windows" in place for place in line["traceback"])
    assert "kite" not in json.dumps(line)


def test_a_worker_whose_model_fails_on_everything_ends(worker, lines):
    worker.fail()
    worker.ask()
    assert worker.told()["error"]["kind"] == "failed"
    worker.ends()
    assert [line["event"] for line in lines()] == [
        "a request failed",
        "the model fails on the warm-up texts as well, so this worker ends",
    ]


def test_a_worker_whose_threads_fail_beside_the_model_ends(worker, lines, monkeypatch):
    monkeypatch.setattr(worker_module, "batch_message", mock.Mock(side_effect=MemoryError))
    worker.ask()
    assert worker.told()["error"]["kind"] == "memory"
    worker.ends()
    assert "a thread that runs the model failed, so this worker ends" in [line["event"] for line in lines()]


def test_an_answer_that_can_not_be_sent_is_an_error(worker, lines, monkeypatch):
    def memory_for_small_messages(message):
        if "result" in message:
            raise MemoryError
        return to_bytes(message)

    monkeypatch.setattr(worker_module, "to_bytes", memory_for_small_messages)
    worker.ask(7)
    told = worker.told()
    assert (told["id"], told["error"]["kind"]) == (7, "memory")
    (line,) = lines()
    assert (line["event"], line["id"], line["error"]) == ("a request failed", "id-7", "MemoryError")


@pytest.mark.parametrize(("failures", "question", "kind"), [(1, QUESTION, "failed"), (0, " ", "data")])
def test_a_worker_that_answers_others_goes_on(worker, failures, question, kind):
    worker.fail(failures)
    worker.ask(1, question)
    assert worker.told()["error"]["kind"] == kind
    worker.ask(2)
    assert worker.told()["result"]["answers"] == [worker.answerer(QUESTION, TEXT)]
    worker.pipe.send_bytes(to_bytes({"stop": float(SECONDS)}))
    assert worker.told()["stopped"]


def test_a_fault_of_a_request_is_no_reason_to_try_the_model(worker, lines):
    worker.fail()
    worker.ask(1, " ")
    assert worker.told()["error"]["kind"] == "data"
    worker.pipe.send_bytes(to_bytes({"stop": float(SECONDS)}))
    assert worker.told()["stopped"]
    assert lines() == []


def test_a_worker_that_is_asked_tells_the_batch_that_it_works_on(worker):
    ping = to_bytes({"ping": True})
    worker.pipe.send_bytes(ping)
    assert worker.told()["running"] is None
    model = worker.answerer.model
    model.gate.clear()
    entered = model.entered
    worker.ask()
    while model.entered == entered:
        time.sleep(0.002)
    batches = []
    for _ in range(2):
        worker.pipe.send_bytes(ping)
        batches.append(worker.told()["running"])
    model.gate.set()
    assert batches[0] is not None and batches[0] == batches[1]
    assert worker.told()["result"]
