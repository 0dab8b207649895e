"""Answers of the scheduler are the library's, whoever else asks; what is late, too much or wrong ends as it should."""

import threading
import time
from concurrent.futures import CancelledError, wait

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blockskim.answering.request import AnswerOptions, TextPair
from blockskim.errors import DataError, ModelError
from blockskim.serving.engine import Engine
from blockskim.serving.refusals import Busy, Stopping, TimedOut
from blockskim.serving.scheduler import CROWD, Capacity, JobReport
from served import QUESTION, TEXT, plain_answerer

SECONDS = 60
PLAIN = {"kind": "answer", "pairs": [[QUESTION, TEXT]], "options": {}}


def asked(text=TEXT, question=QUESTION, **options):
    return {"kind": "answer", "pairs": [[question, text]], "options": options}


@pytest.fixture
def engine():
    made = []

    def make(capacity=None, answerer=None, **told):
        made.append(Engine(answerer or plain_answerer(), capacity, **told))
        return made[-1]

    yield make
    for each in made:
        each.answerer.model.gate.set()
        each.close(1.0)


@st.composite
def requests(draw):
    """A request as a task, and what the library is called with for the same."""
    texts = [TEXT[draw(st.integers(0, 60)) :] * draw(st.integers(1, 9)) for _ in range(draw(st.integers(1, 3)))]
    options = {
        "top_k": draw(st.integers(1, 3)),
        "handle_impossible_answer": draw(st.booleans()),
        **draw(st.sampled_from([{}, {"dense": True}, {"threshold": 0.7}, {"max_cost": 0.3}, {"doc_stride": 0}])),
    }
    return texts, options, draw(st.booleans())


@settings(max_examples=15)
@given(st.lists(requests(), min_size=1, max_size=8), st.integers(60, 500), st.integers(60, 500), st.integers(1, 3))
def test_every_answer_is_that_of_the_library(made, batch, turn, runners):
    answerer = plain_answerer()
    engine = Engine(answerer, Capacity(batch, turn, runners=runners, long_text=1_000))
    try:
        answerer.model.gate.clear()
        futures = []
        for texts, options, search in made:
            if search:
                documents = [[str(number), text] for number, text in enumerate(texts)]
                task = {"kind": "search", "question": QUESTION, "documents": documents, "explain": True}
            else:
                task = {"kind": "answer", "pairs": [[QUESTION, text] for text in texts]}
            futures.append(engine.ask({**task, "options": options}, SECONDS))
        answerer.model.gate.set()
        for (texts, options, search), future in zip(made, futures, strict=True):
            found = future.result(SECONDS)
            if search:
                expected = answerer.search(QUESTION, texts, **options)
                assert found["answers"] == expected.answers
                blocks = [sum(block.dropped_in == 0 for block in trace.text_blocks) > 0 for trace in expected.traces]
                unread = [any(run[2] == 0 for run in document["runs"]) for document in found["documents"]]
                assert unread == blocks
            else:
                assert found["answers"] == answerer([QUESTION] * len(texts), texts, **options)
    finally:
        engine.close(5.0)


def test_what_it_cost_does_not_depend_on_others(engine):
    task = {
        "kind": "search",
        "question": QUESTION,
        "documents": [["a", TEXT * 30]],
        "options": {},
        "explain": True,
    }
    alone, crowded = engine(Capacity(500, 200)), engine(Capacity(500, 200))
    crowded.answerer.model.gate.clear()
    others = [crowded.ask(asked(TEXT[number:] * 5), SECONDS) for number in range(10)]
    future = crowded.ask(task, SECONDS)
    crowded.answerer.model.gate.set()
    left, right = alone.ask(task, SECONDS).result(SECONDS), future.result(SECONDS)
    wait(others)
    for result in (left, right):
        assert result["skim"].pop("seconds") > 0
    assert left == right


def test_requests_share_batches(engine):
    busy = engine()
    backend = busy.answerer.model
    first = hold(busy)
    rest = [busy.ask(asked(TEXT[number:]), SECONDS) for number in range(6)]
    until(lambda: len(busy.scheduler._queue) == 6)
    backend.gate.set()
    wait([first, *rest], SECONDS)
    assert len(backend.batches) == 2


