"""The reference of recipes, from the settings themselves and the recipes that ship."""

from dataclasses import MISSING, Field, fields
from importlib import resources
from typing import Any

from markdown_text import GENERATED, attributes, code, plain, table

INTRODUCTION = """
# Recipe settings

A recipe is a YAML file with any of these settings, or the name of one
[that comes with the library](#recipes-that-ship). `extends: NAME_OR_FILE` takes all settings of another recipe that the
file does not have itself. `blockskim train --set NAME=VALUE` changes one of them (`--set skim.block_size=32`), and so
does `Recipe.replace` in Python. Unknown names and impossible values are refused before anything is loaded.

**Without a recipe** the command line and Python do not do the same. `blockskim train` without `--recipe` takes the
recipe [`default`](#default). `blockskim.train` without `recipe` takes `Recipe()`, every setting at the default of the
tables below; `Recipe.load("default")` is what the command line takes. The two differ in:

DIFFERENCES

```yaml
extends: skim
epochs: 2
skim:
  block_size: 32
windows:
  max_length: 512
```
"""


def recipe_page() -> str:
    """The page."""
    from blockskim.data.windows import WindowSettings
    from blockskim.method.config import SkimConfig
    from blockskim.training.distillation_settings import DistillationSettings
    from blockskim.training.recipe import GROUPS, Recipe

    groups = (("skim", SkimConfig), ("windows", WindowSettings), ("distillation", DistillationSettings))
    introduction = INTRODUCTION.replace("DIFFERENCES", _differences(Recipe.load("default"), Recipe()))
    parts = [GENERATED + introduction, "\n## Training\n\n", _settings(Recipe, skip=GROUPS)]
    for name, kind in groups:
        parts += [f"\n## {name}\n\n", f"{plain((kind.__doc__ or '').partition('Attributes:')[0])}\n\n", _settings(kind)]
    return "".join([*parts, "\n## Recipes that ship\n", *(_shipped(name) for name in _names())])


def _differences(command: Any, python: Any) -> str:
    """The settings of two recipes that are not the same, those of the command line first."""
    ours, others = command.to_dict(), python.to_dict()
    rows = [(code(name), _shown(ours[name]), _shown(others[name])) for name in ours if ours[name] != others[name]]
    return table(("setting", '`Recipe.load("default")`', "`Recipe()`"), rows).rstrip()


def _shown(value: Any) -> str:
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _settings(kind: Any, skip: tuple[str, ...] = ()) -> str:
    told = attributes(kind.__doc__ or "")
    rows = [(code(item.name), _default(item), told[item.name]) for item in fields(kind) if item.name not in skip]
    return table(("setting", "default", ""), rows)


def _default(item: Field[Any]) -> str:
    value = item.default
    if value is MISSING:
        value = {} if item.default_factory is MISSING else item.default_factory()
    if value is None:
        return "`null`"
    if isinstance(value, bool):
        return code(str(value).lower())
    return code(list(value) if isinstance(value, tuple) else value)


def _names() -> list[str]:
    from blockskim.training.recipe import shipped_recipes

    return shipped_recipes()


def _shipped(name: str) -> str:
    text = (resources.files("blockskim") / "recipes" / f"{name}.yaml").read_text(encoding="utf-8")
    lines = text.splitlines()
    remark = [line.lstrip("# ") for line in lines if line.startswith("#")]
    rest = "\n".join(line for line in lines if not line.startswith("#"))
    return f"\n### {name}\n\n{' '.join(remark)}\n\n```yaml\n{rest}\n```\n"
