"""Small pieces of Markdown."""

import re
from collections.abc import Iterable, Sequence

GENERATED = "<!-- Written by scripts/reference.py from the code. Don't edit. -->\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; a bar inside of a cell is escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"


def code(text: object) -> str:
    """Text as code."""
    return f"`{text}`"


def plain(text: str) -> str:
    """Words of a docstring on one line: double backticks become single ones."""
    return re.sub(r"``(.+?)``", r"`\1`", " ".join(text.split()))


def attributes(docstring: str) -> dict[str, str]:
    """What the section "Attributes" of a docstring says of each name."""
    _, _, section = docstring.partition("Attributes:\n")
    found: dict[str, str] = {}
    name = ""
    indent = len(section) - len(section.lstrip(" "))
    for line in section.splitlines():
        here = len(line) - len(line.lstrip(" "))
        if line.strip() and here < indent:
            break
        if here == indent and (match := re.match(r" *(\w+): (.*)", line)):
            name = match[1]
            found[name] = match[2]
        elif name and line.strip():
            found[name] += " " + line.strip()
    return {key: plain(value) for key, value in found.items()}
