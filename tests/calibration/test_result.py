"""The copy of a model that a calibration is written into."""

import json

import pytest

from blockskim.calibration import calibrate as calibration
from blockskim.calibration.calibrate import calibrate_points
from blockskim.calibration.result import read_calibration, save_calibrated
from blockskim.calibration.settings import CalibrationSettings
from blockskim.calibration.targets import Target
from blockskim.errors import ModelError
from blockskim.inference.loading import LoadedModel
from tiny_answerers import new_model, save_model
from tiny_tokenizers import fixed_tokenizer


def test_points_of_the_source_stay_beside_the_new_ones(windows, tmp_path):
    targets = {"exact": Target(max_f1_drop=1.0), "fast": Target(max_f1_drop=20.0), "bold": Target(target_speedup=1.2)}
    source = save_model(tmp_path / "source", points={"old": 0.3, "fast": 0.1})
    (source / "calibration.json").write_text(json.dumps({"points": {"old": {"target": "of long ago"}}}))
    found = calibrate_points(new_model(), windows, targets, overhead=0.0, points=2)
    save_calibrated(source, fixed_tokenizer("wordpiece"), found["fast"], tmp_path / "copy", points=found)
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
