"""``blockskim export``, and the commands that answer with what it made."""

import json
import shutil

import pytest
import torch

from blockskim.errors import DataError
from blockskim.exporting import export as export_module
from blockskim.exporting import onnx_export
from blockskim.exporting.export import SEARCH_FILE
from blockskim.exporting.exported_model import ExportedModel
from blockskim.exporting.int8_search import Int8Search
from blockskim.exporting.manifest import FILE, GRAPH, INT8_GRAPH, read_manifest
from blockskim.model.stored_weights import WEIGHTS
from cli_data import squad
from tiny_answerers import TEXT, new_model, save_model
from tiny_exports import exported_answerer, shared_traces
from tiny_models import new_skim_model
from tiny_tokenizers import fixed_tokenizer

QUESTION = "Where is the nest?"
SHORT = ("--max-length", 60, "--doc-stride", 20)


@pytest.fixture(scope="module")
def exported():
    """A directory that was exported. Don't change it."""
    return exported_answerer().directory


@pytest.fixture
def spoiled(exported, tmp_path):
    """A copy of it."""
    return shutil.copytree(exported, tmp_path / "spoiled")


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "data.json"
    path.write_text(json.dumps(squad(3, 3)))
    return path


def test_a_model_is_exported(call, model, tmp_path):
    with shared_traces():
        code, out, err = call("export", "--model", model, "--output", tmp_path / "out")
    assert (code, err) == (0, "")
    assert out.startswith(f"exported to {tmp_path / 'out'}: graph 0.")
    code, out, err = call("answer", "-q", QUESTION, "-c", TEXT, "--model", tmp_path / "out", "--backend", "onnx")
    assert (code, err) == (0, "")


def test_json_tells_the_sizes(call, model, tmp_path):
    with shared_traces():
        code, out, err = call("export", "--model", model, "--output", tmp_path / "out", "--to", "onnx", "--json")
    assert (code, err) == (0, "")
    values = json.loads(out)
    agreement = values.pop("agreement")
    assert agreement["windows"] >= 3 and agreement["largest_difference"] < 1e-4
    assert agreement["same_blocks"] is None or agreement["same_blocks"] > 0.99
    assert values == {
        "output": str(tmp_path / "out"),
        "files": {path.name: path.stat().st_size for path in (tmp_path / "out").iterdir()},
        "graph_bytes": (tmp_path / "out" / GRAPH).stat().st_size,
        "weight_bytes": (tmp_path / "out" / WEIGHTS).stat().st_size,
        "int8_bytes": 0,
        "int8_products": [],
        "int8_agreement": None,
    }


def test_quiet_says_nothing(call, model, tmp_path):
    with shared_traces():
        assert call("export", "--model", model, "--output", tmp_path / "out", "--quiet") == (0, "", "")


def test_with_data_every_form_of_the_model_is_measured(call, model, data, tmp_path):
    """It has 200 positions, fewer than windows usually have."""
    arguments = ("--model", model, "--output", tmp_path / "out", "--data", data, "--limit", 2, "--int8")
    with shared_traces():
        code, out, err = call("export", *arguments, "--json", "--quiet")
    assert (code, err) == (0, "")
    values = json.loads(out)
    assert values["int8_agreement"]["largest_difference"] > values["agreement"]["largest_difference"]
    rows = [(row["backend"], row["number_format"], row["dense"]) for row in values["measured"]]
    forms = [("torch", "float32"), ("onnx", "float32"), ("onnx", "int8")]
    assert rows == [(*form, dense) for form in forms for dense in (True, False)]


def test_what_is_wrong_with_the_data_is_told_of_before_anything_is_written(call, model, data, tmp_path, monkeypatch):
    def fail(*arguments, **settings):
        raise DataError("question 'q0-0' is empty")

    monkeypatch.setattr("blockskim.data.windows.make_windows", fail)
    threads = torch.get_num_threads()
    code, out, err = call("export", "--model", model, "--output", tmp_path / "out", "--data", data)
    assert (code, out, err) == (1, "", "error: question 'q0-0' is empty\n")
    assert not (tmp_path / "out").exists()
    assert torch.get_num_threads() == threads


