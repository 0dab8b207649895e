"""``benchmarks/bulk.py``: what must hold of bulk runs is measured, with the random model, too."""

import json
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "bulk.py"


def test_rows_are_all_different_and_as_long_as_asked_for(script):
    found = list(script("bulk").rows(50, 30))
    assert len({row["context"] for row in found}) == len({row["question"] for row in found}) == 50
    assert {len(row["context"].split()) for row in found} == {30}


def test_rows_longer_than_the_text_that_they_are_made_of(script):
    (row,) = script("bulk").rows(1, 5_000)
    assert len(row["context"].split()) == 5_000


def test_many_machines_are_planned_from_a_run_of_one(script, monkeypatch, tmp_path):
    bulk = script("bulk")
    monkeypatch.setattr(bulk, "PLANNED_ROWS", 1e5)
    data = bulk.write_rows(tmp_path / "rows.jsonl", 30, 8)
    record = bulk.plan(Namespace(folder=tmp_path, data=data, model=None, shard_rows=10))
    assert record["rows_per_second"] > 0
    assert record["bytes_per_row"] == pytest.approx(data.stat().st_size / 30)
    assert [plan["machines"] for plan in record["plans"]] == [1, 10, 100, 1000]
    hours = [plan["hours"] for plan in record["plans"]]
    assert hours == sorted(hours, reverse=True)
    for plan in record["plans"]:
        shares = [plan[name] for name in ("efficiency", "waiting", "lost", "idle")]
        assert sum(shares) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    ("what", "rows", "message"),
    [("plan", "0", "--rows is 0; it must be a whole number of at least 1"), ("ray", "10", "of at least 1001")],
)
def test_impossible_numbers_are_refused(what, rows, message):
    done = subprocess.run([sys.executable, SCRIPT, what, "--rows", rows], capture_output=True, text=True)
    assert done.returncode == 2
    assert message in done.stderr


@pytest.mark.slow
def test_a_run_that_is_killed_is_compared_with_one_that_is_not():
    pytest.importorskip("torch")
    options = ["--rows", "60", "--words", "8", "--shard-rows", "10", "--kills", "1", "--model", "tiny"]
    done = subprocess.run([sys.executable, SCRIPT, "kills", *options], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["what"] == "kills"
    assert record["same"] and record["each_row_once"] and record["holds"]