def test_what_waits_is_shared_out_among_runners(engine):
    busy = engine(Capacity(runners=2))
    backend = busy.answerer.model
    backend.gate.clear()
    held = []
    for number in (1, 2):
        held.append(busy.ask(asked("Wales."), SECONDS))
        until(lambda number=number: backend.entered == number)
    rest = [busy.ask(asked("The nest."), SECONDS) for _ in range(4)]
    until(lambda: len(busy.scheduler._queue) == 4)
    backend.gate.set()
    wait([*held, *rest], SECONDS)
    assert max(map(len, backend.batches)) == 2


@pytest.mark.parametrize(("count", "most"), [(CROWD - 1, 1), (4 * CROWD, 4)])
def test_a_runner_takes_several_windows_at_once_only_while_many_requests_wait(engine, count, most):
    busy = engine(Capacity(batch_tokens=1, turn_tokens=500, crowd_tokens=500))
    backend = busy.answerer.model
    held = hold(busy)
    rest = [busy.ask(asked("The nest."), SECONDS) for _ in range(count)]
    until(lambda: len(busy.scheduler._queue) == count)
    backend.gate.set()
    wait([held, *rest], SECONDS)
    assert len(backend.batches[1]) == most == max(map(len, backend.batches))
    assert len(backend.batches[-1]) == 1
    expected = busy.answerer(QUESTION, "The nest.")
    assert all(future.result()["answers"] == [expected] for future in rest)


def test_a_short_question_passes_a_long_text(engine):
    busy = engine(Capacity(batch_tokens=120, turn_tokens=60))
    backend = busy.answerer.model
    held = hold(busy)
    long = busy.ask(asked(TEXT * 60), SECONDS)
    until(lambda: len(busy.scheduler._queue) == 1)
    short = busy.ask(asked("The nest is in Wales."), SECONDS)
    until(lambda: len(busy.scheduler._queue) == 2)
    backend.gate.set()
    wait([held, long, short], SECONDS)
    place = next(place for place, batch in enumerate(backend.batches) if length("The nest is in Wales.") in batch)
    assert place < 4 < len(backend.batches) / 2


def test_a_wrong_request_fails_by_itself(engine):
    busy = engine()
    with pytest.raises(DataError, match="the question is empty"):
        busy.ask(asked(question=" "), SECONDS).result(SECONDS)
    assert busy.ask(PLAIN, SECONDS).result(SECONDS)["answers"]


def test_what_breaks_a_batch_breaks_no_other_request(engine):
    busy = engine()
    backend = busy.answerer.model
    held = hold(busy)
    bad = busy.ask(asked("The nest."), SECONDS)
    good = [busy.ask(asked(TEXT[: 20 + number]), SECONDS) for number in range(3)]
    until(lambda: len(busy.scheduler._queue) == 4)
    backend.broken_length = length("The nest.")
    backend.gate.set()
    with pytest.raises(RuntimeError, match="broken"):
        bad.result(SECONDS)
    wait([held, *good], SECONDS)
    for number, future in enumerate(good):
        assert future.result()["answers"] == [busy.answerer(QUESTION, TEXT[: 20 + number])]


def test_a_model_without_numbers_is_told_of(engine):
    busy = engine()
    original = busy.answerer.model.score_windows

    def broken(inputs, thresholds=None, asking=None):
        scores = original(inputs, thresholds)
        scores.start_logits[:] = float("nan")
        return scores

    busy.answerer.model.score_windows = broken
    with pytest.raises(ModelError, match="no numbers"):
        busy.ask(PLAIN, SECONDS).result(SECONDS)


def test_more_than_may_wait_is_refused(engine):
    busy = engine(Capacity(waiting=2))
    busy.answerer.model.gate.clear()
    futures = [busy.ask(PLAIN, SECONDS) for _ in range(2)]
    with pytest.raises(Busy, match="2 requests wait already") as refused:
        busy.ask(PLAIN, SECONDS)
    assert 1 <= refused.value.retry_after <= 60
    busy.answerer.model.gate.set()
    wait(futures, SECONDS)
    until(lambda: len(busy.scheduler) == 0)
    assert busy.ask(PLAIN, SECONDS).result(SECONDS)


