"""The reference of the Python interface: what is public, by what it is for; the site fills in what docstrings say."""

import ast
from collections.abc import Mapping, Sequence
from pathlib import Path

from markdown_text import GENERATED, code, plain, table

SOURCE = Path(__file__).parents[1] / "src" / "blockskim"

GROUPS: Mapping[str, Sequence[str]] = {
    "Answering": ("QuestionAnswerer", "register_pipeline"),
    "Models and settings": ("BlockSkimForQuestionAnswering", "SkimConfig", "load", "export"),
    "Data": ("Example", "Answer", "read_examples", "WindowSettings", "make_windows"),
    "Training": ("Recipe", "train"),
    "Measuring": ("evaluate", "evaluate_windows"),
    "Calibration": ("Target", "calibrate", "calibrate_points"),
    "Errors": ("BlockSkimError",),
}
"""The public names."""

RETURNED = (
    "answering.answerer.SearchResult",
    "answering.trace.AnswerTrace",
    "evidence.prune.PrunedTexts",
    "inference.loading.LoadedModel",
    "evaluation.evaluate.Evaluation",
    "evaluation.cost.CostReport",
    "calibration.result.Calibration",
    "calibration.points.Point",
    "exporting.export.ExportResult",
    "errors.ConfigError",
    "errors.DataError",
    "errors.ModelError",
)
"""What they give and raise."""

INTRODUCTION = """
# Python

All public names are importable from `blockskim`, and each is imported when it is first used: `import blockskim` itself
is quick and needs no PyTorch. What is not named here may change with any release.

"""


def api_page() -> str:
    """The page; a directive stands for the documentation of each name, which the site takes from its docstring."""
    homes = public_homes()
    parts = [GENERATED + INTRODUCTION]
    rows = [
        (f"[`{name}`](#blockskim.{name})", group, plain(first_line(homes[name], name)))
        for group, names in GROUPS.items()
        for name in names
    ]
    parts.append(table(("name", "for", ""), rows))
    for group, names in GROUPS.items():
        parts.append(f"\n## {group}\n" + "".join(f"\n::: blockskim.{name}\n" for name in names))
    parts.append("\n## What they return and raise\n\n")
    returned = [path.rpartition(".") for path in RETURNED]
    lines = [
        (code(f"blockskim.{home}.{name}"), plain(first_line(f"blockskim.{home}", name))) for home, _, name in returned
    ]
    parts.append(table(("name", ""), lines))
    parts += [f"\n::: blockskim.{path}\n" for path in RETURNED]
    return "".join(parts)


def public_homes() -> dict[str, str]:
    """The module of each public name, found without importing it."""
    for node in ast.parse((SOURCE / "__init__.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_HOMES":
            homes: dict[str, str] = ast.literal_eval(node.value)
            return homes
    raise LookupError("blockskim/__init__.py has no _HOMES")


def first_line(module: str, name: str) -> str:
    """The first line of what a class or function says of itself."""
    file = SOURCE.joinpath(*module.split(".")[1:]).with_suffix(".py")
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            return (ast.get_docstring(node) or "").splitlines()[0]
    raise LookupError(f"{file} defines no {name}")
