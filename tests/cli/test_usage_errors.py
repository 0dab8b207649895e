"""Usage errors name what was given."""

import pytest

from blockskim.cli.main import run


@pytest.mark.parametrize(
    ("arguments", "option", "value"),
    [
        (["serve", "--port", "99999"], "--port", "99999"),
        (["serve", "--threads", "many"], "--threads", "'many'"),
        (["evaluate", "--data", "x.json", "--format", "docx"], "--format", "'docx'"),
        (["bulk", "answer", "x.csv", "--output", "y", "--workers", "0"], "--workers", "0"),
        (["train", "--base", "x", "--train", "y", "--output", "z", "--hold-out", "1.5"], "--hold-out", "1.5"),
        (["serve", "--port", "9" * 500], "--port", "999"),
    ],
)
def test_an_option_that_cannot_be_is_told_of_with_its_value(arguments, option, value, capsys):
    assert run(arguments) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    told = said.split(option, 1)[1]
    assert value in told and len(said) < 400


def test_a_value_that_is_named_already_is_not_named_twice(capsys):
    assert run(["evaluate", "--data", "x.json", "--format", "docx"]) == 2
    assert capsys.readouterr().err.count("docx") == 1


def test_a_service_names_a_value_of_its_environment(monkeypatch, capsys):
    monkeypatch.setenv("BLOCKSKIM_PORT", "77777")
    assert run(["serve"]) == 2
    assert "77777" in capsys.readouterr().err
