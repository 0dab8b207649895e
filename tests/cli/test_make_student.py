import json
import shutil
import time

import pytest
import typer

from blockskim.cli.make_student import parse_layers
from impossible_sizes import IMPOSSIBLE_SIZES, SLOWEST, claim_impossible_size


@pytest.mark.parametrize(("choice", "layers"), [(("--layers", "1,3"), [1, 3]), (("--every", 2), [1, 3])])
def test_a_student_answers(call, model, tmp_path, choice, layers):
    code, out, _ = call("make-student", "--base", model, "--output", tmp_path / "student", *choice, "--json")
    assert code == 0
    assert json.loads(out) == {"base": model, "layers": layers, "output": str(tmp_path / "student")}
    code, out, _ = call("info", "--model", tmp_path / "student", "--json")
    values = json.loads(out)
    assert (values["encoder"]["layers"], values["skims"]) == (2, False)
    code, out, _ = call("answer", "-q", "Where?", "-c", "It nests in Wales.", "--model", tmp_path / "student", "--json")
    assert code == 0


def test_people_are_told_what_was_made(call, plain, tmp_path):
    code, out, _ = call("make-student", "--base", plain, "--output", tmp_path / "student", "--layers", "2,3")
    assert code == 0
    assert out.startswith("layers 2, 3 of ")


def test_lists_of_layers():
    assert parse_layers("2, 4,6") == [2, 4, 6]
    for text in ("", "2,,4", "two", "-1,2", "2;3"):
        with pytest.raises(typer.BadParameter):
            parse_layers(text)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--base", "PLAIN", "--output", "OUT"), 2, "either --layers or --every"),
        (("--base", "PLAIN", "--output", "OUT", "--layers", "1,2", "--every", 2), 2, "either --layers or --every"),
        (("--base", "PLAIN", "--output", "OUT", "--layers", "one"), 2, "no list of layers"),
        (
            ("--base", "PLAIN", "--output", "OUT", "--layers", "1," + "9" * 5000),
            2,
            f"'1,{'9' * 77} is no list of layers",
        ),
        (("--base", "PLAIN", "--output", "OUT", "--layers", "1,9"), 2, "no layer 9; the model has layers 1 to 3"),
        (("--base", "PLAIN", "--output", "OUT", "--every", 3), 2, "too small"),
        (("--base", "PLAIN", "--output", "PLAIN", "--every", 2), 2, "exists already"),
        (("--base", "./none", "--output", "OUT", "--every", 2), 1, "no such model directory"),
    ],
)
def test_bad_input(call, plain, tmp_path, arguments, code, message):
    names = {"PLAIN": plain, "OUT": tmp_path / "out"}
    found, out, err = call("make-student", *(names.get(argument, argument) for argument in arguments))
    assert (found, out) == (code, "")
    assert message in " ".join(err.replace("│", " ").split())
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("skims", [True, False])
@pytest.mark.parametrize(
    "spoil", [*IMPOSSIBLE_SIZES.values(), claim_impossible_size], ids=[*IMPOSSIBLE_SIZES, "the file of weights"]
)
def test_weights_of_impossible_size_are_refused(call, model, plain, tmp_path, spoil, skims):
    spoiled = shutil.copytree(model if skims else plain, tmp_path / "spoiled")
    spoil(spoiled)
    began = time.monotonic()
    code, out, err = call("make-student", "--base", spoiled, "--output", tmp_path / "out", "--every", 2)
    assert (code, out) == (1, "")
    assert err.startswith(f"error: {spoiled}: ") and err.count("\n") == 1 and len(err) < 400
    assert time.monotonic() - began < SLOWEST
    assert [path.name for path in tmp_path.iterdir()] == ["spoiled"]
