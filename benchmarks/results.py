"""Measure the shipped model anew: every figure that the README, its card and the docs show.

    python benchmarks/results.py --data-folder data                      # what is missing or of other weights
    python benchmarks/results.py --data-folder data --only 'scores/*'    # some parts
    python benchmarks/results.py --list                                  # what there is, and how old

Parts are listed in ``results.yaml``; each is a command whose JSON is kept under ``results/``. A part that is there, of
the same weights, command and data, is not repeated without ``--again``; a run that was interrupted goes on where it
was. Where a part is repeated, its scores must be what they were. What a command found not to hold is kept as well, and
told of in the end. Afterwards ``fill_tables.py`` writes the tables. Parts that take times want the machine for
themselves; all of them take under four hours on two cores, without those that run only where they are named.
"""

import argparse
import fnmatch
import json
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from result_files import ROOT, Part, digest_for, read_parts, read_results, surroundings

from blockskim.atomic import write_whole

# Figures that depend on the clock or on what else is in memory: all others must come out the same again.
OF_THE_CLOCK = re.compile(r"seconds|speedup|spread|rate|fraction|memory|_mb|bytes|samples_per")

# What clients that come at random moments get is never the same twice, and of some parts all is of the clock.
NEVER_THE_SAME = ("serving/", "speed/surroundings", "evidence/one-call")


def main() -> int:
    """Run what is asked for, and keep each part as it is done."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data-folder", type=Path, default=Path("data"), help="where the files of results.yaml lie")
    parser.add_argument("--only", nargs="*", metavar="PATTERN", help="names of parts, perhaps with *")
    parser.add_argument("--again", action="store_true", help="repeat parts that are there already")
    parser.add_argument("--list", action="store_true", help="tell what there is and run nothing")
    chosen = parser.parse_args()
    parts, data = read_parts()
    patterns = chosen.only or (["*"] if chosen.list else [])
    asked = parts_named(parts, patterns)
    if not asked:
        parser.error(f"no part matches {' '.join(patterns)}; there are {', '.join(part.name for part in parts)}")
    results = read_results(parts=asked)
    waiting = [part for part in asked if chosen.again or state(part, results.get(part.name)) != "done"]
    if chosen.list:
        for part in asked:
            kept = results.get(part.name)
            sys.stdout.write(f"{state(part, kept):9} {kept['date'] if kept else '':10} {part.name}\n")
        return 0
    if not waiting:
        sys.stderr.write(f"nothing to measure; measured with these weights: {', '.join(part.name for part in asked)}\n")
    told = []
    for number, part in enumerate(waiting, 1):
        files = files_of(part, data, chosen.data_folder)
        missing = [str(file) for file in files.values() if not file.exists()]
        if missing:
            sys.stderr.write(f"{part.name}: left out, no {missing[0]}\n")
            continue
        sys.stderr.write(f"[{number}/{len(waiting)}] {part.name}, about {part.minutes:g} min: {shown(part, files)}\n")
        try:
            kept, status = measure(part, files)
        except json.JSONDecodeError:
            told.append(f"{part.name}: its command failed")
            continue
        if status:
            told.append(f"{part.name}: its command ended with {status}")
        before = results.get(part.name)
        if before is not None and state(part, before) == "done" and not part.name.startswith(NEVER_THE_SAME):
            told += [f"{part.name}: not as before: {line}" for line in differences(before["result"], kept["result"])]
        part.path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(part.path, json.dumps(kept, indent=1, ensure_ascii=False) + "\n")
    for line in told:
        sys.stderr.write(f"{line}\n")
    return 1 if told else 0


def parts_named(parts: Sequence[Part], patterns: Sequence[str]) -> list[Part]:
    """The parts that patterns match; without patterns, all that don't wait to be named."""
    if not patterns:
        return [part for part in parts if not part.on_request]
    return [part for part in parts if any(fnmatch.fnmatch(part.name, pattern) for pattern in patterns)]


def state(part: Part, kept: Mapping[str, Any] | None) -> str:
    """``missing``, ``outdated`` (of other weights or by another command) or ``done``."""
    if kept is None:
        return "missing"
    same = kept["template"] == part.command and kept["weights"] == digest_for(part)
    return "done" if same else "outdated"


def files_of(part: Part, data: Mapping[str, str], folder: Path) -> dict[str, Path]:
    """The data files that a part's command names."""
    return {name: folder / file for name, file in data.items() if f"{{{name}}}" in part.command}


def command_of(part: Part, files: Mapping[str, Path], report: Path) -> list[str]:
    """The words to run: with this interpreter, and with JSON on standard output or in ``report``."""
    program, *words = shlex.split(part.command)
    words = [word.format_map({**{name: str(file) for name, file in files.items()}, "report": report}) for word in words]
    if program == "blockskim":
        return [sys.executable, "-m", "blockskim", *words, "--json"]
    return [sys.executable, *words]


def shown(part: Part, files: Mapping[str, Path]) -> str:
    """The command as others would type it."""
    names = {name: file.name.removesuffix(".gz") for name, file in files.items()}
    return part.command.format_map({**names, "report": "report.json"})


def measure(part: Part, files: Mapping[str, Path]) -> tuple[dict[str, Any], int]:
    """Run a part and put beside its output what there is to know of it; and the exit status of its command.

    Raises:
        json.JSONDecodeError: the command printed nothing to keep.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        started = time.monotonic()
        done = subprocess.run(command_of(part, files, report), stdout=subprocess.PIPE, text=True, cwd=ROOT)
        took = time.monotonic() - started
        if "{report}" not in part.command:
            text = done.stdout
        else:
            # What a command prints before it fails is no result.
            text = report.read_text(encoding="utf-8") if report.exists() else ""
    kept = {
        "part": part.name,
        "command": shown(part, files),
        "template": part.command,
        "weights": digest_for(part),
        **surroundings(files),
        "minutes": round(took / 60, 1),
        "result": parsed(text),
    }
    return kept, done.returncode


def parsed(text: str) -> Any:
    """JSON, or a list of it where every line is a record.

    Raises:
        json.JSONDecodeError: it is neither.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        if not text.strip():
            raise
        return [json.loads(line) for line in text.splitlines()]


def differences(before: Any, now: Any, where: str = "") -> Iterable[str]:
    """Figures that are not what they were, but for those of the clock."""
    if isinstance(before, dict) and isinstance(now, dict):
        for name in sorted({*before, *now}):
            if not OF_THE_CLOCK.search(name):
                yield from differences(before.get(name), now.get(name), f"{where}.{name}".lstrip("."))
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        for number, (one, other) in enumerate(zip(before, now, strict=True)):
            yield from differences(one, other, f"{where}[{number}]")
    elif before != now:
        yield f"{where} was {before} and is {now}"


if __name__ == "__main__":
    sys.exit(main())
