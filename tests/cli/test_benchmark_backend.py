"""What a benchmark measures in place of PyTorch."""

import json

import pytest

from blockskim.cli.benchmark_backend import measured_by
from blockskim.cli.benchmark_options import BenchmarkBackend, OnData
from blockskim.exporting.export import export
from blockskim.exporting.manifest import keep_int8_settings
from blockskim.inference.loading import load
from blockskim.method.thresholds import layer_thresholds
from blockskim.profiling import matmul_rate
from blockskim.profiling.suite import Subject
from blockskim.profiling.workloads import random_workload
from cli_data import squad
from tiny_exports import shared_traces


@pytest.fixture(autouse=True)
def small_products(monkeypatch):
    """Measuring how fast large matrices are multiplied would take longer than all the rest."""
    monkeypatch.setattr(matmul_rate, "SIZES", (16,))


@pytest.fixture(autouse=True)
def quick_exports():
    """Every export of a tiny model anew would take most of the time."""
    with shared_traces():
        yield


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "data.json"
    path.write_text(json.dumps(squad(3, 2)))
    return path


@pytest.mark.slow
@pytest.mark.parametrize("end_to_end", [(), ("--end-to-end",)], ids=["model", "end to end"])
def test_an_exported_model_takes_turns_with_pytorch(call, data, end_to_end):
    usual = ("--data", data, "--batch-size", "1,4", "--repeats", 1, "--against", "packed", "--json", "--quiet")
    code, out, err = call("benchmark", *usual, "--backend", "onnx", "--threads", 1, "--threshold", 0.9, *end_to_end)
    assert (code, err) == (0, "")
    found = {(record["name"], record["batch_size"]): record for record in json.loads(out)}
    assert found.keys() == {(name, size) for name in ("blockskim", "packed") for size in (1, 4)}
    for size in (1, 4):
        own, dense = found["blockskim", size], found["packed", size]
        assert own["dtype"] == dense["dtype"] == "float32"
        assert own["flops"] < dense["flops"]
        assert own["tokens"] == dense["tokens"]
        assert own["kept_by_layer"][-1] < 1
        assert own["speedup_over"].keys() == {"packed"}


@pytest.mark.slow
def test_it_is_exported_where_it_was_not(call, model, data, lines):
    usual = ("--data", data, "--batch-size", 2, "--repeats", 1, "--against", "packed,onnx-packed", "--json")
    code, out, err = call(
        "benchmark", *usual, "--model", model, "--max-length", 150, "--backend", "onnx-int8", "--threads", 1
    )
    assert (code, err) == (0, "")
    own, packed, unskimmed = json.loads(out)
    assert (own["name"], own["dtype"]) == ("blockskim", "int8")
    assert (packed["name"], packed["dtype"]) == ("packed", "float32")
    assert (unskimmed["name"], unskimmed["dtype"], unskimmed["flops"]) == ("onnx-packed", "int8", packed["flops"])
    assert lines[0].endswith("int8 on ONNX Runtime")
    assert lines[1] == f"exporting {model} into a temporary folder"


@pytest.mark.slow
def test_auto_takes_what_answers_by_itself(call, model, data):
    usual = (
        "--data",
        data,
        "--batch-size",
        4,
        "--repeats",
        1,
        "--against",
        "aligned",
        "--limit",
        2,
        "--json",
        "--quiet",
    )
    for more, seen in (((), False), (("--dtype", "bfloat16"), True), (("--model", model, "--max-length", 150), True)):
        code, out, err = call("benchmark", *usual, "--backend", "auto", "--device", "cpu", *more)
        assert (code, err) == (0, "")
        # Of ONNX Runtime's memory PyTorch sees nothing.
        assert (json.loads(out)[0]["peak_bytes"] is not None) == seen


def test_an_int8_graph_skims_at_its_own_points(pointed, data, tmp_path):
    directory = export(pointed, tmp_path / "int8", int8=True).directory
    keep_int8_settings(directory, 0.4, {"exact": 0.0, "fast": 0.9})
    model = load(pointed, "cpu", "float32").model
    subject = Subject(model, random_workload("tiny", model, 40, 0), [0.6, 0.7])
    for backend, thresholds in ((BenchmarkBackend.ONNX_INT8, (0.9, 0.9)), (BenchmarkBackend.ONNX, (0.6, 0.7))):
        with measured_by(subject, backend, str(directory), OnData(point="fast"), 1, print) as measured:
            assert layer_thresholds(measured.thresholds, model.skim_layers) == thresholds
            assert measured.exported.threads == 1


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--shape", "bert-mini", "--keep", "all"], "random models run in PyTorch"),
        (["--device", "cuda"], "computes on the CPU"),
        (["--dtype", "bfloat16"], "has a number format of its own"),
        (["--backend", "torch", "--against", "onnx-packed"], "it needs --backend onnx"),
    ],
    ids=str,
)
def test_what_onnx_runtime_can_not_do_is_told_at_once(call, data, arguments, why):
    given = [] if "--shape" in arguments else ["--data", data]
    code, out, err = call("benchmark", *given, "--backend", "onnx", *arguments)
    assert (code, out) == (2, "")
    assert why in err
