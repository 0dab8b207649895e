import json

import pytest

from cli_data import squad
from tiny_answerers import TEXT


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "data.json"
    path.write_text(json.dumps(squad(3, 4)))
    return path


CONTRACT = {
    "exact_match",
    "f1",
    "examples",
    "windows",
    "flops_per_example",
    "dense_flops_per_example",
    "padded_flops_per_example",
    "flops_speedup",
    "flops_speedup_padded",
    "seconds",
    "kept_by_layer",
    "predictor",
}


def test_json_has_the_shape_of_the_contract(call, model, data):
    code, out, err = call("evaluate", "--data", data, "--model", model, "--max-length", 150, "--json")
    assert (code, err) == (0, "")
    values = json.loads(out)
    assert set(values) >= CONTRACT
    assert values["examples"] == 12
    assert len(values["kept_by_layer"]) == 3
    assert [row["layer"] for row in values["predictor"]] == [1, 2]
    assert set(values["predictor"][0]) == {"layer", "precision", "recall", "kept"}
    assert values["flops_speedup"] == values["dense_flops_per_example"] / values["flops_per_example"] > 1


def test_dense(call, model, data):
    values = json.loads(call("evaluate", "--data", data, "--model", model, "--max-length", 150, "--dense", "--json")[1])
    assert values["flops_speedup"] == 1.0
    assert values["predictor"] == []


def test_compared_with_dense(call, model, data):
    common = ("evaluate", "--data", data, "--model", model, "--max-length", 150, "--json")
    values = json.loads(call(*common, "--compare-dense", "--batch-size", 2)[1])
    assert set(values) >= {*CONTRACT, "dense", "wall_speedup"}
    assert set(values["dense"]) == {"exact_match", "f1", "seconds"}
    assert values["wall_speedup"] > 0
    dense = json.loads(call(*common, "--dense")[1])
    assert values["dense"]["f1"] == dense["f1"]


def test_limit_takes_the_first_examples_and_predictions_are_written(call, model, data, tmp_path):
    path = tmp_path / "predictions.json"
    code, out, _ = call(
        "evaluate", "--data", data, "--model", model, "--max-length", 150, "--limit", 4, "--predictions", path, "--json"
    )
    assert code == 0
    assert json.loads(out)["examples"] == 4
    predictions = json.loads(path.read_text())
    assert list(predictions) == ["q0-0", "q0-1", "q0-2", "q1-0"]
    assert all(text in TEXT for text in predictions.values())


def test_held_out_articles_are_those_that_training_leaves_out(call, model, data):
    from blockskim.data.reading import read_examples
    from blockskim.data.splitting import split_by_article

    expected = split_by_article(read_examples(data), 0.5, 0)[1]
    assert 0 < len(expected) < 12
    values = json.loads(
        call("evaluate", "--data", data, "--hold-out", 0.5, "--model", model, "--max-length", 150, "--json")[1]
    )
    assert values["examples"] == len(expected)


def test_people_see_tables(call, model, data):
    code, out, err = call("evaluate", "--data", data, "--model", model, "--max-length", 150, "--compare-dense")
    assert (code, err) == (0, "")
    for words in ("exact match", "12 examples", "dense, padded to 150", "recall", "by the clock"):
        assert words in out


def test_files_that_can_not_be_scored_together(call, model, data, tmp_path):
    again = tmp_path / "again.json"
    again.write_text(json.dumps(squad(1)))
    code, _, err = call("evaluate", "--data", data, again, "--model", model)
    assert code == 1
    assert "question id 'q0-0' is in two of the files" in err


def test_several_files_are_scored_each_by_its_own_rules_and_together(call, model, data, tmp_path):
    hotpot = tmp_path / "hotpot.json"
    record = {"_id": "h", "question": "Where?", "answer": "Wales", "supporting_facts": [["T", 0]]}
    hotpot.write_text(json.dumps([record | {"context": [["T", ["It nests in Wales.", "It eats."]]]}]))
    common = ("--model", model, "--max-length", 150, "--json")
    code, out, _ = call("evaluate", "--data", data, "--data", hotpot, *common)
    assert code == 0
    values = json.loads(out)
    files = values["files"]
    assert set(files) == {"data.json", "hotpot.json"}
    assert "joint_f1" in files["hotpot.json"]
    assert values["f1"] == pytest.approx((12 * files["data.json"]["f1"] + files["hotpot.json"]["f1"]) / 13)
    alone = json.loads(call("evaluate", "--data", data, *common)[1])
    assert files["data.json"]["f1"] == pytest.approx(alone["f1"])
    assert "files" not in alone
    shown = call("evaluate", "--data", data, "--data", hotpot, "--model", model, "--max-length", 150)[1]
    assert "hotpot.json: exact match" in shown


