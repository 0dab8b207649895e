"""Which test modules import PyTorch or transformers, themselves or by what they import: found without importing."""

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

HEAVY = {"torch", "transformers", "accelerate", "onnx"}
BESIDE = {"pyarrow", "matplotlib"}
"""What is not there either where HEAVY is not."""
ROOT = Path(__file__).parents[2]
FOLDERS = (ROOT / "src", ROOT / "tests" / "support")


@functools.cache
def needs_torch(path: Path) -> bool:
    """Whether importing a file imports one of HEAVY in the end."""
    return _needs(path, set())


def mentions_extras(path: Path) -> bool:
    """Whether a file names any of HEAVY or BESIDE: a test of it may run only with them."""
    text = path.read_text(encoding="utf-8")
    return any(re.search(rf"\b{name}\b", text) for name in HEAVY | BESIDE)


def _needs(path: Path, seen: set[Path]) -> bool:
    seen.add(path)
    heavy, files = _imported(path)
    return heavy or any(file not in seen and _needs(file, seen) for file in files)


@functools.cache
def _imported(path: Path) -> tuple[bool, tuple[Path, ...]]:
    """Whether a file itself imports one of HEAVY, and which files of ours it imports."""
    names = list(_imports(ast.parse(path.read_text(encoding="utf-8")).body))
    heavy = any(name.partition(".")[0] in HEAVY for name in names)
    return heavy, tuple(dict.fromkeys(file for name in names for file in _files(name)))


def _imports(body: list[ast.stmt]) -> Iterator[str]:
    """Names that a module imports when it is imported itself: nothing inside of functions or for type checkers."""
    for node in body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" not in ast.unparse(node.test):
            yield from _imports([*node.body, *node.orelse])
        elif isinstance(node, ast.Try):
            yield from _imports([*node.body, *node.orelse, *node.finalbody])
        elif isinstance(node, ast.With | ast.ClassDef):
            yield from _imports(node.body)


@functools.cache
def _files(name: str) -> tuple[Path, ...]:
    """Files of ours that an import of a dotted name runs. What the package offers is imported on demand, by name."""
    return tuple(_found(name.split(".")))


def _found(parts: list[str]) -> Iterator[Path]:
    for folder in FOLDERS:
        for count in range(1, len(parts) + 1):
            place = folder.joinpath(*parts[:count])
            for file in (place / "__init__.py", place.with_suffix(".py")):
                if file.is_file():
                    yield file
    if parts[0] == "blockskim" and len(parts) == 2:
        yield from _offered(parts[1])


@functools.cache
def _homes() -> dict[str, str]:
    """Where the public names are defined."""
    tree = ast.parse((ROOT / "src" / "blockskim" / "__init__.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_HOMES":
            homes: dict[str, str] = ast.literal_eval(node.value)
            return homes
    raise AssertionError("blockskim/__init__.py has no _HOMES")


def _offered(public: str) -> Iterator[Path]:
    home = _homes().get(public)
    if home is not None:
        yield from _files(home)
