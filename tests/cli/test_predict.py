import json
import os

import pytest

from cli_data import squad
from tiny_answerers import TEXT


def without_answers(content):
    for article in content["data"]:
        for item in article["paragraphs"][0]["qas"]:
            del item["answers"]
    return content


@pytest.fixture
def save(tmp_path):
    def write(content, name="test.json"):
        path = tmp_path / name
        path.write_text(json.dumps(content))
        return path

    return write


@pytest.fixture
def predict(call, model, tmp_path):
    def run(*arguments):
        path = tmp_path / "out.json"
        code, out, err = call("predict", "--model", model, "--max-length", 150, "--predictions", path, *arguments)
        return code, out, err, json.loads(path.read_text()) if path.exists() else None

    return run


def test_answers_to_a_file_without_answers(predict, save, tmp_path):
    data = save(without_answers(squad(2, 2)))
    code, out, err, found = predict("--data", data, "--json")
    assert code == 0
    assert "warning" not in err
    values = json.loads(out)
    assert set(values) == {"examples", "windows", "seconds", "predictions"}
    assert (values["examples"], values["predictions"]) == (4, str(tmp_path / "out.json"))
    assert list(found) == ["q0-0", "q0-1", "q1-0", "q1-1"]
    assert all(text and text in TEXT for text in found.values())
    assert "4 examples" in predict("--data", data)[1]
    assert predict("--data", data, "--quiet")[:3] == (0, "", "")


@pytest.mark.slow
def test_the_answers_are_those_of_an_evaluation(call, model, predict, save, tmp_path):
    data, written = save(squad(3, 2)), tmp_path / "evaluated.json"
    for more in ((), ("--dense",), ("--threshold", 0.5), ("--limit", 2), ("--batch-size", 1)):
        arguments = ("--data", data, *more)
        call("evaluate", "--model", model, "--max-length", 150, *arguments, "--predictions", written)
        assert predict(*arguments)[3] == json.loads(written.read_text())


def test_what_the_file_says_of_answers_is_not_looked_at(predict, save):
    content = squad(3)
    questions = content["data"][0]["paragraphs"][0]["qas"]
    questions[0]["answers"] = 7
    del questions[1]["answers"]
    code, _, err, found = predict("--data", save(content))
    assert code == 0
    assert "warning" not in err
    assert len(found) == 3


def test_records_that_are_wrong_otherwise_are_errors_or_left_out(predict, save):
    content = without_answers(squad(3))
    content["data"][0]["paragraphs"][0]["qas"][1]["question"] = " "
    data = save(content)
    code, _, err, found = predict("--data", data)
    assert (code, found) == (1, None)
    assert "test.json: line 1, article 1 ('Article 0'), paragraph 1, question 'q0-1': the question is empty" in err
    code, _, err, found = predict("--data", data, "--skip-bad")
    assert (code, list(found)) == (0, ["q0-0", "q0-2"])
    assert "1 wrong record left out" in err


HOTPOT = {"question": "Where?", "context": [["T", ["It nests in Wales.", "It eats."]]]}
MRQA = {"context": TEXT, "qas": [{"qid": 4, "question": "Where?"}]}


def test_every_format_without_answers(predict, save):
    code, _, _, found = predict("--data", save([{"_id": "h", **HOTPOT}]))
    assert code == 0
    assert set(found) == {"answer", "sp"}
    assert found["answer"]["h"]
    assert found["sp"]["h"][0][0] == "T"
    dense = predict("--data", save([{"_id": "h", **HOTPOT}]), "--dense")[3]
    assert (set(dense["answer"]), dense["sp"]) == ({"h"}, {})
    assert set(predict("--data", save({"header": {}, "data": [MRQA]}))[3]) == {"4"}
    lines = save([], "lines.jsonl")
    lines.write_text(f"{json.dumps({'header': {}})}\n{json.dumps(MRQA)}\n")
    assert set(predict("--data", lines, "--format", "mrqa")[3]) == {"4"}
    flat = save([{"id": 7, "question": "Where?", "context": TEXT}], "flat.json")
    assert set(predict("--data", flat, lines)[3]) == {"7", "4"}


def test_no_answer_is_written_where_it_is_likelier_and_the_data_knows_it(call, save, tmp_path, monkeypatch):
    from blockskim.inference import answers

    monkeypatch.setattr(answers.AnswerCollector, "part", likelier_none(answers.AnswerCollector.part))
    for version, more, answered in (("1.1", (), True), ("v2.0", (), False), ("1.1", ("--no-answer",), False)):
        path = tmp_path / "out.json"
        arguments = ("--data", save(without_answers(squad(1)) | {"version": version}), "--max-length", 150, *more)
        assert call("predict", *arguments, "--predictions", path, "--model", tiny(tmp_path))[0] == 0
        assert {name: bool(text) for name, text in json.loads(path.read_text()).items()} == {"q0-0": answered}


