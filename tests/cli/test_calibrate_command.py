import json
from pathlib import Path

import pytest
import torch
from cli_data import squad
from safetensors.torch import load_file

from blockskim.training import calibration


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "data.json"
    path.write_text(json.dumps(squad(3, 4)))
    return path


def arguments(data, model, output, *more):
    return ("calibrate", "--data", data, "--model", model, "--output", output, "--max-length", 150, *more)


def test_a_copy_of_the_model_gets_the_thresholds(call, model, data, tmp_path):
    output = tmp_path / "calibrated"
    code, out, _ = call(*arguments(data, model, output, "--max-f1-drop", 100, "--dtype", "float32", "--json"))
    assert code == 0
    values = json.loads(out)
    assert values["satisfied"]
    assert values["chosen"]["flops_speedup"] >= 1
    assert json.loads((output / "config.json").read_text())["skim"]["thresholds"] == values["chosen"]["thresholds"]
    assert json.loads((output / "calibration.json").read_text())["front"] == values["front"]
    before, after = load_file(Path(model) / "model.safetensors"), load_file(output / "model.safetensors")
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    evaluated = ("evaluate", "--data", data, "--model", output, "--max-length", 150, "--dtype", "float32", "--json")
    again = json.loads(call(*evaluated)[1])
    assert again["flops_speedup"] == pytest.approx(values["chosen"]["flops_speedup"])


def test_the_overhead_of_asking_a_layer_is_passed_on(call, model, data, tmp_path, monkeypatch):
    asked = []
    calibrate = calibration.calibrate

    def watching(*given, **settings):
        asked.append(settings["overhead"])
        return calibrate(*given, **settings)

    monkeypatch.setattr(calibration, "calibrate", watching)
    wish = ("--max-f1-drop", 100, "--json")
    for index, more in enumerate([(), ("--overhead", 1), ("--overhead", 0)]):
        code, out, _ = call(*arguments(data, model, tmp_path / str(index), *wish, *more))
        assert code == 0
        if index == 1:  # nothing saves as much as that
            assert not any(json.loads(out)["chosen"]["thresholds"])
    assert asked == [calibration.OVERHEAD, 1.0, 0.0]
    for impossible in (-0.1, 1.1):
        assert call(*arguments(data, model, tmp_path / "never", *wish, "--overhead", impossible))[0] == 2


def test_half_stores_float16(call, model, data, tmp_path):
    assert call(*arguments(data, model, tmp_path / "half", "--max-f1-drop", 100, "--half", "--quiet"))[0] == 0
    weights = load_file(tmp_path / "half" / "model.safetensors")
    assert {value.dtype for value in weights.values() if value.is_floating_point()} == {torch.float16}


def test_a_wish_that_can_not_be_met_exits_with_1_and_writes_the_nearest(call, model, data, tmp_path):
    code, _, err = call(*arguments(data, model, tmp_path / "fast", "--target-speedup", 1000))
    assert code == 1
    assert "nearest" in err
    assert (tmp_path / "fast" / "config.json").is_file()


@pytest.mark.parametrize(
    "more", [(), ("--max-f1-drop", 1, "--target-speedup", 2), ("--max-f1-drop", -1), ("--target-speedup", 0.5)]
)
def test_impossible_wishes_are_usage_errors(call, model, data, tmp_path, more):
    assert call(*arguments(data, model, tmp_path / "out", *more))[0] == 2
    assert not (tmp_path / "out").exists()


def test_nothing_is_overwritten(call, model, data):
    code, _, err = call(*arguments(data, model, model, "--max-f1-drop", 1))
    assert code == 2
    assert "exists" in err