def test_a_model_that_can_not_be_exported_is_not_measured_first(call, data, tmp_path, monkeypatch):
    new_skim_model("modernbert").save_pretrained(tmp_path / "model")
    monkeypatch.setattr("blockskim.inference.loading.load_tokenizer", lambda *_, **__: fixed_tokenizer("wordpiece"))
    monkeypatch.setattr("blockskim.inference.loading.check_vocabulary", lambda *_: None)
    monkeypatch.setattr("blockskim.evaluation.evaluate.evaluate_windows", None)
    code, out, err = call("export", "--model", tmp_path / "model", "--output", tmp_path / "out", "--data", data)
    assert (code, out) == (2, "")
    assert err.startswith("error: encoders of type 'modernbert' can't be exported")


def refuse_to_evaluate(monkeypatch):
    """Have what takes long fail at once."""
    monkeypatch.setattr("blockskim.evaluation.evaluate.evaluate_windows", None)
    monkeypatch.setattr(export_module, "PieceExporter", None)


def test_a_directory_that_no_graph_fits_into_is_refused_before_it_is_measured(
    call, capsys, data, tmp_path, monkeypatch
):
    refuse_to_evaluate(monkeypatch)
    parts = tmp_path / "parts"
    new_model("bytes").save_pretrained(parts, max_shard_size="60KB")
    fixed_tokenizer("bytes").save_pretrained(parts)
    capsys.readouterr()  # Saving drew its progress.
    code, out, err = call("export", "--model", parts, "--output", parts, "--data", data)
    assert (code, out) == (1, "")
    assert err == f"error: {parts} has no {WEIGHTS}, which the graph needs beside it; name a new directory\n"


def test_so_is_a_missing_package(call, model, data, tmp_path, monkeypatch):
    refuse_to_evaluate(monkeypatch)
    monkeypatch.setattr(onnx_export, "has", lambda name: name != "onnxruntime")
    code, out, err = call("export", "--model", model, "--output", tmp_path / "out", "--data", data)
    assert (code, out) == (2, "")
    assert err.startswith("error: export needs onnxruntime, which is not installed")


@pytest.fixture
def tuned(pointed, tmp_path, monkeypatch):
    """A model with two points, the search for int8 layers of which takes the first."""
    monkeypatch.setattr(export_module, "search_products", lambda build, products, *_, **__: search_of(products))
    return shutil.copytree(pointed, tmp_path / "source")


def set_target(directory, point="fast", **target):
    (directory / "calibration.json").write_text(json.dumps({"points": {point: {"target": target}}}))


def test_int8_gets_thresholds_for_the_targets_of_the_models_points(call, tuned, data, tmp_path):
    set_target(tuned, max_f1_drop=50)
    output = tmp_path / "out"
    with shared_traces():
        assert call("export", "--model", tuned, "--int8", "--tune", data, "--quiet", "--output", output) == (0, "", "")
    settings = read_manifest(output).int8_settings
    assert set(settings["points"]) == {"exact", "fast"}


@pytest.mark.parametrize("target", [{"max_f1_drop": 500}, {"most": 1}, {}], ids=str)
def test_damaged_targets_are_told_of_before_the_export(call, tuned, data, tmp_path, monkeypatch, target):
    refuse_to_evaluate(monkeypatch)
    set_target(tuned, **target)
    code, out, err = call("export", "--model", tuned, "--int8", "--tune", data, "--output", tmp_path / "out")
    assert (code, out) == (1, "")
    assert err.startswith(f"error: {tuned / 'calibration.json'} is damaged: the target of point 'fast': ")
    assert not (tmp_path / "out").exists()


def test_so_is_what_is_wrong_with_the_data_for_tuning(call, tuned, data, tmp_path, monkeypatch):
    def fail(*arguments, **settings):
        raise DataError("question 'q0-0' is empty")

    refuse_to_evaluate(monkeypatch)
    monkeypatch.setattr("blockskim.data.windows.make_windows", fail)
    arguments = ("--model", tuned, "--int8", "--tune", data, "--output", tmp_path / "out")
    assert call("export", *arguments) == (1, "", "error: question 'q0-0' is empty\n")


