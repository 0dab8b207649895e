"""``benchmarks/highlight_call.py``: both ways are timed, on documents that begin with the answer's paragraph."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cli_data import squad

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "highlight_call.py"


def run(data, *options):
    return subprocess.run([sys.executable, SCRIPT, "--data", data, *options], capture_output=True, text=True)


@pytest.fixture
def data(tmp_path):
    file = tmp_path / "data.json"
    file.write_text(json.dumps(squad(2, 2)))
    return file


def test_documents_follow_each_other_from_the_paragraph_of_the_answer(data, monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    from highlight_call import calls

    contexts = {
        qa["question"]: paragraph["context"].split()
        for article in squad(2, 2)["data"]
        for paragraph in article["paragraphs"]
        for qa in paragraph["qas"]
    }
    found = list(calls(data, 2, 2, 5))
    assert len(found) == 2
    for question, documents in found:
        assert [len(document.split()) for document in documents] == [5, 5]
        assert " ".join(documents).split() == contexts[question][:10]


@pytest.mark.slow
def test_both_ways_are_timed(data, tmp_path):
    report = tmp_path / "report.json"
    done = run(data, "--documents", "2", "--words", "6", "--calls", "1", "--report", report)
    assert done.returncode == 0, done.stderr
    record = json.loads(report.read_text())
    assert json.loads(done.stdout) == record
    assert record["seconds"] > 0 < record["speedup"]
    assert (record["documents"], record["words"], record["calls"]) == (2, 6, 1)


def test_what_is_wrong_is_told_in_a_line(data, tmp_path):
    empty = tmp_path / "empty.json"
    empty.touch()
    for file, options, message in (
        (data, (), "20 documents of 500 take more"),
        (empty, (), "the file is empty"),
        (data, ("--calls", "0"), "--calls is 0; it must be a whole number of at least 1"),
    ):
        done = run(file, *options)
        assert done.returncode == 1
        assert message in done.stderr
        assert done.stderr.count("\n") == 1
