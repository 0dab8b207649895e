"""``blockskim calibrate-confidence``."""

import json

import pytest

from blockskim.inference.loading import load
from cli_data import squad

SHORT = ("--max-length", 150)


@pytest.fixture
def data(call, model, tmp_path):
    """Questions of which some are answered rightly, some wrongly, and some have no answer."""
    content = squad(6, 12)
    path = tmp_path / "data.json"
    path.write_text(json.dumps(content))
    predictions = tmp_path / "predictions.json"
    assert call("predict", "--data", path, "--model", model, *SHORT, "--predictions", predictions)[0] == 0
    found = json.loads(predictions.read_text())
    for article in content["data"]:
        context = article["paragraphs"][0]["context"]
        for number, question in enumerate(article["paragraphs"][0]["qas"]):
            text = found[question["id"]]
            if number % 3 == 0:
                question["answers"] = [{"text": text, "answer_start": context.index(text)}]
            if number % 3 == 1:
                question |= {"answers": [], "is_impossible": True}
    path.write_text(json.dumps(content | {"version": "v2.0"}))
    return path


def test_a_copy_gives_each_answer_a_confidence(call, model, data, document, tmp_path):
    output = tmp_path / "out"
    usual = ("calibrate-confidence", "--data", data, "--model", model, *SHORT, "--output", output)
    code, out, err = call(*usual, "--json", "--device", "cpu", "--dtype", "float32")
    assert (code, err) == (0, "")
    values = json.loads(out)
    assert (values["right_answers"], values["wrong_answers"], values["without_answer"]) == (24, 24, 24)
    assert values["output"] == str(output)
    confidence = load(output).model.confidence
    assert list(confidence.right) == values["right"]
    assert confidence.no_answer_threshold == values["no_answer_threshold"]
    [found] = json.loads(call("answer", "-q", "Who?", "-f", document, "--model", output, "--json")[1])[0]["answers"]
    assert 0 <= found["confidence"] <= 1
    code, out, err = call(*usual)
    assert (code, out) == (2, "")
    assert "exists already" in err


def test_the_share_without_an_answer_in_use_may_be_another(call, model, data, tmp_path):
    usual = ("calibrate-confidence", "--data", data, "--model", model, *SHORT, "--device", "cpu", "--dtype", "float32")
    found = []
    for number, more in enumerate([(), ("--no-answer-share", 0.01)]):
        code, out, err = call(*usual, "--output", tmp_path / str(number), "--json", *more)
        assert (code, err) == (0, "")
        found.append(json.loads(out)["none"])
    assert found[0][0] > found[1][0] and found[0][1:] == found[1][1:]
    code, out, err = call(*usual, "--output", tmp_path / "two", "--no-answer-share", 2)
    assert (code, out) == (2, "") and "no_answer_share is 2.0" in err


def test_people_are_told_what_came_out(call, model, data, tmp_path):
    usual = ("calibrate-confidence", "--data", data, "--model", model, *SHORT, "--device", "cpu", "--dtype", "float32")
    code, out, err = call(*usual, "--output", tmp_path / "out")
    assert (code, err) == (0, "")
    assert out.startswith("24 right answers, 24 wrong ones, 24 questions without an answer; expected calibration error")
    assert call(*usual, "--output", tmp_path / "other", "--quiet") == (0, "", "")


def test_data_without_unanswerable_questions_are_refused_before_they_are_read(call, model, tmp_path):
    path = tmp_path / "data.json"
    # One text alone: there is none that its questions could be asked of.
    path.write_text(json.dumps(squad(60)))
    usual = ("calibrate-confidence", "--data", path, "--model", model, *SHORT, "--output", tmp_path / "out")
    for more in ((), ("--elsewhere", "1")):
        code, out, err = call(*usual, *more)
        assert (code, out) == (1, "")
        assert "at least 20 of each; of these data 60 questions have an answer and 0 have none" in err
        assert "calibrating" not in err
        assert ("60 questions were to be asked" in err and "but none is" in err) == bool(more)
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["calibrate-confidence", "calibrate-evidence"])
def test_a_plain_checkpoint_is_refused_before_anything_is_read(call, plain, tmp_path, command):
    data = tmp_path / "data.json"
    data.write_text(json.dumps(squad(1, 1)))
    code, out, err = call(command, "--data", data, "--model", plain, "--output", tmp_path / "out")
    assert (code, out) == (1, "")
    assert "is no Block-Skim model" in err and "reading" not in err and "calibrating" not in err
    assert not (tmp_path / "out").exists()