@pytest.mark.parametrize(
    ("error", "code", "last"),
    [(DataError("there is nothing"), 1, "error: there is nothing\n"), (KeyboardInterrupt(), 130, "interrupted\n")],
    ids=["error", "interrupt"],
)
def test_an_export_whose_thresholds_were_not_chosen_stays(call, tuned, data, tmp_path, monkeypatch, error, code, last):
    def fail(*arguments, **settings):
        raise error

    set_target(tuned, max_f1_drop=50)
    monkeypatch.setattr("blockskim.calibration.calibrate.calibrate_points", fail)
    output = tmp_path / "out"
    with shared_traces():
        found = call("export", "--model", tuned, "--int8", "--tune", data, "--quiet", "--output", output)
    assert found[:2] == (code, "")
    assert found[2].startswith(f"{output} holds the finished export; no thresholds were chosen for its int8 graph, ")
    assert found[2].endswith(last)
    assert {INT8_GRAPH, SEARCH_FILE} <= {path.name for path in output.iterdir()}
    int8, own = (ExportedModel(output, form).skim_config for form in ("int8", "float32"))
    assert int8 == own


def test_tuned_again_it_gets_the_points_that_the_model_has_now(call, data, tmp_path, monkeypatch):
    monkeypatch.setattr(export_module, "search_products", lambda build, products, *_, **__: search_of(products))
    own = save_model(tmp_path / "own", "bytes", points={"fast": 0.5})
    config = json.loads((own / "config.json").read_text())
    for point, threshold in (("fast", 0.5), ("slow", 0.1)):
        config["skim"] |= {"thresholds": threshold, "points": {point: threshold}}
        (own / "config.json").write_text(json.dumps(config))
        set_target(own, point, max_f1_drop=99)
        with shared_traces():
            assert call("export", "--model", own, "--output", own, "--int8", "--tune", data, "--quiet")[0] == 0
        settings = read_manifest(own).int8_settings
        assert set(settings["points"]) == {point}
        assert settings["thresholds"] == settings["points"][point]


def search_of(products):
    """The outcome of a search that quantises one product."""
    return Int8Search((products[0][0],), (), 0.0, ())