def test_what_is_late_is_dropped(engine):
    busy = engine()
    backend = busy.answerer.model
    held = hold(busy)
    late = busy.ask(asked(TEXT * 3), 0.05)
    until(lambda: busy.scheduler.waiting_tokens > 0 or late.done())
    time.sleep(0.06)
    backend.gate.set()
    with pytest.raises(TimedOut, match=r"within 0\.05 s"):
        late.result(SECONDS)
    held.result(SECONDS)
    assert len(backend.batches) == 1


def test_a_cancelled_request_leaves_the_queue(engine):
    busy = engine()
    backend = busy.answerer.model
    held = hold(busy)
    left = busy.ask(asked(TEXT * 3), SECONDS)
    until(lambda: busy.scheduler.waiting_tokens > 0)
    assert left.cancel()
    assert (busy.scheduler.waiting_tokens, len(busy.scheduler)) == (0, 1)
    backend.gate.set()
    held.result(SECONDS)
    assert len(backend.batches) == 1
    with pytest.raises(CancelledError):
        left.result(SECONDS)


def test_closing_finishes_what_is_there(engine):
    busy = engine()
    futures = [busy.ask(asked(TEXT * 9), SECONDS) for _ in range(4)]
    assert busy.close(SECONDS)
    assert all(future.result(0)["answers"] for future in futures)
    with pytest.raises(Stopping):
        busy.ask(PLAIN, SECONDS)


def test_closing_gives_up_what_takes_longer_than_the_grace(engine):
    busy = engine()
    busy.answerer.model.gate.clear()
    futures = [busy.ask(PLAIN, SECONDS) for _ in range(3)]
    threading.Timer(0.5, busy.answerer.model.gate.set).start()
    assert not busy.close(0.05)
    for future in futures:
        with pytest.raises(Stopping):
            future.result(SECONDS)


def test_no_thread_is_left_behind(engine):
    before = threading.active_count()
    busy = engine(Capacity(runners=3))
    wait([busy.ask(asked(TEXT * 9), SECONDS) for _ in range(9)], SECONDS)
    busy.close(SECONDS)
    until(lambda: threading.active_count() <= before)


def test_it_tells_of_batches_and_of_time(engine):
    batches, jobs = [], []
    busy = engine(on_batch=batches.append, on_done=jobs.append)
    result = busy.ask(
        {"kind": "search", "question": QUESTION, "documents": [["a", TEXT]], "options": {}, "explain": False}, SECONDS
    ).result(SECONDS)
    until(lambda: batches and jobs)
    (batch,), (job,) = batches, jobs
    lengths = busy.answerer.model.batches[0]
    assert (batch.windows, batch.tokens, batch.jobs) == (len(lengths), sum(lengths), 1)
    assert batch.kept > 0 and set(batch.dropped) <= {1, 2} and sum(batch.dropped.values()) > 0
    assert isinstance(job, JobReport) and min(job.plan, job.wait, job.model, job.finish) >= 0
    assert result["skim"]["seconds"] > 0


def test_a_thread_that_fails_beside_the_model_fails_its_batch_alone(engine):
    faults, reports = [], []

    def on_batch(report):
        reports.append(report)
        if len(reports) == 1:
            raise MemoryError

    busy = engine(on_batch=on_batch, on_fault=faults.append)
    with pytest.raises(MemoryError):
        busy.ask(PLAIN, SECONDS).result(SECONDS)
    until(lambda: faults)
    assert [type(fault) for fault in faults] == [MemoryError]
    assert busy.ask(PLAIN, SECONDS).result(SECONDS)["answers"] == [busy.answerer(QUESTION, TEXT)]


def test_a_thread_that_can_not_take_a_batch_fails_all_that_waits(engine):
    faults = []
    busy = engine(on_fault=faults.append)
    taking = busy.scheduler._queue.take

    def take(*given):
        busy.scheduler._queue.take = taking
        raise MemoryError

    busy.scheduler._queue.take = take
    with pytest.raises(MemoryError):
        busy.ask(PLAIN, SECONDS).result(SECONDS)
    until(lambda: faults)
    assert busy.ask(PLAIN, SECONDS).result(SECONDS)


