import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from blockskim.calibration import calibrate as calibration
from blockskim.calibration import confirm as confirming
from blockskim.calibration.settings import OVERHEAD
from cli_data import squad


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "data.json"
    path.write_text(json.dumps(squad(3, 4)))
    return path


@pytest.fixture
def answered(call, model, data, tmp_path):
    """Data in which the answers of the model are right, so that there is something to lose."""
    values, found = json.loads(data.read_text()), tmp_path / "found.json"
    common = ("evaluate", "--data", data, "--model", model, "--max-length", 150, "--dtype", "float32", "--json")
    assert call(*common, "--dense", "--predictions", found)[0] == 0
    answers = json.loads(found.read_text())
    for article in values["data"]:
        for paragraph in article["paragraphs"]:
            for question in paragraph["qas"]:
                text = answers[question["id"]]
                question["answers"] = [{"text": text, "answer_start": paragraph["context"].index(text)}]
    path = tmp_path / "answered.json"
    path.write_text(json.dumps(values))
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


def test_questions_that_were_learned_from_are_warned_of(call, model, data, tmp_path):
    known = shutil.copytree(model, tmp_path / "model")
    record = {"train": {data.name: 12}, "elsewhere": 0, "development": {"other.json": 3}, "hold_out": 0.2}
    (known / "data.json").write_text(json.dumps([record]))
    code, _, err = call(*arguments(data, known, tmp_path / "calibrated", "--max-f1-drop", 100, "--json"))
    assert code == 0
    assert f"warning: {data.name}: the model learned from a file of this name" in err
    assert json.loads((tmp_path / "calibrated" / "data.json").read_text()) == [record]


def test_the_overhead_of_asking_a_layer_is_passed_on(call, model, data, tmp_path, monkeypatch):
    asked = []
    calibrate = calibration.run_calibration

    def watching(model, windows, targets, settings, *given):
        asked.append(settings.overhead)
        return calibrate(model, windows, targets, settings, *given)

    monkeypatch.setattr(calibration, "run_calibration", watching)
    target = ("--max-f1-drop", 100, "--json")
    for index, more in enumerate([(), ("--overhead", 1), ("--overhead", 0)]):
        code, out, _ = call(*arguments(data, model, tmp_path / str(index), *target, *more))
        assert code == 0
        if index == 1:  # nothing saves as much as that
            assert not any(json.loads(out)["chosen"]["thresholds"])
    assert asked == [OVERHEAD, 1.0, 0.0]
    for impossible in (-0.1, 1.1):
        assert call(*arguments(data, model, tmp_path / "never", *target, "--overhead", impossible))[0] == 2


def test_half_stores_float16(call, model, data, tmp_path):
    assert call(*arguments(data, model, tmp_path / "half", "--max-f1-drop", 100, "--half", "--quiet"))[0] == 0
    weights = load_file(tmp_path / "half" / "model.safetensors")
    assert {value.dtype for value in weights.values() if value.is_floating_point()} == {torch.float16}


def test_a_target_that_can_not_be_met_exits_with_1_and_writes_the_nearest(call, model, data, tmp_path):
    code, _, err = call(*arguments(data, model, tmp_path / "fast", "--target-speedup", 1000))
    assert code == 1
    assert "nearest" in err
    assert (tmp_path / "fast" / "config.json").is_file()
    assert not (tmp_path / "fast.partial").exists()


@pytest.mark.parametrize(
    "more",
    [
        (),
        ("--max-f1-drop", 1, "--target-speedup", 2),
        ("--max-f1-drop", -1),
        ("--target-speedup", 0.5),
        ("--point", "fast"),
        ("--point", "fast=much"),
        ("--point", "fast=2x", "--max-f1-drop", 1),
        ("--point", "fast=2x", "--point", "fast=3x"),
        ("--point", "fast=2x", "--point", "exact"),
        ("--point", "-fast=2x"),
        ("--point", "fast=2x", "--default", "exact"),
        ("--default", "exact", "--max-f1-drop", 1),
        ("--max-answers-lost", 2),
        ("--max-f1-drop", 1, "--by", "seconds"),
        ("--point", "fast=1", "--by", "seconds"),
    ],
)
def test_impossible_targets_are_usage_errors(call, model, data, tmp_path, more):
    assert call(*arguments(data, model, tmp_path / "out", *more))[0] == 2
    assert not (tmp_path / "out").exists()


