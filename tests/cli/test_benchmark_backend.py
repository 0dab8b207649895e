"""What a benchmark measures in place of PyTorch."""

import json

import pytest

from blockskim.profiling import matmul_rate
from cli_data import squad


@pytest.fixture(autouse=True)
def small_products(monkeypatch):
    """Measuring how fast large matrices are multiplied would take longer than all the rest."""
    monkeypatch.setattr(matmul_rate, "SIZES", (16,))


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "data.json"
    path.write_text(json.dumps(squad(3, 2)))
    return path


@pytest.mark.parametrize("end_to_end", [(), ("--end-to-end",)], ids=["model", "end to end"])
def test_an_exported_model_takes_turns_with_pytorch(call, data, end_to_end):
    usual = ("--data", data, "--batch-size", "1,4", "--repeats", 1, "--against", "packed", "--json", "--quiet")
    code, out, err = call("benchmark", *usual, "--backend", "onnx", "--threads", 1, *end_to_end)
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


def test_it_is_exported_where_it_was_not(call, model, data):
    usual = ("--data", data, "--batch-size", 2, "--repeats", 1, "--against", "packed", "--json", "--quiet")
    code, out, err = call(
        "benchmark", *usual, "--model", model, "--max-length", 150, "--backend", "onnx-int8", "--threads", 1
    )
    assert (code, err) == (0, "")
    own, dense = json.loads(out)
    assert (own["name"], own["dtype"]) == ("blockskim", "int8")
    assert (dense["name"], dense["dtype"]) == ("packed", "float32")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--shape", "bert-mini", "--keep", "all"], "random models run in PyTorch"),
        (["--device", "cuda"], "computes on the CPU"),
        (["--dtype", "bfloat16"], "has a number format of its own"),
    ],
    ids=str,
)
def test_what_onnx_runtime_can_not_do_is_told_at_once(call, data, arguments, why):
    given = [] if "--shape" in arguments else ["--data", data]
    code, out, err = call("benchmark", *given, "--backend", "onnx", *arguments)
    assert (code, out) == (2, "")
    assert why in err
