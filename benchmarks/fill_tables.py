"""Write the tables between their markers in the README, the model card and the docs, or tell which are not as measured.

    python benchmarks/fill_tables.py            # write them
    python benchmarks/fill_tables.py --check    # tell, and exit with 1

A table stands between ``<!-- table: NAME -->`` and ``<!-- end of table -->``, each on a line of its own; names are
those of ``result_tables.py``.
"""

import argparse
import re
import sys
from collections.abc import Iterable
from pathlib import Path

from result_files import ROOT, Part, digest_for, read_parts, read_results
from result_tables import TABLES
from table_parts import Results

from blockskim.atomic import write_whole

MARKED = re.compile(
    r"^(<!-- table: (?P<name>[\w-]+) -->\n)(?P<table>.*?)^(<!-- end of table -->)$", re.DOTALL | re.MULTILINE
)
# What a sentence says of the marks begins no table.
BEGUN = re.compile("^<!-- table: ", re.MULTILINE)


def main() -> int:
    """Write or check all documents."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing")
    chosen = parser.parse_args()
    parts, results = read_parts()[0], read_results()
    problems = outdated(parts, results)
    for file in documents():
        before = file.read_text(encoding="utf-8")
        after = filled(before, results)
        if before == after:
            continue
        if chosen.check:
            problems.append(f"{file.relative_to(ROOT)}: a table is not what results/ holds; run fill_tables.py")
        else:
            write_whole(file, after)
    for line in problems:
        sys.stderr.write(f"{line}\n")
    return 1 if problems else 0


def documents() -> list[Path]:
    """Every document that may hold tables."""
    return [
        ROOT / "README.md",
        ROOT / "results" / "README.md",
        ROOT / "src" / "blockskim" / "default_model" / "README.md",
        *sorted((ROOT / "docs").rglob("*.md")),
    ]


def filled(text: str, results: Results) -> str:
    """A document with the tables that the results give.

    Raises:
        ValueError: a marker names no table, or one has no end.
    """

    def table(match: re.Match[str]) -> str:
        if match["name"] not in TABLES:
            raise ValueError(f"there is no table {match['name']!r}; there are {', '.join(TABLES)}")
        return match[1] + TABLES[match["name"]](results) + match[4]

    if len(BEGUN.findall(text)) != len(MARKED.findall(text)):
        raise ValueError("a marker of a table has no end")
    return MARKED.sub(table, text)


def outdated(parts: Iterable[Part], results: Results) -> list[str]:
    """What was measured with other weights, or by another command than the part has now."""
    lines = []
    for part in parts:
        kept = results.get(part.name)
        if kept is None:
            continue
        if kept["weights"] != digest_for(part):
            lines.append(f"results/{part.name}.json was measured with other weights than the shipped ones")
        if kept["template"] != part.command:
            lines.append(f"results/{part.name}.json was measured by another command than benchmarks/results.yaml has")
    return lines


if __name__ == "__main__":
    sys.exit(main())
