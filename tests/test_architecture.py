"""The house rules that a reader of one file can't see: who may import whom, and what appears nowhere.

Nothing is imported or run here; the source is parsed. An import counts wherever it stands, also inside of a function
or under ``if TYPE_CHECKING``.
"""

import ast
import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "blockskim"

# Lowest first. A unit (a module or subpackage right under blockskim) may import the units that stand before it here.
# "" is the package itself: it names the public API. `__main__` runs the command line.
LAYERS = (
    "errors",
    "checks",
    "atomic",
    "folder_lock",
    "extras",
    "cores",
    "processor",
    "kernels",
    "data",
    "method",
    "encoders",
    "model",
    "metrics",
    "inference",
    "evaluation",
    "surgery",
    "exporting",
    "training",
    "calibration",
    "profiling",
    "answering",
    "evidence",
    "integrations",
    "serving",
    "scaling",
    "",
    "cli",
    "__main__",
)

# Each framework that has an adapter, and what of it the adapter imports.
FRAMEWORKS = {
    "blockskim.integrations.evidence_settings": {"pydantic"},
    "blockskim.integrations.haystack": {"haystack"},
    "blockskim.integrations.langchain": {"langchain_core", "pydantic"},
    "blockskim.integrations.llama_index": {"llama_index", "pydantic"},
}

# What stands before the encoders takes plain tensors, arrays and text and knows no model: nothing of transformers.
KNOW_NO_MODEL = LAYERS[: LAYERS.index("encoders")]

# Tokenizers of transformers are what windows are made with; data may name their types and nothing else of it.
TOKENIZER_TYPES = {"transformers.PreTrainedTokenizerBase"}

# Ways to use the library, beside each other: only these may build on the answerer, and nothing builds on tools.
ON_ANSWERING = {"answering", "evidence", "integrations", "serving", "scaling", "", "cli"}
TOOLS = {"training", "calibration", "surgery", "profiling"}
ON_TOOLS = {*TOOLS, "", "cli"}

# A file is read in one sitting, and a command is its options and what it calls.
MOST_LINES = 400
MOST_COMMAND_LINES = 80
SOURCES = tuple(sorted([*PACKAGE.rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]))

FLOOR_PLAN = ROOT / "docs" / "architecture.md"
DOCS = tuple(sorted([*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]))
FOLDERS = ("src", "tests", "benchmarks", "scripts", "examples")

# Installed with an extra only: never imported when a module is, but inside of the function that needs it.
OPTIONAL = {"accelerate", "tensorboard", "matplotlib", "onnx", "onnxscript", "optuna", "pyarrow", "ray", "tzdata"}

# The same, but for one package that is about them: nothing imports it when it is imported itself, but the command.
WEB = {"fastapi", "httptools", "prometheus_client", "pydantic", "uvicorn", "uvloop"}
WEB_HOME = "blockskim.serving.http"

# Come with an extra, too, but modules that are about them import them; tests/test_light_import.py checks the others.
ENGINE = {"torch", "transformers"}


@dataclass(frozen=True)
class Module:
    """A module of the package, parsed; ``name`` is dotted and starts with the package's."""

    name: str
    path: Path
    tree: ast.Module

    @property
    def unit(self) -> str:
        """First part of the name under the package, "" for the package itself."""
        return unit_of(self.name)


def unit_of(name: str) -> str:
    """The unit that a dotted name belongs to."""
    return (*name.split("."), "")[1]


