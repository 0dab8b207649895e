"""``benchmarks/process_memory.py``: what a process started counts, whichever thread started it."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux")

CHILD = "held = b'x' * 150_000_000; print('ready', flush=True); input()"
SURELY = 80e6
"""Bytes that the child is seen to hold at least: Linux counts a process's pages a CPU, and adds them up late."""


def test_a_child_of_another_thread_counts_and_one_that_is_gone_does_not(script):
    tree_memory = script("process_memory").tree_memory
    started = []

    def start():
        arguments = [sys.executable, "-c", CHILD]
        started.append(subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        started[0].stdout.readline()
        holding.set()
        done.wait()

    holding, done = threading.Event(), threading.Event()
    thread = threading.Thread(target=start)
    before = tree_memory(os.getpid())
    thread.start()
    try:
        # Until it is a program of its own, the child seems to hold all that its parent holds.
        assert holding.wait(30)
        until = time.monotonic() + 30
        while tree_memory(os.getpid()) < before + SURELY and time.monotonic() < until:
            time.sleep(0.05)
        assert tree_memory(os.getpid()) >= before + SURELY
        assert tree_memory(started[0].pid) >= SURELY
    finally:
        done.set()
        thread.join()
        started[0].communicate(b"\n", timeout=30)
    assert tree_memory(os.getpid()) < before + SURELY
    assert tree_memory(started[0].pid) == 0
