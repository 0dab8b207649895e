import builtins
import importlib.util
import json
import sys

import pytest

from blockskim.profiling import matmul_rate
from cli_data import squad

SHAPE = ("benchmark", "--shape", "bert-mini", "--length", 88, "--block-size", 8, "--repeats", 1, "--batch-size", "1,3")
FIELDS = {
    "name",
    "workload",
    "dtype",
    "device",
    "threads",
    "end_to_end",
    "batch_size",
    "batches",
    "samples",
    "rounds",
    "median_seconds",
    "min_seconds",
    "spread",
    "samples_per_second",
    "flops",
    "tokens",
    "matmul_fraction",
    "matmul_rate",
    "peak_bytes",
    "weight_bytes",
    "kept_by_layer",
    "speedup_over",
    "speedup_spread",
    "exact_match",
    "f1",
}


@pytest.fixture(autouse=True)
def small_products(monkeypatch):
    """Measuring how fast large matrices are multiplied would take longer than all the rest."""
    monkeypatch.setattr(matmul_rate, "SIZES", (16,))


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "data.json"
    path.write_text(json.dumps(squad(3, 2)))
    return path


def records(answer):
    code, out, err = answer
    assert (code, err) == (0, "")
    return json.loads(out)


@pytest.mark.slow
def test_a_random_model_on_a_schedule(call):
    found = records(call(*SHAPE, "--keep", "1:0.5,2:0.25", "--against", "dense-sdpa,aligned", "--json"))
    assert [(row["name"], row["batch_size"]) for row in found] == [
        (name, size) for size in (1, 3) for name in ("blockskim", "dense-sdpa", "aligned")
    ]
    assert all(set(row) == FIELDS for row in found)
    ours, dense, aligned = found[3:]
    assert ours["kept_by_layer"] == aligned["kept_by_layer"] == [4 / 8, 2 / 8, 2 / 8, 2 / 8]
    assert ours["flops"] < aligned["flops"] < dense["flops"]
    assert ours["tokens"] == dense["tokens"] == 264
    assert list(ours["speedup_over"]) == ["dense-sdpa", "aligned"]
    assert list(dense["speedup_over"]) == ["aligned"]
    assert ours["dtype"] == "float32"
    assert ours["median_seconds"] > 0 < ours["peak_bytes"]


@pytest.mark.slow
def test_one_full_sample_cancels_the_gain_of_the_aligned_scheme_alone(call):
    found = records(
        call(*SHAPE, "--keep", "1:0.25", "--keep-full", 1, "--against", "aligned,packed", "--json", "--seed", 3)
    )
    ours, aligned, packed = found[3:]
    assert ours["flops"] < packed["flops"] < aligned["flops"]
    assert ours["kept_by_layer"][-1] == (8 + 2 + 2) / 24
    assert found[0]["kept_by_layer"] == [1.0] * 4  # a batch of one


@pytest.mark.slow
@pytest.mark.parametrize(("keep", "predictors", "layers"), [("all", None, 3), ("2:1", None, 1), ("2:1", "all", 3)])
def test_predictors_cost_where_they_are(call, keep, predictors, layers):
    more = () if predictors is None else ("--predictors", predictors)
    ours, packed = records(call(*SHAPE[:-1], 1, "--keep", keep, *more, "--against", "packed", "--json"))
    assert ours["kept_by_layer"] == [1.0] * 4
    # Tiles of 8 tokens with 4 heads of 64, 8 blocks in each layer with a predictor.
    tile = 2 * (4 * 64 * 64 + 16 * 9 * (64 + 16) + 4 * 4 * 2)
    assert ours["flops"] - packed["flops"] == 8 * tile * layers


@pytest.mark.slow
def test_real_data(call, model, data):
    common = ("benchmark", "--data", data, "--model", model, "--max-length", 150, "--repeats", 1, "--batch-size", 4)
    found = records(call(*common, "--against", "dense-eager,dense-sdpa-150,packed,aligned", "--json"))
    ours, eager, padded, packed, aligned = found
    assert ours["workload"] == "data.json, 6 examples"
    assert ours["samples"] == 6
    assert ours["batches"] == 2
    assert packed["f1"] == eager["f1"] == padded["f1"]
    assert aligned["f1"] is not None
    assert ours["flops"] < packed["flops"] <= eager["flops"] < padded["flops"]
    assert padded["tokens"] == 3 * 150
    evaluated = json.loads(call("evaluate", *common[1:7], "--dtype", "float32", "--json")[1])
    assert ours["f1"] == pytest.approx(evaluated["f1"])
    more = records(call(*common, "--end-to-end", "--threshold", 0.0, "--limit", 2, "--against", "packed", "--json"))
    assert more[0]["end_to_end"] is True
    assert more[0]["samples"] == 2
    assert more[0]["flops"] == more[1]["flops"]