def module_name(path: Path) -> str:
    """Dotted name of a file of the package."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = tuple(
    Module(module_name(path), path, ast.parse(path.read_text(encoding="utf-8"), str(path)))
    for path in sorted(PACKAGE.rglob("*.py"))
)
NAMES = frozenset(module.name for module in MODULES)
every_module = pytest.mark.parametrize("module", MODULES, ids=[module.name for module in MODULES])


def imported_names(nodes: Iterator[ast.AST], name: str, is_package: bool) -> Iterator[tuple[int, str]]:
    """Line and absolute dotted name of everything that the nodes of module ``name`` import."""
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = name.split(".")
                parts = parts[: len(parts) - node.level + is_package]
                base = ".".join([*parts, base] if base else parts)
            for alias in node.names:
                yield node.lineno, f"{base}.{alias.name}"


def imports(module: Module, nodes: Iterator[ast.AST] | None = None) -> list[tuple[int, str]]:
    """Line and absolute dotted name of everything that a module imports (or that ``nodes`` of it import)."""
    nodes = nodes if nodes is not None else ast.walk(module.tree)
    return list(imported_names(nodes, module.name, module.path.name == "__init__.py"))


def own_module(target: str) -> str | None:
    """The module of the package that an imported dotted name means: itself, or the one that defines the name."""
    if target != "blockskim" and not target.startswith("blockskim."):
        return None
    while target not in NAMES and "." in target:
        target = target.rpartition(".")[0]
    return target


def executed_at_import(tree: ast.Module) -> Iterator[ast.AST]:
    """Every node that runs when the module is imported: none inside of functions or ``if TYPE_CHECKING``."""
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting.extend(node.orelse)
            continue
        yield node
        waiting.extend(ast.iter_child_nodes(node))


def may_import(importer: str, imported: str) -> bool:
    """Whether unit ``importer`` may import unit ``imported``; units without a place are another test's business."""
    if importer == imported or importer not in LAYERS or imported not in LAYERS:
        return True
    if imported == "answering" and importer not in ON_ANSWERING:
        return False
    if imported in TOOLS and importer not in ON_TOOLS:
        return False
    return LAYERS.index(imported) < LAYERS.index(importer)


def commands(modules: Iterable[Module]) -> Iterator[tuple[Module, ast.FunctionDef]]:
    """Functions that are commands: given to ``….command(…)(function)``, in any module, or decorated by it."""
    modules = list(modules)
    registered = set()
    for module in modules:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Call) and is_command(node.func):
                registered |= {part.id for part in node.args if isinstance(part, ast.Name)}
            elif isinstance(node, ast.For) and any(
                is_command(part) for part in ast.walk(node) if isinstance(part, ast.expr)
            ):
                registered |= {part.id for part in ast.walk(node.iter) if isinstance(part, ast.Name)}
    for module in modules:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.FunctionDef) and (
                node.name in registered or any(map(is_command, node.decorator_list))
            ):
                yield module, node


def is_command(node: ast.expr) -> bool:
    """Whether an expression is a call of something's ``command`` or ``callback``, which takes a function."""
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("command", "callback")
    )


def where(module: Module, line: int) -> str:
    """File and line, as an editor opens it."""
    return f"{module.path.relative_to(ROOT)}:{line}"


def test_the_package_is_found() -> None:
    assert "blockskim" in NAMES
    assert "blockskim.errors" in NAMES


@pytest.mark.parametrize(
    ("source", "is_package", "expected"),
    [
        ("import blockskim.cli.main", False, ["blockskim.cli.main"]),
        ("from blockskim import blocks, config as c", False, ["blockskim.blocks", "blockskim.config"]),
        ("from ..encoders import bert", False, ["blockskim.encoders.bert"]),
        ("from . import scores", False, ["blockskim.metrics.scores"]),
        ("from . import scores", True, ["blockskim.metrics.squad.scores"]),
        ("from .scores import f1", False, ["blockskim.metrics.scores.f1"]),
        ("def f():\n    from blockskim.data import x", False, ["blockskim.data.x"]),
        ("if TYPE_CHECKING:\n    from blockskim.data import x", False, ["blockskim.data.x"]),
    ],
)
def test_every_form_of_import_is_seen(source: str, is_package: bool, expected: list[str]) -> None:
    nodes = ast.walk(ast.parse(source))
    assert [name for _, name in imported_names(nodes, "blockskim.metrics.squad", is_package)] == expected


