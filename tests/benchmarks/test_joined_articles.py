"""``benchmarks/joined_articles.py``: documents are whole articles, and every way is measured."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cli_data import squad

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "joined_articles.py"


@pytest.mark.slow
def test_every_way_is_measured(tmp_path):
    data = tmp_path / "data.json"
    content = squad(2, 2)
    for article in content["data"]:
        (paragraph,) = article["paragraphs"]
        others = [{"context": f"{paragraph['context']} Once more {number}.", "qas": []} for number in range(40)]
        article["paragraphs"] += others
    # A context without questions is none of the file's examples.
    content["data"][0]["paragraphs"][1]["qas"] = [dict(paragraph["qas"][0], id="more")]
    data.write_text(json.dumps(content))
    report = tmp_path / "report.json"
    done = subprocess.run(
        [sys.executable, SCRIPT, "--data", data, "--limit", "3", "--thresholds", "0.9", "--report", report],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("3 questions; windows in a document: 1.0")
    assert [record["way"] for record in json.loads(report.read_text())] == ["dense", "thresholds", "passages at 0.9"]