@pytest.mark.slow
def test_number_formats(call):
    found = records(call(*SHAPE[:-1], 1, "--keep", "all", "--dtype", "bfloat16", "--json"))
    assert [(row["name"], row["dtype"]) for row in found] == [
        ("blockskim", "bfloat16"),
        ("dense-sdpa", "float32"),
        ("packed", "bfloat16"),
    ]


@pytest.mark.slow
def test_tables_are_for_people(call):
    code, out, err = call(*SHAPE, "--keep", "2:0.5")
    assert (code, err) == (0, "")
    for part in ("bert-mini, 88 random tokens", "model alone", "quartiles", "times as fast as", "packed"):
        assert part in out
    assert "…" not in out


@pytest.mark.slow
def test_a_plot_does_not_replace_the_data(call, tmp_path):
    data = tmp_path / "data.json"
    data.write_text("{}", encoding="utf-8")
    code, out, err = call("benchmark", "--data", data, "--plot", data)
    assert (code, out) == (2, "")
    assert "holds the data, which would be lost" in err
    assert data.read_text("utf-8") == "{}"


def test_plot(call, tmp_path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "plot.png"
    assert call(*SHAPE, "--keep", "2:0.5", "--plot", path)[0] == 0
    assert path.stat().st_size > 1000


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--shape", "bert-base", "--keep", "all", "--against", "dense"), "no baseline 'dense'; known are dense-eager"),
        (("--shape", "bert-base", "--keep", "all", "--against", ""), "no baseline ''"),
        (("--shape", "bert-huge", "--keep", "all"), "no shape 'bert-huge'; known are bert-tiny"),
        (("--shape", "bert-mini", "--keep", ""), "LAYER:SHARE"),
        (("--shape", "bert-mini", "--keep", "3"), "LAYER:SHARE"),
        (("--shape", "bert-mini", "--keep", "2:0.5,3:0.6"), "can't rise"),
        (("--shape", "bert-mini", "--keep", "4:0.5"), "from 1 to 3"),
        (("--shape", "bert-mini", "--keep", "4:0.5", "--predictors", "all"), "layer 4"),
        (("--shape", "bert-mini", "--keep", "0:0.5"), "counted from 1"),
        (("--shape", "bert-mini", "--keep", "1:0.5", "--block-size", "12"), "block_size is 12"),
        (("--shape", "bert-mini", "--keep", "1:0.5", "--inputs", "tiles,noise"), "'noise'"),
        (("--shape", "bert-mini", "--keep", "1:0.5", "--length", "15"), "length is 15"),
    ],
)
def test_wrong_settings_are_told_in_one_line(call, arguments, why):
    code, out, err = call("benchmark", *arguments)
    assert (code, out) == (2, "")
    assert why in err
    assert err.startswith("error: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ((), "either --data FILE or --shape NAME"),
        (("--data", "x.json", "--shape", "bert-mini", "--keep", "all"), "either --data"),
        (("--shape", "bert-mini"), "needs --keep"),
        (("--shape", "bert-mini", "--keep", "all", "--limit", 3), "--limit means nothing with --shape"),
        (("--shape", "bert-mini", "--keep", "all", "--end-to-end"), "--end-to-end means nothing"),
        (("--shape", "bert-mini", "--keep", "all", "--model", "x"), "--model means nothing"),
        (("--shape", "bert-mini", "--keep", "all", "--predictors", "scheduled"), "--keep all schedules no layer"),
        (("--shape", "bert-mini", "--keep", "all", "--predictors", "some"), "some"),
        (("--data", "x.json", "--keep", "all"), "--keep means nothing with --data"),
        (("--data", "x.json", "--keep-full", 0), "--keep-full means nothing"),
        (("--data", "x.json", "--batch-size", "0"), "'0' is no batch size; it must be a whole number from 1 to 42949"),
        (("--data", "x.json", "--batch-size", "1,"), "'' is no batch size"),
        (("--data", "x.json", "--batch-size", "1,,2"), "'' is no batch size"),
        (("--data", "x.json", "--batch-size", "x"), "'x' is no batch size"),
        (("--data", "x.json", "--batch-size", "1,-1"), "'-1' is no batch size"),
        (("--data", "x.json", "--batch-size", "1.5"), "'1.5' is no batch size"),
        (("--data", "x.json", "--batch-size", "4294967296"), "'4294967296' is no batch size"),
        (("--data", "x.json", "--batch-size", f"1,{10**22}"), f"'{10**22}' is no batch size"),
        (("--data", "x.json", "--batch-size", "9" * 5000), "'9999999999999999999999999999999999999999' is no"),
        (("--data", "x.json", "--plot", "no/such/folder.png"), "no directory"),
    ],
)
def test_wrong_usage(call, arguments, why):
    code, out, err = call("benchmark", *arguments)
    assert (code, out) == (2, "")
    assert why in " ".join(err.replace("│", " ").split())


