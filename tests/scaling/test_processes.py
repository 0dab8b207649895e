"""Several processes, and the death of some: what they write is what one process writes.

Processes are real and load the model that comes along, without PyTorch, so there are few of them here.
"""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from blockskim.answering.model_choice import ModelChoice
from blockskim.errors import BlockSkimError, ConfigError, DataError, ModelError
from blockskim.scaling import processes
from blockskim.scaling.bulk import run_bulk
from blockskim.scaling.processes import threads_of_each
from bulk_runs import json_lines, plan_for, rows_of, shards_of, written


@pytest.fixture
def plan(tmp_path):
    def make(rows, **settings):
        path = json_lines(tmp_path / "rows.jsonl", rows)
        choice = ModelChoice(backend="onnx")
        return plan_for(tmp_path, path, **{"model": choice, "options": {}, "keep": ("id",), **settings})

    return make


def test_threads_are_shared_out():
    assert threads_of_each(None, 1, 8) is None
    assert threads_of_each(3, 1, 8) == 3
    assert threads_of_each(None, 2, 8) == 4
    assert threads_of_each(6, 4, 8) == 1
    assert threads_of_each(None, 4, 2) == 1
    with pytest.raises(ConfigError, match="2 workers need a thread each, and threads is 1"):
        threads_of_each(1, 2, 8)


@pytest.mark.parametrize(
    "job", ["answer", *(pytest.param(job, marks=pytest.mark.slow) for job in ("highlight", "prune"))]
)
def test_two_processes_write_what_one_writes(plan, tmp_path, job):
    rows = rows_of(20)
    del rows[7]["context"]
    alone = run_bulk(plan(rows, job=job, output=tmp_path / "alone"))
    seen = []
    found = run_bulk(plan(rows, job=job), workers=2, progress=lambda state: seen.append(state.rows))
    assert shards_of(tmp_path / "out") == shards_of(tmp_path / "alone")
    for name in ("rows", "errors", "tokens", "tokens_kept", "shards", "flops", "first_error"):
        assert getattr(found, name) == getattr(alone, name)
    assert len(seen) == 7
    assert seen[-1] == 20


@pytest.mark.slow
def test_what_a_process_raises_is_raised_here(plan, tmp_path):
    rows = rows_of(4)
    del rows[3]["context"]
    with pytest.raises(BlockSkimError, match="line 4: there is no 'context'"):
        run_bulk(plan(rows, on_error="stop"), workers=2)
    with pytest.raises(ConfigError, match="none"):
        run_bulk(plan(rows, output=tmp_path / "point", options={"point": "none"}), workers=2)
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "config.json").write_text("{}")
    with pytest.raises((BlockSkimError, ModelError, DataError)):
        run_bulk(plan(rows, output=tmp_path / "model-out", model=ModelChoice(name=str(tmp_path / "bad"))), workers=2)


@pytest.mark.slow
def test_a_process_that_is_killed_ends_the_run_on_a_line_and_what_is_done_stays(plan, tmp_path):
    hands = []
    make = processes._Hand.__init__

    def noted(self, *arguments):
        make(self, *arguments)
        hands.append(self)

    def kill(state):
        if not killed:
            killed.append(state.rows)
            hands[-1].process.kill()

    killed = []
    work = plan(rows_of(60), shard_rows=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(processes._Hand, "__init__", noted)
        with pytest.raises(BlockSkimError, match=r"a worker process was ended by SIGKILL, .*what is done stays"):
            run_bulk(work, workers=2, progress=kill)
    assert 0 < len(shards_of(tmp_path / "out")) < 60
    assert not any(hand.process.is_alive() for hand in hands)
    assert list((tmp_path / "out").rglob("*.tmp")) == []
    assert run_bulk(work).rows_before > 0
    assert [row["id"] for row in written(tmp_path / "out")] == list(range(60))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux tells there what is blocked")
def test_an_interrupt_stays_off_processes_from_their_beginning(tmp_path, plan):
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    with processes.interrupts_kept_off():
        hand = processes._Hand(plan(rows_of(1)), None, tmp_path, 1)
        status = Path(f"/proc/{hand.process.pid}/status").read_text()
    hand.stop()
    hand.wait_for_end()
    (blocked,) = (line.split()[1] for line in status.split("\n") if line.startswith("SigBlk:"))
    assert int(blocked, 16) & 1 << signal.SIGINT - 1
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="there are no masks of signals")
def test_an_interrupt_that_comes_meanwhile_is_not_lost():
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    done = []
    try:
        with pytest.raises(KeyboardInterrupt), processes.interrupts_kept_off():
            signal.pthread_kill(threading.get_ident(), signal.SIGINT)
            done.append(True)
    finally:
        signal.signal(signal.SIGINT, handler)
    assert done


def command(*arguments):
    return [sys.executable, "-m", "blockskim", "bulk", *map(str, arguments)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("job", "workers", "sent"),
    [
        *(("answer", workers, sent) for workers in (1, 2) for sent in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)),
        ("highlight", 1, signal.SIGKILL),
        ("prune", 2, signal.SIGKILL),
    ],
)
def test_a_run_that_is_killed_at_any_moment_goes_on_to_the_same_output(tmp_path, job, workers, sent):
    data = json_lines(tmp_path / "rows.jsonl", rows_of(200))
    arguments = [job, data, "--backend", "onnx", "--keep", "id", "--shard-rows", 5, "--quiet", "--workers", workers]
    subprocess.run(command(*arguments, "--output", tmp_path / "whole"), check=True, timeout=300)
    out = tmp_path / "out"
    rng = random.Random(workers)
    kills = 0
    for _ in range(3):
        before = len(shards_of(out))
        running = subprocess.Popen(
            command(*arguments, "--output", out),
            stderr=subprocess.PIPE,
            # Whoever runs the tests in the background may have interrupts ignored.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        until = time.monotonic() + 120
        while running.poll() is None and len(shards_of(out)) <= before and time.monotonic() < until:
            time.sleep(0.01)
        time.sleep(rng.random() / 5)
        if running.poll() is None:
            os.kill(running.pid, sent)
            kills += 1
        err = running.communicate(timeout=60)[1].decode()
        assert "Traceback" not in err
        if sent != signal.SIGKILL and running.returncode:
            assert (running.returncode, err) == (130, "error: interrupted\n")
            assert list(out.rglob("*.tmp")) == []
        whole = shards_of(tmp_path / "whole")
        assert all(whole[name] == content for name, content in shards_of(out).items())
    assert kills
    subprocess.run(command(*arguments, "--output", out), check=True, timeout=300)
    assert shards_of(out) == shards_of(tmp_path / "whole")
    assert [row["id"] for row in written(out)] == list(range(200))