def test_what_the_file_says_of_answers_decides_nothing_for_the_other_questions(call, save, tmp_path, monkeypatch):
    from blockskim.inference import answers

    monkeypatch.setattr(answers.AnswerCollector, "part", likelier_none(answers.AnswerCollector.part))
    content = squad(3)
    questions = content["data"][0]["paragraphs"][0]["qas"]
    questions[0]["answers"] = {"text": [], "answer_start": []}
    questions[1]["is_impossible"] = True
    arguments = ("--data", save(content), "--max-length", 150, "--model", tiny(tmp_path))
    assert call("predict", *arguments, "--predictions", tmp_path / "out.json")[0] == 0
    assert all(json.loads((tmp_path / "out.json").read_text()).values())


def likelier_none(part):
    from dataclasses import replace

    return lambda self, example: replace(part(self, example), nulls=(500.0, 500.0))


def tiny(tmp_path):
    from tiny_answerers import save_model

    folder = tmp_path / "model"
    return folder if folder.exists() else save_model(folder)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--predictions", "p.json"], 2, "Missing option"),
        (["--data", "DATA"], 2, "Missing option"),
        (["--data", "DATA", "--predictions", "/nowhere/p.json"], 2, "there is no directory /nowhere"),
        (["--data", "nowhere.json", "--predictions", "p.json"], 1, "nowhere.json: no such file"),
        (["--data", "DATA", "--predictions", "p.json", "--dense", "--threshold", "1"], 2, "--threshold"),
    ],
)
def test_bad_input(call, save, tmp_path, monkeypatch, arguments, code, message):
    monkeypatch.chdir(tmp_path)
    data = save(without_answers(squad(1)))
    found, out, err = call("predict", *(data if argument == "DATA" else argument for argument in arguments))
    assert (found, out) == (code, "")
    assert message in err
    assert not (tmp_path / "p.json").exists()


@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_the_data_is_not_written_over(call, model, save, tmp_path, command):
    data = save(squad(1))
    other = save(squad(1, prefix="r"), "other.json")
    before = other.read_bytes()
    (tmp_path / "link.json").symlink_to(other)
    for target in (other, tmp_path / "link.json"):
        code, out, err = call(command, "--data", data, other, "--predictions", target, "--model", model)
        assert (code, out) == (2, "")
        assert "holds the data, which would be lost" in err
    assert other.read_bytes() == before


def test_what_is_told_beside_answers_on_standard_output_goes_to_standard_error(predict, save, tmp_path, monkeypatch):
    data, standard_output = save(without_answers(squad(1))), os.dup(1)
    for more in ((), ("--json",)):
        with (tmp_path / "out.json").open("w") as out, monkeypatch.context() as patch:
            patch.setattr("sys.stdout", out)
            os.dup2(out.fileno(), 1)
            try:
                code, _, err, found = predict("--data", data, *more)
            finally:
                os.dup2(standard_output, 1)
        assert (code, set(found)) == (0, {"q0-0"})
        assert '"examples": 1' in err if more else "1 examples" in err
    os.close(standard_output)
    assert "1 examples" in predict("--data", data)[1]


def test_a_threshold_for_no_answer_that_changes_nothing_is_told_of(predict, save):
    data = save(without_answers(squad(1)))
    common = ("--data", data, "--no-answer-threshold", 0.3)
    assert "warning: --no-answer-threshold changes nothing" in predict(*common)[2]
    assert predict(*common, "--quiet")[2] == predict(*common, "--no-answer")[2] == predict("--data", data)[2] == ""
    assert predict("--data", save(without_answers(squad(1)) | {"version": "v2.0"}), *common[2:])[2] == ""


@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_a_question_that_can_not_be_read_ends_no_run(call, model, save, tmp_path, command):
    content = squad(2)
    content["data"][0]["paragraphs"][0]["qas"][1]["question"] = "\x07\u200b"
    written = tmp_path / "out.json"
    arguments = ("--data", save(content), "--model", model, "--max-length", 150, "--predictions", written)
    code, _, err = call(command, *arguments)
    assert (code, err) == (0, "warning: questions without a character that the tokenizer reads: 1 of 2; read as '?'\n")
    assert set(json.loads(written.read_text())) == {"q0-0", "q0-1"}


@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_questions_that_are_not_read_to_their_end_are_told_of_once(call, model, save, tmp_path, command):
    data = save(squad(3))
    arguments = ("--data", data, "--model", model, "--max-length", 150, "--predictions", tmp_path / "out.json")
    more = ("--compare-dense",) if command == "evaluate" else ()
    code, _, err = call(command, *arguments, *more, "--max-question-len", 2)
    assert (code, err) == (0, "warning: questions longer than 2 tokens: 3 of 3; the rest of them is not read\n")
