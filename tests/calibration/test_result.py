"""What ``calibration.json`` of a model says."""

import pytest

from blockskim.calibration import calibrate as calibration
from blockskim.calibration.result import read_calibration
from blockskim.calibration.settings import CalibrationSettings
from blockskim.calibration.targets import Target
from blockskim.errors import ModelError
from blockskim.inference.loading import LoadedModel
from tiny_answerers import new_model, save_model
from tiny_tokenizers import fixed_tokenizer


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
