"""The runs of ``benchmarks/speed.py``: that their commands are possible, and what is said of their records."""

import importlib.util
import shlex
import sys
from pathlib import Path

import pytest

from blockskim.profiling.catalog import parse_baseline

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def speed():
    pytest.importorskip("torch")
    spec = importlib.util.spec_from_file_location("speed", FOLDER / "speed.py")
    sys.modules["speed"] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_run_names_baselines_that_there_are(speed, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    for name, arguments in speed.RUNS.items():
        words = shlex.split(arguments.format(data="dev.json", onnx=",onnx-fp32", int8=" --model exported"))
        for baseline in words[words.index("--against") + 1].split(","):
            parse_baseline(baseline)
        assert ("--backend onnx" in arguments) == (name in speed.ON_ONNX_RUNTIME) == ("onnx-packed" in arguments)


def record(name, flops, **speedups):
    return {
        "name": name,
        "batch_size": 1,
        "flops": flops,
        "speedup_over": speedups,
        "speedup_spread": dict.fromkeys(speedups, (1.0, 2.0)),
    }


def test_what_is_saved_is_compared_within_an_engine(speed):
    ours = record("blockskim", 50, packed=1.6)
    (line,) = speed.summary([ours, record("packed", 100)])
    assert line.endswith("times as fast as packed; 75% of the arithmetic saved (50.0%) is time saved")
    ours = record("blockskim", 50, packed=3.0, **{"onnx-packed": 1.6})
    lines = speed.summary([ours, record("packed", 100), record("onnx-packed", 100)])
    assert lines[0].endswith("times as fast as packed")
    assert lines[1].endswith("times as fast as onnx-packed; 75% of the arithmetic saved (50.0%) is time saved")