@pytest.mark.parametrize(
    ("importer", "imported", "allowed"),
    [
        ("method", "errors", True),
        ("kernels", "encoders", False),
        ("method", "model", False),
        ("encoders", "kernels", True),
        ("encoders", "data", True),
        ("model", "method", True),
        ("model", "profiling", False),
        ("data", "method", False),
        ("data", "model", False),
        ("answering", "cli", False),
        ("evaluation", "training", False),
        ("answering", "training", False),
        ("profiling", "answering", False),
        ("cli", "training", True),
        ("__main__", "cli", True),
        ("cli", "", True),
        ("training", "", False),
    ],
)
def test_the_layers_say_what_is_meant(importer: str, imported: str, allowed: bool) -> None:
    assert may_import(importer, imported) is allowed


def test_every_unit_has_a_place_in_the_layers() -> None:
    unplaced = {module.unit for module in MODULES} - set(LAYERS)
    assert not unplaced, f"give {sorted(unplaced)} a line in LAYERS: what may import it, and what may it import?"


@every_module
def test_imports_follow_the_layers(module: Module) -> None:
    wrong = []
    for line, target in imports(module):
        imported = own_module(target)
        if imported is None or target == "blockskim.__version__":
            continue
        if not may_import(module.unit, unit_of(imported)):
            wrong.append(f"{where(module, line)}: {module.unit} may not import {imported}")
    assert not wrong, "\n".join(wrong)


def test_no_import_cycles() -> None:
    # The package's own __init__ is left out: it offers names of everything, and only the command line may ask it.
    graph = {
        module.name: {
            imported
            for _, target in imports(module)
            if (imported := own_module(target)) not in (None, "blockskim", module.name)
        }
        for module in MODULES
        if module.name != "blockskim"
    }
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, "import cycle: " + " -> ".join([*path[path.index(name) :], name])
        if name not in done:
            for imported in sorted(graph[name]):
                visit(imported, (*path, name))
            done.add(name)

    for name in sorted(graph):
        visit(name, ())


@every_module
def test_only_the_command_opens_the_home_of_the_web(module: Module) -> None:
    inside = module.name.startswith(WEB_HOME)
    found = [(line, target) for line, target in imports(module) if target.startswith(WEB_HOME)]
    at_import = [place for place in imports(module, executed_at_import(module.tree)) if place in found]
    assert inside or not at_import, f"{module.name} imports {at_import} when it is imported"
    assert inside or not found or module.unit == "cli"


@every_module
def test_lower_layers_know_no_model(module: Module) -> None:
    if module.unit not in KNOW_NO_MODEL:
        return
    wrong = [
        where(module, line)
        for line, target in imports(module)
        if target.split(".")[0] == "transformers" and not (module.unit == "data" and target in TOKENIZER_TYPES)
    ]
    assert not wrong, f"{module.unit} knows no model, and so no transformers: {wrong}"


@every_module
def test_optional_packages_are_imported_when_needed(module: Module) -> None:
    # What an adapter is for, and what that is made of, it may import: nobody else imports the adapter.
    own = FRAMEWORKS.get(module.name, {*WEB, "starlette"} if module.name.startswith(WEB_HOME) else set())
    every = {*OPTIONAL, *WEB, "starlette"}.union(*FRAMEWORKS.values())
    wrong = [
        f"{where(module, line)}: {target}"
        for line, target in imports(module, executed_at_import(module.tree))
        if target.split(".")[0] in every - own
    ]
    assert not wrong, "import these inside of the function that needs them:\n" + "\n".join(wrong)


def test_optional_packages_are_those_of_the_extras() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = {
        re.split(r"[>\[]", requirement)[0].replace("-", "_")
        for name, requirements in project["optional-dependencies"].items()
        if name != "dev"
        for requirement in requirements
        if not requirement.startswith("blockskim[")
    }
    # What a plain installation has, too, may be imported anywhere.
    base = {requirement.split(">")[0].replace("-", "_") for requirement in project["dependencies"]}
    frameworks = {"haystack_ai", "langchain_core", "llama_index_core"}
    assert extras - base == OPTIONAL | WEB | ENGINE | frameworks


