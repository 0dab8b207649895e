"""Shards as the bytes of a file: JSON lines, or Parquet with the same columns in every shard."""

import io
import json
import math
import reprlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from blockskim.checks import is_text
from blockskim.extras import load_pyarrow
from blockskim.scaling.jobs import Field
from blockskim.scaling.parquet_rows import open_parquet
from blockskim.scaling.plan import ERROR, ROW, BulkPlan
from blockskim.scaling.rows import Row


def shard_schema(plan: BulkPlan) -> Any:
    """The columns of every shard in Parquet; None for JSON lines.

    Columns that are copied have the type that they have in the first input file if that is Parquet; from other formats
    they are text, as rows may differ in type there.

    Raises:
        DataError: the first input file can't be read.
        ConfigError: pyarrow is not installed.
    """
    if plan.output_format != "parquet":
        return None
    pyarrow, _ = load_pyarrow()
    kept = [pyarrow.field(name, pyarrow.string()) for name in plan.kept]
    if plan.kept and plan.files[0].format == "parquet":
        with open_parquet(plan.files[0].path) as parquet:
            known = parquet.schema_arrow
            kept = [known.field(field.name) if field.name in known.names else field for field in kept]
    return pyarrow.schema(
        [
            pyarrow.field(ROW, pyarrow.int64()),
            *(pyarrow.field(field.name, field.type) for field in kept),
            *(pyarrow.field(field.name, _arrow_type(field)) for field in plan.fields),
            pyarrow.field(ERROR, pyarrow.string()),
        ]
    )


def shard_bytes(rows: Sequence[dict[str, Any]], format: str, schema: Any) -> bytes:
    """The content of a file with these rows."""
    if format == "jsonl":
        return "".join(_line(row) for row in rows).encode("utf-8")
    pyarrow, pq = load_pyarrow()
    arrays = [
        pyarrow.array([_fitting(row.get(field.name), field.type) for row in rows], field.type) for field in schema
    ]
    file = io.BytesIO()
    pq.write_table(pyarrow.Table.from_arrays(arrays, schema=schema), file)
    return file.getvalue()


def arrow_column(values: Sequence[Any], field: Field) -> Any:
    """What a job made of some rows, for one of its columns, as an array of Arrow."""
    pyarrow, _ = load_pyarrow()
    kind = _arrow_type(field)
    return pyarrow.array([_fitting(value, kind) for value in values], kind)


def check_kept(rows: Sequence[Row], plan: BulkPlan, schema: Any) -> list[Row]:
    """The rows, of which those are wrong whose copied columns do not fit into the columns of Parquet.

    Args:
        rows: of a shard.
        plan: says which columns are copied.
        schema: as ``shard_schema`` gives it.
    """
    if schema is None or not rows:
        return list(rows)
    checked = list(rows)
    for name in plan.kept:
        kind = schema.field(name).type
        if _fit([row.kept.get(name) for row in rows], kind):
            continue
        for number, row in enumerate(checked):
            value = row.kept.get(name)
            if not _fit([value], kind):
                error = row.error or f"{row.where}: {name!r} is {reprlib.repr(value)}, which is no {kind}"
                checked[number] = replace(row, kept={**row.kept, name: None}, error=error)
    return checked


def _fit(values: Sequence[Any], kind: Any) -> bool:
    pyarrow, _ = load_pyarrow()
    try:
        pyarrow.array([_fitting(value, kind) for value in values], kind)
    except (pyarrow.ArrowException, TypeError, ValueError, OverflowError):
        return False
    return True


def _line(row: dict[str, Any]) -> str:
    text = json.dumps(_plain(row), ensure_ascii=False, allow_nan=False)
    # Halves of surrogate pairs can stand in JSON alone as escapes.
    return (text if is_text(text) else json.dumps(_plain(row), allow_nan=False)) + "\n"


def _plain(value: Any) -> Any:
    """A value as JSON has it: dates and numbers of other kinds as text, and what is no number as null."""
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, str | int | float):
        return value
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _fitting(value: Any, kind: Any) -> Any:
    """A value for a column of Parquet: what is no text becomes JSON where the column holds text."""
    if value is None or str(kind) != "string":
        return value
    if not isinstance(value, str):
        return json.dumps(_plain(value), ensure_ascii=False)
    return value if is_text(value) else value.encode("utf-8", "replace").decode("utf-8")


def _arrow_type(field: Field) -> Any:
    pyarrow, _ = load_pyarrow()
    if field.many:
        return pyarrow.list_(_arrow_type(field._replace(many=False)))
    if isinstance(field.kind, tuple):
        return pyarrow.struct([pyarrow.field(item.name, _arrow_type(item)) for item in field.kind])
    return {"text": pyarrow.string(), "number": pyarrow.float64(), "whole": pyarrow.int64()}[field.kind]
