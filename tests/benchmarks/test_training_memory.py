"""``benchmarks/training_memory.py``: a run is watched from its data to its end, and only figures are printed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "training_memory.py"


@pytest.mark.slow
def test_memory_of_a_small_run():
    pytest.importorskip("accelerate")
    done = subprocess.run([sys.executable, SCRIPT, "--questions", "800"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["questions"] == 800
    assert 0 < record["peak_mb"] < 2000
    assert record["training_mb"] > 0 < record["windows_mb"]