def test_nothing_is_overwritten(call, model, data):
    code, _, err = call(*arguments(data, model, model, "--max-f1-drop", 1))
    assert code == 2
    assert "exists" in err


def test_several_points_in_one_call(call, model, answered, tmp_path):
    output = tmp_path / "copy"
    targets = ("--point", "exact=0", "--point", "fast=100", "--point", "twice=1.05x", "--default", "fast")
    code, out, err = call(
        *arguments(answered, model, output, *targets, "--overhead", 0, "--dtype", "float32", "--json")
    )
    assert code == 0
    assert "12 examples can't vouch for a loss of at most 0 F1" in err
    values = json.loads(out)
    assert list(values["points"]) == ["exact", "fast", "twice"]
    settings = json.loads((output / "config.json").read_text())["skim"]
    assert settings["points"] == {name: point["chosen"]["thresholds"] for name, point in values["points"].items()}
    assert settings["thresholds"] == settings["points"]["fast"]
    assert values["chosen"] == values["points"]["fast"]["chosen"]
    assert json.loads(call("info", "--model", output, "--json")[1])["points"].keys() == values["points"].keys()
    # Calibrated once more, the copy keeps the points that are not named anew; the first given is the default.
    more = ("--point", "fast=0", "--overhead", 0, "--dtype", "float32")
    code, out, _ = call(*arguments(answered, output, tmp_path / "again", *more))
    assert code == 0
    assert "fast →" in out
    again = json.loads((tmp_path / "again" / "config.json").read_text())["skim"]
    assert again["points"] == settings["points"] | {"fast": settings["points"]["exact"]}
    assert again["thresholds"] == again["points"]["fast"]


def test_a_name_for_the_target_of_the_other_options(call, model, data, tmp_path):
    target = ("--point", "fast", "--max-f1-drop", 100, "--max-answers-lost", 0.5, "--overhead", 0)
    code, out, _ = call(*arguments(data, model, tmp_path / "copy", *target, "--json"))
    assert code == 0
    settings = json.loads((tmp_path / "copy" / "config.json").read_text())["skim"]
    assert settings["points"] == {"fast": settings["thresholds"]}
    assert json.loads(out)["points"]["fast"]["target"]["max_answers_lost"] == 0.5


def test_any_target_that_can_not_be_met_exits_with_1(call, model, answered, tmp_path):
    code, _, err = call(
        *arguments(answered, model, tmp_path / "copy", "--point", "fast=100", "--point", "faster=1000x")
    )
    assert code == 1
    assert "faster" in err
    assert "1000×" in err
    assert "target of fast " not in err
    assert list(json.loads((tmp_path / "copy" / "config.json").read_text())["skim"]["points"]) == ["fast", "faster"]


def test_by_seconds(call, model, answered, tmp_path):
    target = ("--target-speedup", 1000, "--by", "seconds", "--overhead", 0)
    code, out, err = call(*arguments(answered, model, tmp_path / "copy", *target))
    assert code == 1
    assert "1000× by seconds" in err
    assert "by seconds" in out


def test_a_killed_run_goes_on(call, model, answered, tmp_path, monkeypatch):
    output, partial = tmp_path / "copy", tmp_path / "copy.partial"
    evaluate, recorded = confirming.evaluate_windows, []
    record = calibration.record

    def killed(*given, **settings):
        raise KeyboardInterrupt

    def recording(*given, **settings):
        recorded.append(1)
        return record(*given, **settings)

    monkeypatch.setattr(calibration, "record", recording)
    monkeypatch.setattr(confirming, "evaluate_windows", killed)
    assert call(*arguments(answered, model, output, "--max-f1-drop", 100))[0] == 130
    assert partial.is_dir()
    assert not output.exists()
    monkeypatch.setattr(confirming, "evaluate_windows", evaluate)
    assert call(*arguments(answered, model, output, "--max-f1-drop", 100))[0] == 0
    assert recorded == [1]
    assert not partial.exists()


def test_without_optuna_the_plain_search_is_told_of(call, model, data, tmp_path, monkeypatch):
    monkeypatch.setattr("blockskim.extras.has", lambda package: False)
    code, _, err = call(*arguments(data, model, tmp_path / "copy", "--max-f1-drop", 100, "--refine", 10))
    assert code == 0
    assert "blockskim[calibrate]" in err
    assert "plain search alone" in err