@pytest.mark.slow
def test_the_graph_may_go_beside_the_model(call, capsys, tmp_path):
    own = save_model(tmp_path / "own", "bytes")
    capsys.readouterr()  # Saving drew its progress.
    with shared_traces():
        assert call("export", "--model", own, "--output", own, "--quiet") == (0, "", "")
    assert {GRAPH, FILE} <= {path.name for path in own.iterdir()}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--to", "openvino"), "'openvino' is unknown; there is onnx"),
        (("--output", ""), "the path is empty"),
        (("--unknown",), "--unknown"),
    ],
)
def test_impossible_options(call, model, tmp_path, arguments, message):
    code, out, err = call("export", "--model", model, "--output", tmp_path / "out", *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert not (tmp_path / "out").exists()


def test_what_is_there_stays(call, model, tmp_path):
    (tmp_path / "mine").write_text("mine")
    code, out, err = call("export", "--model", model, "--output", tmp_path)
    assert (code, out) == (2, "")
    assert "exists already" in err
    assert (tmp_path / "mine").read_text() == "mine"


def test_a_package_that_is_missing_is_named(call, model, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_export, "has", lambda name: name != "onnxscript")
    code, out, err = call("export", "--model", model, "--output", tmp_path / "out")
    assert (code, out) == (2, "")
    assert err == "error: export needs onnxscript, which is not installed: pip install 'blockskim[export]'\n"


def test_a_model_that_is_not_there(call, tmp_path):
    code, out, err = call("export", "--model", tmp_path / "none", "--output", tmp_path / "out")
    assert (code, out) == (1, "")
    assert err.count("\n") == 1


def results(call, model, backend, *arguments):
    code, out, err = call(*arguments, "--model", model, "--backend", backend, "--json", "--quiet", "--device", "cpu")
    assert (code, err) == (0, "")
    return json.loads(out)


def close(found, expected):
    """Whether two values of JSON agree, but for seconds and the last digits of numbers."""
    assert type(found) is type(expected)
    if isinstance(found, dict):
        assert set(found) == set(expected)
        for name in set(found) - {"seconds"}:
            close(found[name], expected[name])
    elif isinstance(found, list):
        assert len(found) == len(expected)
        for one, two in zip(found, expected, strict=True):
            close(one, two)
    else:
        assert found == (pytest.approx(expected, abs=1e-4) if isinstance(found, float) else expected)


@pytest.mark.parametrize("way", [(), ("--dense",), ("--threshold", 0.9), ("--point", "fast")], ids=str)
def test_answer_is_the_same_with_both(call, exported, document, way):
    arguments = ("answer", "-q", QUESTION, "-q", "Who?", "-f", document, "-k", 3, *SHORT, *way, "--dtype", "float32")
    found, expected = (results(call, exported, backend, *arguments) for backend in ("onnx", "torch"))
    close(found, expected)
    close(results(call, exported, "auto", *arguments, "--threads", 2), found)


def test_the_page_is_written_by_both(call, exported, tmp_path):
    pages = []
    for backend in ("onnx", "torch"):
        path = tmp_path / f"{backend}.html"
        results(call, exported, backend, "answer", "-q", QUESTION, "-c", TEXT, *SHORT, "--explain", path)
        pages.append(path.read_text())
    assert all("<mark>" in page for page in pages)
    assert [page.count("<mark>") for page in pages] == [1, 1]
    assert pages[0].count("class=") == pages[1].count("class=")


@pytest.mark.parametrize("way", [(), ("--dense",), ("--point", "fast"), ("--compare-dense",)], ids=str)
def test_evaluate_is_the_same_with_both(call, exported, data, way):
    arguments = ("evaluate", "--data", data, *SHORT, *way, "--dtype", "float32")
    found, expected = (results(call, exported, backend, *arguments) for backend in ("onnx", "torch"))
    for values in (found, expected):
        values.pop("wall_speedup", None)
    close(found, expected)


def test_predict_is_the_same_with_both(call, exported, data, tmp_path):
    answers = []
    for backend in ("onnx", "torch"):
        path = tmp_path / f"{backend}.json"
        values = results(call, exported, backend, "predict", "--data", data, *SHORT, "--predictions", path)
        assert values["examples"] == 9
        answers.append(json.loads(path.read_text()))
    assert answers[0] == answers[1]
    assert len(answers[0]) == 9


def test_a_long_run_tells_what_computes(call, exported, data, lines):
    assert call("evaluate", "--data", data, "--model", exported, *SHORT, "--device", "cpu", "--json")[0] == 0
    assert any("ONNX Runtime, float32" in line for line in lines)


@pytest.mark.parametrize("command", ["answer", "evaluate", "predict"])
@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--backend", "onnx", "--device", "cuda"), 2, "the backend onnx computes on the CPU"),
        (("--backend", "onnx", "--dtype", "bfloat16"), 2, "the backend onnx has auto, float32, int8"),
        (("--backend", "torch", "--dtype", "int8"), 2, "it takes the backend onnx"),
        (("--backend", "onnx", "--dtype", "int8"), 1, "has no model-int8.onnx"),
        (("--backend", "other"), 2, "'other' is not one of 'auto', 'torch', 'onnx'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_contradictions_are_refused(call, exported, data, tmp_path, command, arguments, code, message):
    own = {
        "answer": ("-q", QUESTION, "-c", TEXT),
        "evaluate": ("--data", data),
        "predict": ("--data", data, "--predictions", tmp_path / "out.json"),
    }
    found, out, err = call(command, *own[command], "--model", exported, *arguments)
    assert (found, out) == (code, "")
    assert message in " ".join(err.replace("│", " ").split())


@pytest.mark.parametrize("command", ["answer", "evaluate"])
def test_a_directory_that_was_not_exported(call, model, data, command):
    own = {"answer": ("-q", QUESTION, "-c", TEXT), "evaluate": ("--data", data)}
    code, out, err = call(command, *own[command], "--model", model, "--backend", "onnx")
    assert (code, out) == (1, "")
    assert err.startswith(f"error: {model} was not exported (it has no export.json), which the backend onnx needs")
    assert err.count("\n") == 1


@pytest.mark.parametrize("name", [GRAPH, WEIGHTS, FILE, "config.json", "tokenizer.json"])
@pytest.mark.parametrize("damage", ["cut-off", "missing"])
def test_a_damaged_directory_is_a_line(call, spoiled, name, damage):
    path = spoiled / name
    data = path.read_bytes()
    path.unlink()
    if damage == "cut-off":
        path.write_bytes(data[: len(data) // 2])
    code, out, err = call("answer", "-q", QUESTION, "-c", TEXT, "--model", spoiled, "--backend", "onnx")
    assert (code, out) == (1, "")
    assert err.startswith(f"error: {spoiled}")
    assert name in err
    assert err.count("\n") == 1
