"""The experiment runner in ``benchmarks/``: what it reads, that it trains and scores arms, and resumes."""

import importlib.util
import json
import random
import sys
from pathlib import Path

import pytest
import yaml

from blockskim.errors import ConfigError
from tiny_models import new_dense_model
from tiny_tokenizers import WORDS, word_piece

FOLDER = Path(__file__).parents[2] / "benchmarks"
GRID = {
    "train": ["one.json"],
    "evaluate": ["one.json", "two.json"],
    "hold_out": 0.2,
    "recipe": {
        "skim": {"block_size": 8, "predictor_width": 8, "inputs": ["match"]},
        "windows": {"max_length": 80, "doc_stride": 10, "max_question_length": 10},
        "epochs": 1,
        "batch_size": 8,
        "precision": "float32",
    },
    "first_stage": {"skim": {"skim_factor": 0.0}},
    "arms": {
        "plain": {"every": 2},
        "paper": {"recipe": {"skim": {"inputs": ["tiles"], "alignment": "sequence"}, "drop_share": 0.5}},
    },
}


@pytest.fixture(scope="module")
def grid():
    spec = importlib.util.spec_from_file_location("grid", FOLDER / "grid.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["grid"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["grid"]


def squad_file(path, articles, seed):
    choose = random.Random(seed)
    words = [word for word in WORDS if word.isalpha()]
    data = []
    for number in range(articles):
        tokens = [choose.choice(words) for _ in range(40)]
        tokens[choose.randrange(40)] = "2024"
        context = " ".join(tokens)
        answer = {"text": "2024", "answer_start": context.index("2024")}
        question = {"id": f"{seed}-{number}", "question": "when ?", "answers": [answer]}
        data.append({"title": f"{seed}-{number}", "paragraphs": [{"context": context, "qas": [question]}]})
    path.write_text(json.dumps({"version": "1.1", "data": data}), encoding="utf-8")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("grid")
    tokenizer = word_piece()
    new_dense_model("bert", vocab_size=len(tokenizer)).base_model.save_pretrained(folder / "base")
    tokenizer.save_pretrained(folder / "base")
    squad_file(folder / "one.json", 60, 1)
    squad_file(folder / "two.json", 30, 2)
    (folder / "grid.yaml").write_text(yaml.safe_dump(GRID), encoding="utf-8")
    return folder


def arguments(inputs, *more):
    names = ("--data", "--base", "--output", "--report")
    values = (inputs, inputs / "base", inputs / "runs", inputs / "report.json")
    given = [str(part) for pair in zip(names, values, strict=True) for part in pair]
    return ["grid.py", str(inputs / "grid.yaml"), *given, *more]


@pytest.mark.slow
def test_a_grid_is_trained_and_measured_once(grid, inputs, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", arguments(inputs, "--seeds", "1", "2"))
    assert grid.main() == 0
    table = capsys.readouterr().out
    records = json.loads((inputs / "report.json").read_text())
    assert [(item["arm"], item["seed"]) for item in records] == [
        ("paper", 1), ("paper", 2), ("plain", 1), ("plain", 2)
    ]  # fmt: skip
    assert records[2]["examples"] * 2 in (records[0]["examples"], records[0]["examples"] + 1)
    for item in records:
        assert item["held_out"] > 5
        assert len(item["predictors"]) == 2
        assert [point["most_f1_at_risk"] for point in item["points"]] == list(grid.LIMITS)
        assert all(point["f1_at_risk"] <= point["most_f1_at_risk"] for point in item["points"])
        assert f"| {item['arm']} | {item['seed']} | {item['dense']['f1']:.2f} |" in table

    def never(*_args, **_kwargs):
        raise AssertionError("everything is there already")

    for name in ("train", "front"):
        monkeypatch.setattr(grid, name, never)
    monkeypatch.setattr(sys, "argv", arguments(inputs, "--only", "plain", "--seeds", "2"))
    assert grid.main() == 0
    # What the report holds of other arms and seeds stays.
    assert capsys.readouterr().out == table
    assert json.loads((inputs / "report.json").read_text()) == records


def test_a_folder_with_another_recipe_is_not_taken_for_this_one(grid, inputs, monkeypatch, capsys):
    changed = {**GRID, "first_stage": {"skim": {"skim_factor": 0.0}, "learning_rate": 1e-3}}
    (inputs / "changed.yaml").write_text(yaml.safe_dump(changed), encoding="utf-8")
    folder = inputs / "runs" / "first-stage"
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "model.safetensors").exists():
        (folder / "model.safetensors").touch()
        (folder / "recipe.json").write_text("{}")
    given = arguments(inputs)
    given[1] = str(inputs / "changed.yaml")
    monkeypatch.setattr(sys, "argv", given)
    assert grid.main() == 1
    assert "another recipe" in " ".join(capsys.readouterr().err.split())


def test_unknown_arms_and_settings_are_refused(grid, inputs, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", arguments(inputs, "--only", "none-such"))
    assert grid.main() == 1
    assert "none-such" in capsys.readouterr().err
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(yaml.safe_dump({**GRID, "arms": {"one": {"evry": 2}}}), encoding="utf-8")
    with pytest.raises(ConfigError, match="'evry' of arm one"):
        grid.read_grid(wrong)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "lacks 'train'"),
        ("train: [", "line 1"),
        ("- 1", "lacks 'train'"),
        ("train: [a]\nevaluate: [b]", "'hold_out'"),
    ],
)
def test_a_grid_file_that_is_none_is_refused(grid, tmp_path, text, message):
    path = tmp_path / "grid.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        grid.read_grid(path)
    with pytest.raises(ConfigError, match="No such file"):
        grid.read_grid(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([], 1.0),
        ([(1.2, 0.4), (1.4, 0.6)], 1.3),
        ([(1.2, -0.1), (1.4, 0.5)], 1.4),
        ([(1.2, 0.8)], 1.125),
        ([(1.2, 0.8), (1.4, 0.2)], 1.4),
    ],
)
def test_the_saving_at_a_loss_lies_between_measured_points(grid, points, expected):
    found = grid.speedup_at([{"flops_speedup": speedup, "f1_lost": lost} for speedup, lost in points], 0.5)
    assert found == pytest.approx(expected)


def test_the_grids_that_ship_are_valid(grid):
    for path in sorted((FOLDER / "grids").glob("*.yaml")):
        assert grid.read_grid(path).arms
