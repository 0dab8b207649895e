"""The reference of the command line, from the commands themselves."""

import inspect
from collections.abc import Iterator
from enum import Enum
from typing import Any

import typer
from markdown_text import GENERATED, code, plain, table

INTRODUCTION = """
# Command line

Written from the commands themselves; `blockskim COMMAND --help` says the same. Exit codes: 0; 1 for data or a model
that can't be used, or a file that can't be written; 2 for options that can't be; 130 when interrupted. With `--json`
standard output holds [JSON](json-output.md) and nothing else, and everything for people goes to standard error.

"""


def commands_page() -> str:
    """The page."""
    from blockskim.cli.commands import app

    commands = list(_commands("blockskim", typer.main.get_command(app)))
    index = table(
        ("command", "does"),
        ((f"[`{name}`](#{name.replace(' ', '-')})", _first_line(command)) for name, command in commands),
    )
    return GENERATED + INTRODUCTION + index + "".join(_section(name, command) for name, command in commands)


def _commands(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    """Names and commands of a group, in its order, those of its groups included."""
    for part, inner in command.commands.items():
        if hasattr(inner, "commands"):
            yield from _commands(f"{name} {part}", inner)
        else:
            yield f"{name} {part}", inner


def _section(name: str, command: Any) -> str:
    visible = [parameter for parameter in command.params if not getattr(parameter, "hidden", False)]
    arguments = [parameter for parameter in visible if parameter.param_type_name == "argument"]
    options = [parameter for parameter in visible if parameter.param_type_name == "option"]
    usage = " ".join([name, *(_usage(option) for option in options if option.required), "[OPTIONS]"])
    usage += "".join(f" {_argument(argument)}" for argument in arguments)
    text = plain(inspect.cleandoc(command.help or "").replace("\n\n", " "))
    rows = [(code(_argument(argument)), "", plain(argument.help or "")) for argument in arguments]
    rows += [(_names(option), _default(option), _without_default(plain(option.help or ""))) for option in options]
    return f"\n## {name}\n\n{text}\n\n```text\n{usage}\n```\n\n{table(('option', 'default', ''), rows)}"


def _first_line(command: Any) -> str:
    return plain((command.help or "").strip().partition("\n\n")[0])


def _argument(argument: Any) -> str:
    name = argument.metavar or argument.name.upper()
    return name if argument.required else f"[{name}]"


def _usage(option: Any) -> str:
    return f"{option.opts[0]} {_value(option)}"


def _names(option: Any) -> str:
    names = ", ".join(code(name) for name in sorted([*option.opts, *option.secondary_opts], key=len, reverse=True))
    value = _value(option)
    return f"{names} {code(value)}" if value else names


def _value(option: Any) -> str:
    """What is typed behind an option."""
    if option.is_flag:
        return ""
    if option.metavar:
        return str(option.metavar)
    choices = _choices(option)
    if choices is None:
        return "TEXT"
    return "|".join(str(choice.value) for choice in choices)


def _choices(option: Any) -> type[Enum] | None:
    """The names that an option takes, where it takes names."""
    if isinstance(option.default, Enum):
        return type(option.default)
    kind = getattr(getattr(option, "type_descriptor", None), "annotation", None)
    return kind if isinstance(kind, type) and issubclass(kind, Enum) else None


def _default(option: Any) -> str:
    _, found, named = (option.help or "").partition("[default: ")
    if found:
        return plain(named.rstrip("]"))
    if option.required:
        return "required"
    value = option.default.value if isinstance(option.default, Enum) else option.default
    if option.is_flag:
        return "on" if value else "off"
    return "" if value in (None, [], ()) else code(value)


def _without_default(text: str) -> str:
    return text.partition(" [default: ")[0]
