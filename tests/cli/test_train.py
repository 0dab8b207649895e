import json

import pytest
import typer

from blockskim.cli.train import parse_changes
from cli_data import squad


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "data.json"
    path.write_text(json.dumps(squad(4, 4)))
    return path


SMALL = [
    word
    for change in (
        "epochs=1",
        "batch_size=4",
        "precision=float32",
        "windows.max_length=120",
        "windows.doc_stride=20",
        "windows.max_question_length=10",
        "skim.block_size=8",
        "skim.predictor_width=8",
    )
    for word in ("--set", change)
]


@pytest.mark.slow
def test_training_prints_a_line_an_evaluation_and_the_result_answers(call, plain, data, tmp_path):
    output = tmp_path / "out"
    arguments = ("train", "--base", plain, "--train", data, "--hold-out", 0.5, "--output", output, *SMALL, "--quiet")
    code, out, err = call(*arguments, "--json", "--device", "cpu")
    assert code == 0, err
    lines = [json.loads(line) for line in out.splitlines()]
    assert len(lines) == 1
    assert {"step", "epoch", "exact_match", "f1", "auc_1"} <= set(lines[0])
    code, out, _ = call("answer", "-q", "Where?", "-c", "It nests in Wales.", "--model", output, "--json")
    assert code == 0
    assert json.loads(out)[0]["answers"]
    # A second run into the same place is refused.
    code, _, err = call(*arguments)
    assert code == 1
    assert "--resume" in err


@pytest.mark.slow
def test_a_teacher_is_learned_from(call, plain, data, tmp_path):
    output = tmp_path / "out"
    arguments = ("train", "--base", plain, "--train", data, "--hold-out", 0.5, "--output", output, *SMALL, "--quiet")
    lessons = ("--teacher", plain, "--set", "distillation.temperature=3", "--set", "distillation.weight=0.5")
    code, _, err = call(*arguments, *lessons, "--json", "--device", "cpu")
    assert code == 0, err
    assert json.loads((output / "recipe.json").read_text())["distillation"]["temperature"] == 3
    assert json.loads((output / "teacher.json").read_text())["name"]
    assert "## Teacher" in (output / "README.md").read_text()


@pytest.mark.slow
def test_tokens_are_kept_for_other_runs_where_asked(call, plain, data, tmp_path):
    arguments = ("train", "--base", plain, "--train", data, "--hold-out", 0.5, *SMALL, "--quiet", "--device", "cpu")
    cache = tmp_path / "cache"
    code, _, err = call(*arguments, "--output", tmp_path / "one", "--cache", cache)
    assert code == 0, err
    [folder] = cache.iterdir()
    made = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    code, _, err = call(*arguments, "--output", tmp_path / "two", "--cache", cache, "--set", "gradient_accumulation=2")
    assert code == 0, err
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == made
    assert [path.name for path in cache.iterdir()] == [folder.name]
    assert not (tmp_path / "two" / "windows").exists()


def test_changes_of_the_recipe():
    assert parse_changes(["distillation.layers=[[1, 2]]"]) == {"distillation": {"layers": [[1, 2]]}}
    assert parse_changes(["epochs=3", "learning_rate=1.0e-5", "skim.block_size=8", "skim.inputs=[tiles]"]) == {
        "epochs": 3,
        "learning_rate": 1e-5,
        "skim": {"block_size": 8, "inputs": ["tiles"]},
    }


@pytest.mark.parametrize("change", ["epochs", "=3", "skim=3", "distillation=1", "other.thing=3", "epochs=[", "skim"])
def test_words_that_change_nothing_are_refused(change):
    with pytest.raises(typer.BadParameter):
        parse_changes([change])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["epochs=1", "seed=2", "epochs=1"], "epochs is set twice"),
        (["skim.block_size=8", "skim.block_size=16"], r"skim\.block_size is set twice"),
        (["skim.inputs={a: 1, a: 2}"], "no valid YAML: 'a' stands twice"),
        (["epochs=["], "no valid YAML: expected"),
        (["seed=2020-13-45"], "no valid YAML: it can't be read"),
    ],
)
def test_changes_are_refused_with_the_reason(changes, message):
    with pytest.raises(typer.BadParameter, match=message):
        parse_changes(changes)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--train", "DATA", "--dev", "DATA", "--output", "OUT"], 2, "--base"),
        (["--base", "PLAIN", "--train", "DATA", "--output", "OUT"], 2, "--dev FILE or by --hold-out"),
        (["--base", "PLAIN", "--train", "DATA", "--dev", "DATA", "--hold-out", "0.1", "--output", "OUT"], 2, "--dev"),
        (["--base", "PLAIN", "--train", "DATA", "--dev", "DATA", "--output", "DATA"], 2, "is a file"),
        (["--base", "PLAIN", "--train", "DATA", "--dev", "DATA", "--output", "OUT", "--recipe", "cake"], 2, "cake"),
        (["--base", "PLAIN", "--train", "DATA", "--dev", "DATA", "--output", "OUT", "--set", "epochs=no"], 2, "epochs"),
        (["--base", "PLAIN", "--train", "DATA", "--dev", "DATA", "--output", "OUT", "--set", "epoch=1"], 2, "epoch"),
        (["--base", "PLAIN", "--train", "DATA", "--dev", "DATA", "--output", "OUT", "--cache", ""], 2, "--cache"),
        (["--base", "PLAIN", "--train", "nowhere", "--dev", "DATA", "--output", "OUT"], 1, "nowhere: no such file"),
        (["--base", "./none", "--train", "DATA", "--dev", "DATA", "--output", "OUT"], 1, "no such model directory"),
        (["--base", "PLAIN", "--train", "DATA", "--dev", "DATA", "--output", "OUT", "--resume"], 1, "no checkpoint"),
        (["--base", "PLAIN", "--train", "DATA", "--dev", "DATA", "--output", "OUT", "--teacher", "./x"], 1, "./x: no"),
    ],
)
def test_bad_input(call, plain, data, tmp_path, arguments, code, message):
    names = {"PLAIN": plain, "DATA": data, "OUT": tmp_path / "out"}
    found, out, err = call("train", *(names.get(argument, argument) for argument in arguments))
    assert (found, out) == (code, "")
    assert message in err
    if code == 1:
        assert err.startswith("error: ") and err.count("\n") == 1
