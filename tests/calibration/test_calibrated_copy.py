"""The copy of a model that a calibration is written into."""

import json
from types import SimpleNamespace

import pytest

from blockskim.calibration import calibrated_copy
from blockskim.calibration.calibrate import calibrate_points
from blockskim.calibration.calibrated_copy import save_calibrated
from blockskim.calibration.points import Point
from blockskim.calibration.result import Calibration, point_summaries, read_calibration
from blockskim.calibration.targets import Target
from blockskim.errors import ModelError
from blockskim.inference.loading import load
from blockskim.model.data_record import DATA_FILE, DataRecord, data_records, records_text
from tiny_answerers import new_model, save_model
from tiny_tokenizers import fixed_tokenizer


def test_points_of_the_source_stay_beside_the_new_ones(windows, tmp_path):
    targets = {"exact": Target(max_f1_drop=1.0), "fast": Target(max_f1_drop=20.0), "bold": Target(target_speedup=1.2)}
    source = save_model(tmp_path / "source", points={"old": 0.3, "fast": 0.1})
    (source / "calibration.json").write_text(json.dumps({"points": {"old": {"target": "of long ago"}}}))
    found = calibrate_points(new_model(), windows, targets, overhead=0.0, points=2)
    save_calibrated(load(source, "cpu"), found["fast"], tmp_path / "copy", points=found)
    settings = json.loads((tmp_path / "copy" / "config.json").read_text())["skim"]
    thresholds = {name: list(one.chosen.thresholds) for name, one in found.items()}
    assert settings["points"] == {"old": 0.3, **thresholds}
    assert settings["thresholds"] == thresholds["fast"]
    values = read_calibration(tmp_path / "copy")
    assert list(values["points"]) == ["old", *targets]
    assert values["points"]["exact"]["target"]["max_f1_drop"] == 1.0
    assert values["chosen"]["thresholds"] == thresholds["fast"]
    (tmp_path / "copy" / "calibration.json").write_text("{")
    with pytest.raises(ModelError, match="damaged"):
        read_calibration(tmp_path / "copy")
    assert read_calibration(tmp_path) == {}


DENSE = Point((0.0, 0.0), 1.0, 0.0, f1=80.0, exact_match=70.0)
FAST = Point((0.3, 0.4), 1.5, 0.2, f1=79.5, exact_match=69.25)
FOUND = Calibration(FAST, False, DENSE, (FAST,), 1234, Target(max_f1_drop=0.1))


def weights_in(folder):
    return (folder / "model.safetensors").read_bytes()


@pytest.mark.parametrize("half", [False, True])
def test_weights_stay_as_they_are_stored(tmp_path, half):
    source = tmp_path / "source"
    new_model().half().save_pretrained(source)
    fixed_tokenizer("wordpiece").save_pretrained(source)
    (source / "model.safetensors").chmod(0o444)
    save_calibrated(load(source, "cpu"), FOUND, tmp_path / "copy", half=half)
    assert weights_in(tmp_path / "copy") == weights_in(source)
    assert load(tmp_path / "copy", "cpu", "float32").model.thresholds == FAST.thresholds


def test_the_copy_has_a_card_of_its_own(tmp_path):
    source = save_model(tmp_path / "base")
    (source / "README.md").write_text("Of other thresholds it is said here that F1 is 99.")
    (source / "recipe.json").write_text("{}")
    for half in (False, True):
        output = tmp_path / f"copy {half}"
        save_calibrated(load(source, "cpu"), FOUND, output, half, {"quick": FOUND})
        card = (output / "README.md").read_text()
        assert "99" not in card
        assert "# base, calibrated" in card and "1,234 questions" in card
        assert "| nothing dropped | | 80.00 | 70.00 | 1.000 |" in card
        assert "| quick | at most 0.1 F1 lost, not reached | 79.50 | 69.25 | 1.500 |" in card
        assert (output / "recipe.json").read_text() == "{}"


def test_an_exported_graph_stays_with_the_weights_that_it_reads(tmp_path, caplog):
    source = save_model(tmp_path / "source", points={"slow": 0.1})
    graph = {"model.onnx": "graph", "model-int8.onnx": "another", "export.json": "what they were made for"}
    for name, text in graph.items():
        (source / name).write_text(text)
    save_calibrated(load(source, "cpu"), FOUND, tmp_path / "copy", points={"quick": FOUND})
    # What an export is checked by: its own files, the tokenizer, and the weights.
    for name in (*graph, "tokenizer.json", "model.safetensors"):
        assert (tmp_path / "copy" / name).read_bytes() == (source / name).read_bytes()
    before, after = (json.loads((folder / "config.json").read_text()) for folder in (source, tmp_path / "copy"))
    chosen = list(FAST.thresholds)
    assert after == {
        **before,
        "skim": {**before["skim"], "thresholds": chosen, "points": {"slow": 0.1, "quick": chosen}},
    }
    assert "no exported graph" not in caplog.text
    save_calibrated(load(source, "cpu"), FOUND, tmp_path / "half", half=True)
    assert not graph.keys() & {path.name for path in (tmp_path / "half").iterdir()}
    assert "no exported graph" in caplog.text


def test_an_int8_graph_that_keeps_its_own_thresholds_is_told_of(tmp_path, caplog, monkeypatch):
    source = save_model(tmp_path / "source")
    (source / "export.json").write_text("{}")
    save_calibrated(load(source, "cpu"), FOUND, tmp_path / "none", points={"quick": FOUND})
    assert "int8" not in caplog.text + (tmp_path / "none" / "README.md").read_text()
    manifest = SimpleNamespace(int8_settings={"thresholds": [0.1, 0.1], "points": {}})
    monkeypatch.setattr(calibrated_copy, "read_manifest", lambda directory: manifest)
    save_calibrated(load(source, "cpu"), FOUND, tmp_path / "copy", points={"quick": FOUND})
    assert (
        "int8 graph of the copy keeps thresholds of its own and does not get the new ones (default, quick)"
        in caplog.text
    )
    assert "The int8 graph keeps thresholds of its own" in (tmp_path / "copy" / "README.md").read_text()


@pytest.mark.parametrize("half", [False, True])
def test_of_a_model_of_the_hub_papers_and_earlier_points_stay_too(tmp_path, half):
    snapshot = tmp_path / "hub" / "models--ann--reader" / "snapshots" / ("a" * 40)
    (snapshot.parents[1] / "refs").mkdir(parents=True)
    (snapshot.parents[1] / "refs" / "main").write_text(snapshot.name)
    save_model(snapshot, points={"slow": 0.1})
    (snapshot / "README.md").write_text("---\nlicense: mit\n---\n# Reader\n")
    (snapshot / "recipe.json").write_text("{}")
    (snapshot / DATA_FILE).write_text(records_text([DataRecord({"kites.json": 9}, 0, {})]))
    (snapshot / "calibration.json").write_text(json.dumps({"points": point_summaries({"slow": FOUND})}))
    hub = {"cache_dir": str(tmp_path / "hub"), "local_files_only": True}
    save_calibrated(load("ann/reader", "cpu", **hub), FOUND, tmp_path / "copy", half, {"quick": FOUND})
    copy = tmp_path / "copy"
    assert list(read_calibration(copy)["points"]) == ["slow", "quick"]
    assert (copy / "recipe.json").read_text() == "{}"
    assert data_records(copy) == data_records(snapshot)
    card = (copy / "README.md").read_text()
    assert "license: mit" in card and "trained on kites.json" in card
    assert "| slow | at most 0.1 F1 lost, not reached; of before | 79.50 | 69.25 | 1.500 |" in card
