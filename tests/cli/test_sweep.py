import importlib.util
import json
import sys

import pytest

from blockskim.evaluation import run_key
from blockskim.evaluation import sweep as sweeping
from blockskim.evaluation.sweep_files import sweep_folder
from cli_data import squad

HAS_MATPLOTLIB = importlib.util.find_spec("matplotlib") is not None


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "data.json"
    path.write_text(json.dumps(squad(3, 2)))
    return path


def arguments(data, model, *more):
    return ("sweep", "--data", data, "--model", model, "--max-length", 150, "--dtype", "float32", *more)


def test_one_threshold_in_all_layers(call, model, data):
    code, out, err = call(*arguments(data, model, "--thresholds", "0,0.5", "--json"))
    assert (code, err) == (0, "")
    values = json.loads(out)
    assert [(row["kind"], row["name"]) for row in values["records"]] == [
        ("dense", "dense"),
        ("threshold", "0"),
        ("threshold", "0.5"),
    ]
    assert values["records"][2]["flops_speedup"] > 1
    assert values["records"][2]["wall_speedup"] is None
    assert {peer["name"] for peer in values["peers"]} >= {"DeFormer"}
    code, out, _ = call(*arguments(data, model, "--thresholds", "0,0.5"))
    assert code == 0
    assert "padded" in out
    assert f"{values['records'][2]['flops_speedup']:.3f}" in out


def test_operating_points_by_the_clock(call, pointed, data):
    rows = json.loads(call(*arguments(data, pointed, "--calibrated", "--seconds", "--json"))[1])["records"]
    assert [row["name"] for row in rows] == ["dense", "exact", "fast", "own"]
    assert rows[2]["wall_speedup"] > 0
    assert rows[1]["flops_speedup"] == 1.0


def test_the_front_of_a_calibration(call, model, data, tmp_path):
    copy = tmp_path / "copy"
    common = ("calibrate", "--data", data, "--model", model, "--max-length", 150, "--output", copy)
    assert call(*common, "--point", "fast=100")[0] == 0
    stored = copy / "calibration.json"
    stored.write_text(json.dumps(json.loads(stored.read_text()) | {"front": [{"thresholds": [0.3, 0.6]}]}))
    rows = json.loads(call(*arguments(data, copy, "--calibrated", "--json"))[1])["records"]
    assert ("front", [0.3, 0.6]) in [(row["kind"], row["thresholds"]) for row in rows]
    stored.write_text("{")
    code, _, err = call(*arguments(data, copy, "--calibrated"))
    assert code == 1
    assert "damaged" in err


def test_results_are_written_and_nothing_is_overwritten(call, model, data, tmp_path):
    output = tmp_path / "new" / "results"
    run = arguments(data, model, "--thresholds", "0.5", "--output", output, "--no-plot", "--json")
    code, out, _ = call(*run)
    assert code == 0
    assert json.loads((output / "sweep.json").read_text()) == json.loads(out)
    assert [path.name for path in output.iterdir()] == ["sweep.json"]
    code, _, err = call(*run)
    assert code == 2
    assert "another" in err
    assert call(*arguments(data, model, "--thresholds", "0.5", "--output", data, "--no-plot"))[0] == 2


def test_a_killed_sweep_goes_on(call, model, data, tmp_path, monkeypatch):
    evaluate, runs = sweeping.evaluate_windows, []

    def killed(*given, **settings):
        runs.append(given[3])
        if len(runs) == 3:
            raise KeyboardInterrupt
        return evaluate(*given, **settings)

    monkeypatch.setattr(sweeping, "evaluate_windows", killed)
    run = arguments(data, model, "--thresholds", "0.3,0.5", "--output", tmp_path / "out", "--no-plot", "--json")
    assert call(*run)[0] == 130
    code, out, err = call(*run)
    assert (code, err) == (0, "")
    assert runs == [(0.0, 0.0), (0.3, 0.3), (0.5, 0.5), (0.5, 0.5)]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["sweep.json"]
    whole = json.loads(call(*arguments(data, model, "--thresholds", "0.3,0.5", "--json"))[1])
    assert json.loads(out) == whole


def test_what_a_killed_run_left_damaged_is_measured_anew(call, model, data, tmp_path, monkeypatch):
    monkeypatch.setattr(run_key, "run_key", lambda *_: "key")
    (tmp_path / "sweep.partial.key.json").write_text('{"key": ')
    code, _, err = call(*arguments(data, model, "--thresholds", "0.5", "--output", tmp_path, "--no-plot"))
    assert code == 0
    assert "anew" in err


def test_a_folder_in_which_another_sweep_is_at_work_is_refused(call, model, data, tmp_path):
    pytest.importorskip("fcntl")
    with sweep_folder(tmp_path / "out"):
        code, out, err = call(*arguments(data, model, "--thresholds", "0.5", "--output", tmp_path / "out", "--no-plot"))
    assert (code, out) == (2, "")
    assert f"error: another run is writing into {tmp_path / 'out'}" in err
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.skipif(not HAS_MATPLOTLIB, reason="needs matplotlib")
def test_plots(call, model, data, tmp_path):
    assert call(*arguments(data, model, "--thresholds", "0,0.5", "--seconds", "--output", tmp_path / "out"))[0] == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["flops.png", "seconds.png", "sweep.json"]


def test_without_matplotlib_it_is_said_at_once(call, model, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    code, _, err = call(*arguments("nowhere.json", model, "--thresholds", "0.5", "--output", tmp_path))
    assert code == 2
    assert "blockskim[plot]" in err


@pytest.mark.parametrize("more", [(), ("--thresholds", "a,b"), ("--thresholds", "2"), ("--thresholds", "")])
def test_impossible_ranges_are_usage_errors(call, model, data, more):
    assert call(*arguments(data, model, *more))[0] == 2


def test_a_plain_checkpoint_has_nothing_to_sweep(call, plain, data):
    code, _, err = call(*arguments(data, plain, "--thresholds", "0.5"))
    assert code == 2
    assert "plain" in err