def test_missing_data_and_models(call, data, tmp_path):
    code, _, err = call("benchmark", "--data", tmp_path / "none.json")
    assert code == 1
    assert "none.json" in err
    code, _, err = call("benchmark", "--data", data, "--model", tmp_path / "none")
    assert code == 1
    assert err.count("\n") == 1


def test_a_padded_baseline_that_is_too_short(call):
    code, _, err = call(*SHAPE, "--keep", "all", "--against", "dense-sdpa-64")
    assert code == 2
    assert err == "error: dense-sdpa-64 pads its input to 64 tokens, but there is input of 88\n"


def test_a_padded_baseline_that_windows_may_not_fit_is_told_at_once(call):
    common = ("benchmark", "--data", "none.json", "--max-length", 512)
    code, out, err = call(*common, "--against", "packed,dense-sdpa-384")
    assert (code, out) == (2, "")
    told = " ".join(err.replace("│", " ").split())
    assert "dense-sdpa-384 pads its input to 384 tokens, but windows have up to 512" in told
    assert "give dense-sdpa-512 or --max-length 384" in told
    # Those that are usual pad to what windows may have, so that the file is looked for.
    code, _, err = call(*common)
    assert code == 1
    assert "none.json" in err


def test_a_padded_baseline_that_is_longer_than_the_model_reads(call, model, data):
    limit = json.loads(call("info", "--model", model, "--json")[1])["encoder"]["max_tokens"]
    common = ("benchmark", "--data", data, "--model", model, "--max-length", 150, "--repeats", 1)
    for name in ("dense-sdpa-384", "dense-eager-999999"):
        code, out, err = call(*common, "--against", name)
        pads = name.rsplit("-", 1)[1]
        assert (code, out) == (2, "")
        assert err == f"error: {name} pads its input to {pads} tokens, but the model reads at most {limit}\n"


def test_missing_extras_are_named_at_once(call, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    code, _, err = call(*SHAPE, "--keep", "all", "--against", "onnx-fp32")
    assert (code, err) == (2, "error: onnx-fp32 needs onnx, which is not installed: pip install 'blockskim[onnx]'\n")
    monkeypatch.undo()
    load = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name.split(".")[0] == "matplotlib":
            raise ModuleNotFoundError(name)
        return load(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    monkeypatch.delitem(sys.modules, "matplotlib", raising=False)
    code, _, err = call(*SHAPE, "--keep", "all", "--plot", "plot.png")
    assert code == 2
    assert "blockskim[plot]" in err


@pytest.mark.slow
def test_an_operating_point_is_measured(call, pointed, data):
    common = ("benchmark", "--data", data, "--model", pointed, "--max-length", 150, "--repeats", 1, "--batch-size", 4)
    exact, fast = (
        records(call(*common, "--against", "packed", "--point", name, "--json"))[0]["flops"]
        for name in ("exact", "fast")
    )
    assert fast < exact
    assert call(*common, "--point", "slow")[0] == 2
    assert call(*SHAPE, "--keep", "1:0.5", "--point", "fast")[0] == 2
