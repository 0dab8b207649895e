"""What tables are made of: results by their names, rows as Markdown, and where figures come from."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

Results: TypeAlias = Mapping[str, Mapping[str, Any]]


def of(results: Results, part: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = results.get(part, {}).get("result", {})
    return found


def records_of(results: Results, part: str) -> Iterable[Mapping[str, Any]]:
    records: Iterable[Mapping[str, Any]] = results.get(part, {}).get("result", [])
    return records


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return "Not measured for this model yet.\n"
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def source(results: Results, parts: Iterable[str]) -> str:
    """Where, when and by what commands the figures came about."""
    found = [results[part] for part in parts if part in results]
    if not found:
        return ""
    dates = sorted({part["date"] for part in found})
    machines = dict.fromkeys(_machine(part["machine"]) for part in found)
    when = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    commands = "; ".join(f"`{command}`" for command in dict.fromkeys(part["command"] for part in found))
    several = len(dict.fromkeys(part["command"] for part in found)) > 3
    how = "`results/` holds the commands" if several else commands
    return f"\n{'; '.join(machines)}; {when}; {how}\n"


def _machine(machine: Mapping[str, Any]) -> str:
    return f"{machine['cores']} cores, {machine['processor']} ({', '.join(machine['instructions'])})"