@every_module
def test_only_the_command_line_prints(module: Module) -> None:
    if module.unit == "cli":
        return
    wrong = [
        where(module, node.lineno)
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("print", "pprint")
    ]
    assert not wrong, f"print belongs in blockskim.cli: {wrong}"


@every_module
def test_modules_have_names_that_say_something(module: Module) -> None:
    assert not {"utils", "util"} & set(module.name.split(".")), "name the module for what it holds"


@every_module
def test_public_modules_have_a_docstring(module: Module) -> None:
    last = module.name.rpartition(".")[2]
    if last.startswith("_") and last != "__main__":
        return
    assert ast.get_docstring(module.tree), f"{module.path.relative_to(ROOT)} has no docstring"


@every_module
def test_no_foreign_code_is_run(module: Module) -> None:
    """No ``trust_remote_code``, and nothing unpickled: weights are read from safetensors only."""
    wrong = []
    for node in ast.walk(module.tree):
        if (
            isinstance(node, ast.keyword)
            and node.arg == "trust_remote_code"
            and not (isinstance(node.value, ast.Constant) and node.value.value is False)
        ):
            wrong.append(f"{where(module, node.value.lineno)}: trust_remote_code")
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("torch.load", "pickle.load", "pickle.loads"):
            wrong.append(f"{where(module, node.lineno)}: {ast.unparse(node.func)}")
    assert not wrong, "\n".join(wrong)


def test_every_directory_and_module_is_on_the_floor_plan() -> None:
    text = FLOOR_PLAN.read_text(encoding="utf-8")
    directories = {path.parent.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.*") if path.is_file()}
    directories = {name for name in directories if name != "." and "__pycache__" not in name}
    named = {*(f"`{name}/`" for name in directories), *(f"`{path.name}`" for path in PACKAGE.glob("*.py"))}
    missing = sorted(name for name in named if name not in text)
    assert not missing, f"docs/architecture.md says nothing of {', '.join(missing)}"


@pytest.mark.parametrize("page", DOCS, ids=[str(path.relative_to(ROOT)) for path in DOCS])
def test_files_that_docs_name_are_there(page: Path) -> None:
    code = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
    files = [f"/{path.relative_to(ROOT).as_posix()}" for path in code]
    named = set(re.findall(r"(?<![\w/.-])[\w./-]*\w\.py\b", page.read_text(encoding="utf-8")))
    missing = sorted(name for name in named if not any(file.endswith(f"/{name}") for file in files))
    assert not missing, f"{page.relative_to(ROOT)} names files that are not there: {', '.join(missing)}"


@pytest.mark.parametrize("path", SOURCES, ids=[str(path.relative_to(ROOT)) for path in SOURCES])
def test_files_are_short(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= MOST_LINES, f"{path.relative_to(ROOT)} has {lines} lines; split it at a joint"


def test_commands_are_short() -> None:
    lengths = {
        where(module, node.lineno): (node.end_lineno or node.lineno) - node.lineno + 1
        for module, node in commands(module for module in MODULES if module.unit == "cli")
    }
    assert len(lengths) > 5
    wrong = [f"{place}: {length} lines" for place, length in lengths.items() if length > MOST_COMMAND_LINES]
    assert not wrong, "a command is its options and a few calls; move the rest below cli:\n" + "\n".join(wrong)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("app.command('a')(f)\ndef f(): ...\ndef g(): ...", ["f"]),
        ("@app.command()\ndef f(): ...\n@other\ndef g(): ...", ["f"]),
        ("@app.callback()\ndef f(): ...", ["f"]),
        ("for c in (f, g):\n    app.command('a')(c)\ndef f(): ...\ndef g(): ...\ndef h(): ...", ["f", "g"]),
        ("run(f)\ndef f(): ...", []),
    ],
)
def test_every_form_of_command_is_seen(source: str, expected: list[str]) -> None:
    module = Module("blockskim.cli.main", PACKAGE / "cli" / "main.py", ast.parse(source))
    assert [node.name for _, node in commands([module])] == expected
