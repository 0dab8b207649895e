"""The code of ``docs/how-to/export.md`` runs as it stands there."""

import ast
import json
import re
import shutil
from pathlib import Path

import pytest

from blockskim import QuestionAnswerer
from blockskim.inference.shipped import shipped_model
from javascript import PAGE, Node

TEXT = (Path(__file__).parents[2] / "docs" / "how-to" / "export.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    """The only piece of code in a language."""
    (found,) = re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)
    return found


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with an exported model where the page has one."""
    (tmp_path / "my-export").symlink_to(shipped_model(), target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("folder")
def test_the_python_example_answers_without_this_library() -> None:
    code = block("python")
    modules = {name for node in ast.walk(ast.parse(code)) for name in imported(node)}
    assert modules == {"json", "numpy", "onnxruntime", "tokenizers"}
    names: dict = {"print": lambda *_: None}
    exec(compile(code, "docs/how-to/export.md", "exec"), names)
    assert names["answer"] == "Ann"
    answerer = QuestionAnswerer(backend="onnx", threads=1)
    assert names["answer"] == answerer(names["question"], names["text"], align_to_words=False)["answer"]
    # Skimming, as the model's own thresholds have it.
    assert len(names["session"].get_outputs()) > 2
    assert max(names["thresholds"]) > 0


def test_it_does_where_one_threshold_is_for_all_layers(folder: Path) -> None:
    (folder / "my-export").unlink()
    shutil.copytree(shipped_model(), folder / "my-export")
    path = folder / "my-export" / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["skim"]["thresholds"] = 0.01
    path.write_text(json.dumps(config), encoding="utf-8")
    names: dict = {"print": lambda *_: None}
    exec(compile(block("python"), "docs/how-to/export.md", "exec"), names)
    assert names["answer"] == "Ann"
    assert names["thresholds"].tolist() == pytest.approx([0.01] * len(names["layers"]))


def imported(node: ast.AST) -> list[str]:
    """Packages that a statement imports."""
    if isinstance(node, ast.Import):
        return [alias.name.partition(".")[0] for alias in node.names]
    return [str(node.module).partition(".")[0]] if isinstance(node, ast.ImportFrom) else []


@pytest.mark.slow
def test_the_javascript_example_answers(node_with_onnx: Node, folder: Path) -> None:
    for file in PAGE.glob("*.js"):
        shutil.copy(file, folder)
    (folder / "node_modules").symlink_to(PAGE / "node_modules", target_is_directory=True)
    (folder / "example.mjs").write_text(block("javascript"), encoding="utf-8")
    lines = node_with_onnx("example.mjs", folder=folder).splitlines()
    assert lines[0].startswith("Ann ")
    assert lines[1] == "true"
    assert all(line.startswith(("read:", "dropped in layer")) for line in lines[2:-1])
    assert lines[-1].startswith("1 ")


def test_the_page_names_every_input_and_output_of_the_graph() -> None:
    session = pytest.importorskip("onnxruntime").InferenceSession(shipped_model() / "model.onnx")
    names = [entry.name for entry in (*session.get_inputs(), *session.get_outputs())]
    missing = {re.sub(r"_\d+$", "_N", name) for name in names} - set(re.findall(r"`(\w+)`", TEXT))
    assert not missing


def test_the_page_names_every_file_of_the_directory() -> None:
    from blockskim.exporting.manifest import read_manifest

    manifest = read_manifest(shipped_model())
    files = {"export.json", "config.json", "model-int8.onnx", *manifest.digests, *manifest.weights}
    assert not {name for name in files if f"`{name}`" not in TEXT}