def test_supporting_facts_are_scored_shown_and_written(call, model, tmp_path):
    hotpot, written = tmp_path / "hotpot.json", tmp_path / "predictions.json"
    record = {"_id": "h", "question": "Where?", "answer": "Wales", "supporting_facts": [["T", 0]]}
    hotpot.write_text(json.dumps([record | {"context": [["T", ["It nests in Wales.", "It eats."]]]}]))
    arguments = ("evaluate", "--data", hotpot, "--model", model, "--max-length", 150, "--predictions", written)
    code, out, _ = call(*arguments)
    assert code == 0
    assert "supporting facts: exact match" in out
    assert set(json.loads(written.read_text())) == {"answer", "sp"}
    assert json.loads(written.read_text())["sp"]["h"][0][0] == "T"


def test_wrong_records_are_left_out_where_that_is_wanted(call, model, data, tmp_path):
    content = json.loads(data.read_text())
    content["data"][0]["paragraphs"][0]["qas"][0]["answers"] = 7
    data.write_text(json.dumps(content))
    arguments = ("evaluate", "--data", data, "--model", model, "--max-length", 150, "--json")
    code, _, err = call(*arguments)
    assert code == 1
    assert "question 'q0-0': 'answers' must be a list, is a whole number" in err
    code, out, err = call(*arguments, "--skip-bad")
    assert code == 0
    assert json.loads(out)["examples"] == 11
    assert "1 wrong record left out" in err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--data", "nowhere.json"], 1, "nowhere.json: no such file"),
        ([], 2, "Missing option"),
        (["--data", "DATA", "--limit", "0"], 2, "--limit"),
        (["--data", "DATA", "--dense", "--threshold", "0.5"], 2, "--threshold"),
        (["--data", "DATA", "--dense", "--compare-dense"], 2, "--compare-dense"),
        (["--data", "DATA", "--predictions", "/nowhere/p.json"], 2, "there is no directory /nowhere"),
        (["--data", "DATA", "--hold-out", "0.0"], 1, "none of 12 examples is held out"),
        (["--data", "DATA", "--hold-out", "2"], 2, "--hold-out"),
        (["--data", "DATA", "--format", "docx"], 2, "--format"),
        (["--data", "DATA", "--format", "mrqa"], 1, "data.json"),
        (["--data", "DATA", "--model", "./nowhere"], 1, "no such model directory"),
    ],
)
def test_bad_input(call, data, arguments, code, message):
    found, out, err = call("evaluate", *(data if argument == "DATA" else argument for argument in arguments))
    assert (found, out) == (code, "")
    assert message in err
    if code == 1:
        assert err.startswith("error: ") and err.count("\n") == 1


def test_an_operating_point_is_evaluated(call, pointed, data):
    common = ("evaluate", "--data", data, "--model", pointed, "--max-length", 150, "--dtype", "float32", "--json")
    own, exact, fast = (
        json.loads(call(*common, *more)[1])["flops_speedup"] for more in ((), ("--point", "exact"), ("--point", "fast"))
    )
    assert exact == 1.0 < own < fast
    compared = json.loads(call(*common, "--point", "fast", "--compare-dense")[1])
    assert compared["flops_speedup"] == pytest.approx(fast)


def test_points_that_can_not_be_are_usage_errors(call, pointed, plain, data):
    common = ("evaluate", "--data", data, "--max-length", 150)
    code, _, err = call(*common, "--model", pointed, "--point", "faster")
    assert code == 2
    assert "exact, fast" in err
    for model, more in ((pointed, ("--threshold", 0.5)), (pointed, ("--dense",)), (plain, ())):
        assert call(*common, "--model", model, "--point", "fast", *more)[0] == 2


def test_data_without_answers_is_not_scored_and_no_error(call, model, data, tmp_path):
    content = json.loads(data.read_text())
    for article in content["data"]:
        for item in article["paragraphs"][0]["qas"]:
            del item["answers"]
    bare, written = tmp_path / "bare.json", tmp_path / "predictions.json"
    bare.write_text(json.dumps(content))
    common = ("--model", model, "--max-length", 150, "--predictions", written)
    code, out, err = call("evaluate", "--data", bare, *common, "--json")
    assert code == 0
    assert "bare.json: its questions have no answers, so there is nothing to score" in err
    values = json.loads(out)
    assert set(values) >= CONTRACT
    assert (values["exact_match"], values["f1"], values["total"], values["examples"]) == (None, None, 12, 12)
    assert {(row["precision"], row["recall"]) for row in values["predictor"]} == {(None, None)}
    assert len(json.loads(written.read_text())) == 12
    code, out, err = call("evaluate", "--data", bare, *common, "--compare-dense")
    assert code == 0
    assert out.count("not scored") == 2
    # The same of data with answers, where that is wanted.
    code, out, err = call("evaluate", "--data", data, *common, "--no-score", "--json")
    assert code == 0
    assert "warning" not in err
    unscored = json.loads(out)
    for name in ("exact_match", "f1", "total", "flops_per_example", "kept_by_layer", "predictor"):
        assert unscored[name] == values[name]