def test_what_is_given_up_waited_too(engine):
    jobs = []
    busy = engine(on_done=jobs.append)
    backend = busy.answerer.model
    held = hold(busy)
    late, left = busy.ask(asked(TEXT * 3), 0.05), busy.ask(asked(TEXT * 3), SECONDS)
    until(lambda: len(busy.scheduler._queue) == 2)
    time.sleep(0.06)
    assert left.cancel()
    (job,) = jobs
    assert (job.wait > 0.05, job.plan > 0, job.model, job.finish) == (True, True, None, None)
    backend.gate.set()
    with pytest.raises(TimedOut):
        late.result(SECONDS)
    held.result(SECONDS)
    until(lambda: len(jobs) == 3)
    assert sorted(job.finish is None for job in jobs) == [False, True, True]


def test_the_time_of_a_batch_is_no_wait_of_a_request_that_is_given_up_in_it(engine):
    jobs = []
    busy = engine(on_done=jobs.append)
    held = hold(busy)
    (batched,) = busy.scheduler._jobs
    time.sleep(0.05)
    assert held.cancel()
    (job,) = jobs
    assert job.wait == max(0.0, batched.taken_up - batched.began - batched.plan_seconds)
    busy.answerer.model.gate.set()


@pytest.mark.parametrize("question", [" ", QUESTION])
def test_a_request_that_fails_did_not_wait_for_us(engine, question):
    jobs = []
    busy = engine(on_done=jobs.append)
    busy.answerer.model.broken_length = length(TEXT)
    with pytest.raises((DataError, RuntimeError)):
        busy.ask(asked(question=question), SECONDS).result(SECONDS)
    assert jobs == []


def test_nothing_is_told_of_the_warm_up(engine):
    batches, jobs = [], []
    busy = engine(on_batch=batches.append, on_done=jobs.append)
    busy.warm_up()
    assert busy.answerer.model.batches
    busy.ask(PLAIN, SECONDS).result(SECONDS)
    assert (len(batches), len(jobs)) == (1, 1)


def test_the_oldest_batch_stays_until_it_is_done(engine):
    busy = engine(Capacity(runners=2))
    assert busy.scheduler.oldest_batch is None
    busy.ask(PLAIN, SECONDS).result(SECONDS)
    until(lambda: busy.scheduler.oldest_batch is None)
    held = hold(busy)
    until(lambda: len(busy.scheduler._batches) == 1)
    batch = busy.scheduler.oldest_batch
    other = busy.ask(asked("Wales."), SECONDS)
    until(lambda: len(busy.scheduler._batches) == 2)
    assert busy.scheduler.oldest_batch == batch
    busy.answerer.model.gate.set()
    wait([held, other], SECONDS)
    until(lambda: busy.scheduler.oldest_batch is None)


def test_a_text_that_is_tokenised_for_long_is_no_sign_that_the_model_hangs(engine):
    busy, begun, go_on = engine(), threading.Event(), threading.Event()

    def start():
        begun.set()
        assert go_on.wait(SECONDS)
        return busy.answerer.start([TextPair(QUESTION, TEXT)], AnswerOptions())

    future = busy.scheduler.submit(start, lambda reading, seconds: reading.results())
    assert begun.wait(SECONDS)
    assert busy.scheduler.oldest_batch is None
    go_on.set()
    assert future.result(SECONDS)


def hold(engine):
    """Let the model begin with a request and wait in it; what comes later stays in the queue until the gate is open.

    It has one window, so that nothing of it waits in the queue itself.
    """
    model = engine.answerer.model
    model.gate.clear()
    before = model.entered
    future = engine.ask(asked("Wales."), SECONDS)
    until(lambda: model.entered == before + 1)
    return future


def until(condition):
    """Wait for something that other threads bring about."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def length(text):
    """Tokens of the window of a short text."""
    (phase,) = plain_answerer().start([TextPair(QUESTION, text)], AnswerOptions()).phases()
    return int(phase.windows.lengths[0])
