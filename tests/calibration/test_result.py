"""The copy of a model that a calibration is written into."""

import json

import pytest

from blockskim.calibration.calibrate import calibrate_points
from blockskim.calibration.result import read_calibration, save_calibrated
from blockskim.calibration.targets import Target
from blockskim.errors import ModelError
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