def test_a_file_without_answers_beside_others(call, model, data, tmp_path):
    bare = tmp_path / "bare.json"
    bare.write_text(json.dumps([{"id": 1, "question": "Where?", "context": TEXT}]))
    common = ("--model", model, "--max-length", 150, "--json")
    code, out, err = call("evaluate", "--data", data, bare, *common)
    assert code == 0
    values = json.loads(out)
    assert values["files"]["bare.json"]["f1"] is None
    assert values["f1"] == values["files"]["data.json"]["f1"] is not None
    assert "warning: bare.json" in err


@pytest.mark.parametrize("command", ["calibrate", "sweep", "prune-heads", "train"])
def test_commands_that_need_answers_say_so(call, model, tmp_path, command):
    bare = tmp_path / "bare.json"
    bare.write_text(json.dumps([{"id": n, "question": "Where?", "context": f"{TEXT} {n}"} for n in range(9)]))
    options = {
        "calibrate": ("--data", bare, "--max-f1-drop", 1, "--model", model, "--output", tmp_path / "x"),
        "sweep": ("--data", bare, "--model", model, "--thresholds", "0.5"),
        "prune-heads": ("--data", bare, "--total", 1, "--model", model, "--output", tmp_path / "x"),
        "train": ("--train", bare, "--dev", bare, "--base", model, "--output", tmp_path / "x"),
    }
    code, out, err = call(command, *options[command])
    assert (code, out) == (1, "")
    assert (
        err == "error: bare.json: its questions have no answers, which are needed here; blockskim predict finds some\n"
    )


def test_a_limit_may_be_larger_than_the_file_and_not_larger_than_any(call, model, data):
    arguments = ("evaluate", "--data", data, "--model", model, "--max-length", 150, "--json")
    code, out, err = call(*arguments, "--limit", 10**9)
    assert code == 0
    assert "warning" not in err
    assert json.loads(out)["examples"] == 12
    code, out, err = call(*arguments, "--limit", 99999999999999999999999)
    assert (code, out) == (2, "")
    assert "--limit" in err and "99999999999999999999999 is too large" in err


def test_predictions_of_squad_2_score_as_the_command_says(call, model, tmp_path):
    data, written = tmp_path / "data.json", tmp_path / "predictions.json"
    content = squad(8)
    for item in content["data"][0]["paragraphs"][0]["qas"][::2]:
        item["answers"], item["is_impossible"] = [], True
    data.write_text(json.dumps(content))
    arguments = ("--data", data, "--model", model, "--max-length", 150, "--predictions", written, "--json")
    values = json.loads(call("evaluate", *arguments)[1])
    found = json.loads(written.read_text())
    texts = {
        item["id"]: item["answers"][0]["text"] if item["answers"] else ""
        for item in content["data"][0]["paragraphs"][0]["qas"]
    }
    exact = [found[name] == text for name, text in texts.items()]
    assert values["exact_match"] == pytest.approx(100 * sum(exact) / len(exact))


def test_the_reliability_of_confidence_is_told(call, confident, model, data):
    usual = ("evaluate", "--data", data, "--max-length", 150)
    values = json.loads(call(*usual, "--model", confident, "--json")[1])["confidence"]
    assert 0 <= values["expected_calibration_error"] <= 1
    assert sum(part["count"] for part in values["bins"]) == 12
    assert "confidence" not in json.loads(call(*usual, "--model", model, "--json")[1])
    _, out, _ = call(*usual, "--model", confident, "--compare-dense")
    assert f"expected calibration error of the confidence: {values['expected_calibration_error']:.3f}" in out


def test_questions_of_squad_2_have_no_answer_above_a_threshold(call, confident, tmp_path):
    content = squad(3, 4) | {"version": "v2.0"}
    path = tmp_path / "data.json"
    path.write_text(json.dumps(content))
    usual = ("--data", path, "--max-length", 150, "--model", confident)
    declined, given = ((), ("--no-answer-threshold", 1))
    for way, none in ((declined, True), (given, False)):
        out_path = tmp_path / f"{none}.json"
        assert call("evaluate", *usual, *way, "--predictions", out_path)[0] == 0
        assert all((text == "") == none for text in json.loads(out_path.read_text()).values())
        other = tmp_path / f"{none}-predicted.json"
        assert call("predict", *usual, *way, "--predictions", other)[0] == 0
        assert other.read_text() == out_path.read_text()


def test_a_bound_of_the_cost(call, model, data):
    usual = ("evaluate", "--data", data, "--max-length", 150, "--model", model)
    values = json.loads(call(*usual, "--max-cost", 0.6, "--json")[1])
    assert values["flops_per_example"] <= 0.6 * values["dense_flops_per_example"]
    code, out, err = call(*usual, "--max-cost", 0.6, "--compare-dense")
    assert (code, out) == (2, "")
    assert "--compare-dense has no bound" in err
    assert call(*usual, "--max-cost", 2)[0] == 2


def test_a_threshold_for_no_answer_that_changes_nothing_is_told_of(call, model, data):
    arguments = ("evaluate", "--data", data, "--model", model, "--max-length", 150, "--no-answer-threshold", 0.3)
    assert call(*arguments)[2].startswith("warning: --no-answer-threshold changes nothing")
