"""The copy of a model that a calibration is written into."""

import json

import pytest

from blockskim.calibration import calibrate as calibration
from blockskim.calibration.calibrate import calibrate_points
from blockskim.calibration.points import Point
from blockskim.calibration.result import Calibration, read_calibration, save_calibrated
from blockskim.calibration.settings import CalibrationSettings
from blockskim.calibration.targets import Target
from blockskim.errors import ModelError
from blockskim.inference.loading import LoadedModel, load
from tiny_answerers import new_model, save_model
from tiny_tokenizers import fixed_tokenizer


def test_points_of_the_source_stay_beside_the_new_ones(windows, tmp_path):
    targets = {"exact": Target(max_f1_drop=1.0), "fast": Target(max_f1_drop=20.0), "bold": Target(target_speedup=1.2)}
    source = save_model(tmp_path / "source", points={"old": 0.3, "fast": 0.1})
    (source / "calibration.json").write_text(json.dumps({"points": {"old": {"target": "of long ago"}}}))
    found = calibrate_points(new_model(), windows, targets, overhead=0.0, points=2)
    save_calibrated(load(source, "cpu"), found["fast"], tmp_path / "copy", points=found)
    settings = json.loads((tmp_path / "copy" / "config.json").read_text())["skim"]
    thresholds = {name: list(result.chosen.thresholds) for name, result in found.items()}
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
        assert "| none, all is read | | 80.00 | 70.00 | 1.000 |" in card
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


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    ["", "5", "[]", "[" * 100_000, '{"points": 5}', '{"front": 5}', '{"front": [5]}', '{"front": [{}]}', "\xff"],
)
def test_a_damaged_record_is_told_of_before_the_long_part(windows, tmp_path, text, monkeypatch):
    source = save_model(tmp_path / "source")
    (source / "calibration.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ModelError, match=r"source/calibration\.json is damaged: "):
        read_calibration(source)
    monkeypatch.setattr(calibration, "run_calibration", None)
    loaded = LoadedModel(new_model(), fixed_tokenizer("wordpiece"), str(source))
    targets = {"fast": Target(max_f1_drop=20.0)}
    with pytest.raises(ModelError, match=r"source/calibration\.json is damaged: "):
        calibration.calibrate_copy(loaded, windows, targets, tmp_path / "copy", CalibrationSettings())
    assert not (tmp_path / "copy").exists()
