"""The programs and the notebook in ``examples/`` do what they say."""

import importlib.util
import json
import shutil
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def program(name):
    """A program as a module, which runs nothing."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_folder_is_asked(monkeypatch, capsys):
    monkeypatch.setattr(
        sys, "argv", ["ask_folder.py", str(EXAMPLES / "notes"), "How long is the warranty of the pump?"]
    )
    program("ask_folder").main()
    question, best, *_ = capsys.readouterr().out.splitlines()
    assert question == "How long is the warranty of the pump?"
    assert best.startswith("  three years")
    assert "(pump.md:3," in best


def test_a_folder_without_markdown_is_told_of(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "argv", ["ask_folder.py", str(tmp_path), "Who?"])
    with pytest.raises(SystemExit, match="no Markdown"):
        program("ask_folder").main()


def test_a_language_model_gets_what_matters():
    prompts = []
    passages = {path.name: path.read_text(encoding="utf-8") for path in (EXAMPLES / "notes").glob("*.md")}
    ask = program("prune_for_llm").answer_from
    answer, kept = ask("How long is the warranty of the pump?", passages, lambda prompt: prompts.append(prompt) or "3")
    assert answer == "3"
    assert kept <= 0.4
    (prompt,) = prompts
    assert "Its warranty is three years" in prompt
    # There was room for more, and nothing more that matters.
    assert "[pump.md]" in prompt and "[boiler.md]" not in prompt
    assert len(prompt) < sum(map(len, passages.values()))


@pytest.mark.slow
def test_a_service_is_asked(capfd):
    pytest.importorskip("fastapi")
    pytest.importorskip("uvicorn")
    program("serve_and_ask").main()
    plum, boiler = [line for line in capfd.readouterr().out.splitlines() if "?" in line]
    assert "July" in plum
    assert "Aalst" in boiler
    assert boiler.endswith("(boiler.md)")


@pytest.mark.slow
def test_a_toy_model_is_trained(tmp_path, capsys):
    pytest.importorskip("torch")
    pytest.importorskip("accelerate")
    found = program("train_toy").run(tmp_path, questions=640, epochs=1)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch")]
    assert "layer 1: 0." in line
    assert found["flops_speedup"] > 0.5
    assert (tmp_path / "model" / "model.safetensors").is_file()


def test_the_notebook_runs(tmp_path, monkeypatch, capsys):
    notebook = json.loads((EXAMPLES / "what_was_skimmed.ipynb").read_text(encoding="utf-8"))
    shutil.copyfile(EXAMPLES / "demo.txt", tmp_path / "demo.txt")
    monkeypatch.chdir(tmp_path)
    names = {}
    code = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert len(code) >= 5
    for number, cell in enumerate(code):
        exec(compile(cell, f"cell {number}", "exec"), names)
    assert capsys.readouterr().out.startswith("John Smeaton")
    assert (tmp_path / "skimmed.html").stat().st_size > 2000
    assert [point for point, *_ in names["rows"]] == names["points"]
    # Outputs would be of another model one day.
    assert not any(cell.get("outputs") for cell in notebook["cells"])


def test_every_program_is_in_the_list():
    listed = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    for path in (*EXAMPLES.glob("*.py"), *EXAMPLES.glob("*.ipynb")):
        assert f"[{path.name}]({path.name})" in listed
