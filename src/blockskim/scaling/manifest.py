"""What a run was begun with, written beside its output; a run that goes on must have the same."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from blockskim import __version__
from blockskim.atomic import write_whole
from blockskim.errors import ConfigError
from blockskim.scaling.input_files import fingerprint
from blockskim.scaling.model_files import model_digest
from blockskim.scaling.output import MANIFEST
from blockskim.scaling.plan import BulkPlan

FORMAT = 3
"""Version of the layout of an output directory, and of how rows are cut into shards."""

_NOT_FOR_ANSWERS = ("name", "threads")
"""What of the choice of a model makes no other answers; the files of the model have a digest."""


def describe_run(plan: BulkPlan, model: Path) -> dict[str, Any]:
    """All that the output depends on, as JSON has it.

    Args:
        plan: what is done; what its model runs on is resolved, as two machines need not choose the same.
        model: directory of the model.

    Raises:
        ModelError: the model can't be read.
        DataError: an input file can't be read.
    """
    choice = {name: value for name, value in asdict(plan.model).items() if name not in _NOT_FOR_ANSWERS}
    settings = {
        "format": FORMAT,
        "blockskim": __version__,
        "job": plan.job,
        "options": dict(plan.options),
        "columns": asdict(plan.columns),
        "model": {"digest": model_digest(model), **choice},
        "output_format": plan.output_format,
        "shard_rows": plan.shard_rows,
        "max_row_bytes": plan.row_limit,
        "inputs": [
            {
                "file": str(file.path),
                "format": file.format,
                "delimiter": file.delimiter,
                "bytes": file.size,
                "fingerprint": fingerprint(file),
            }
            for file in plan.files
        ],
    }
    values: dict[str, Any] = json.loads(json.dumps(settings))
    return values


def check_output(output: Path, run: Mapping[str, Any]) -> bool:
    """Whether a run was begun in a directory, which may be missing. Nothing is written.

    One that wrote no shard, as its options were impossible, say, binds nobody.

    Args:
        output: the directory of the output.
        run: what ``describe_run`` gave.

    Raises:
        ConfigError: another run was begun here, or what is here is damaged or none of ours.
    """
    if not output.exists():
        return False
    path = output / MANIFEST
    if path.exists():
        difference = _first_difference(_read(path), run)
        if not difference:
            return True
        if any(output.glob("part-*")):
            raise ConfigError(
                f"{output} was begun otherwise: {difference}; go on as it was begun, or name a new output"
            )
    # These begin what a run leaves that was killed in its first moments.
    if any(not entry.name.startswith((".", "_")) for entry in output.iterdir()):
        raise ConfigError(f"{output} exists already and has no {MANIFEST}; name a new directory")
    return False


def begin_or_go_on(output: Path, run: Mapping[str, Any]) -> None:
    """Write the manifest of a run, unless it was begun here.

    Args:
        output: the directory of the output.
        run: what ``describe_run`` gave.

    Raises:
        ConfigError: as ``check_output`` raises it.
        OSError: it can't be written; ``filename`` names it.
    """
    if not check_output(output, run):
        write_whole(output / MANIFEST, json.dumps(run, ensure_ascii=False, indent=1) + "\n")


def _read(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path} can't be read: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path} is no manifest of a run")
    return values


def _first_difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What differs first between two runs, for people; "" for nothing."""
    for name in dict.fromkeys([*now, *before]):
        old, new = before.get(name), now.get(name)
        if old == new:
            continue
        if name == "inputs":
            return _changed_input(old, new)
        if name == "model" and _value(old, "digest") != _value(new, "digest"):
            return "the model's files were others"
        if name == "format":
            return f"by another version of this library (format {json.dumps(old)}, and this one has {new})"
        if isinstance(old, dict) and isinstance(new, dict):
            inner = next(key for key in dict.fromkeys([*new, *old]) if old.get(key) != new.get(key))
            return f"{inner} was {json.dumps(old.get(inner))} and is {json.dumps(new.get(inner))}"
        return f"{name} was {json.dumps(old)} and is {json.dumps(new)}"
    return ""


def _changed_input(before: Any, now: Any) -> str:
    if not isinstance(before, list) or len(before) != len(now):
        count = len(before) if isinstance(before, list) else 0
        return f"there were {count:,} input files and are {len(now):,}"
    for old, new in zip(before, now, strict=True):
        if _value(old, "file") != new["file"]:
            return f"an input file was {_value(old, 'file')} and is {new['file']}"
        for name in ("bytes", "fingerprint"):
            if _value(old, name) != new[name]:
                return f"{new['file']} has changed"
        if old != new:
            return f"the format of {new['file']} was another"
    return "the input files were others"


def _value(item: Any, name: str) -> Any:
    return item.get(name) if isinstance(item, dict) else None
