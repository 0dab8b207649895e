"""Shards as the bytes of a file: JSON lines, or Parquet with the same columns in every shard."""

import io
import json
import math
import reprlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from blockskim.checks import is_text
from blockskim.extras import load_pyarrow
from blockskim.scaling.arrow_values import ArrowTime, as_array, can_hold
from blockskim.scaling.copied_types import copied_types
from blockskim.scaling.jobs import Field
from blockskim.scaling.plan import ERROR, ROW, BulkPlan
from blockskim.scaling.rows import Row

_TEXTS = ("string", "large_string", "string_view")
"""Names of Arrow's types of text."""


def shard_schema(plan: BulkPlan) -> Any:
    """The columns of every shard in Parquet; None for JSON lines.

    Columns that are copied have the type that they have in the input if its first file is Parquet; from other formats
    they are text, as rows may differ in type there.

    Raises:
        ReadError: the system failed to read an input file.
        ConfigError: pyarrow is not installed.
    """
    if plan.output_format != "parquet":
        return None
    pyarrow, _ = load_pyarrow()
    types = copied_types(plan.files, plan.kept) if plan.kept and plan.files[0].format == "parquet" else {}
    kept = [pyarrow.field(name, types.get(name, pyarrow.string())) for name in plan.kept]
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
    arrays = [as_array(_fitted([row.get(field.name) for row in rows], field.type), field.type) for field in schema]
    file = io.BytesIO()
    pq.write_table(pyarrow.Table.from_arrays(arrays, schema=schema), file)
    return file.getvalue()


def arrow_column(values: Sequence[Any], field: Field) -> Any:
    """What a job made of some rows, for one of its columns, as an array of Arrow."""
    kind = _arrow_type(field)
    return as_array(_fitted(values, kind), kind)


def check_kept(rows: Sequence[Row], plan: BulkPlan, schema: Any) -> list[Row]:
    """The rows, of which those are wrong whose copied columns can't be written as they are.

    Args:
        rows: of a shard.
        plan: says which columns are copied.
        schema: as ``shard_schema`` gives it.
    """
    if schema is None:
        return [_checked_for_json(row) for row in rows]
    checked = list(rows)
    for name in plan.kept:
        kind = schema.field(name).type
        if _fit([row.kept.get(name) for row in checked], kind):
            continue
        for number, row in enumerate(checked):
            value = row.kept.get(name)
            if not _fit([value], kind):
                needed = "UTF-8 text" if isinstance(value, str) and not is_text(value) else kind
                checked[number] = _without(row, name, f"{name!r} is {_shown(value)}, which is no {needed}")
        # Each may fit alone, and all of them not into one column.
        if not _fit([row.kept.get(name) for row in checked], kind):
            reason = f"the values of {name!r} are too many for {kind}"
            checked = [_without(row, name, reason) for row in checked]
    return checked


def _checked_for_json(row: Row) -> Row:
    """A row, which is wrong if JSON has nothing to write a copied value with."""
    for name, value in row.kept.items():
        try:
            _plain(value)
        except UnicodeDecodeError:
            reason = "holds bytes that are no UTF-8 text, which --output-format parquet can copy and JSON not"
            row = _without(row, name, f"{name!r} {reason}")
        except ValueError as error:
            reason = "holds a time that has no text; Parquet can copy it (--output-format parquet)"
            row = _without(row, name, f"{name!r} {reason}: {error}")
    return row


def _without(row: Row, name: str, reason: str) -> Row:
    """A row that is wrong, without the value of a copied column."""
    return replace(row, kept={**row.kept, name: None}, error=row.error or f"{row.where}: {reason}")


def _shown(value: Any) -> str:
    """A value for people, cut where it is long."""
    try:
        return value.text() if isinstance(value, ArrowTime) else reprlib.repr(value)
    except ValueError:
        return repr(value)


def _fit(values: Sequence[Any], kind: Any) -> bool:
    try:
        return can_hold(kind, _fitted(values, kind))
    # There are bytes that are no text, or times that no text has.
    except ValueError:
        return False


def _line(row: dict[str, Any]) -> str:
    text = json.dumps(_plain(row), ensure_ascii=False, allow_nan=False)
    # Halves of surrogate pairs can stand in JSON alone as escapes.
    return (text if is_text(text) else json.dumps(_plain(row), allow_nan=False)) + "\n"


def _plain(value: Any) -> Any:
    """A value as JSON has it: dates and numbers of other kinds as text, and what is no number as null.

    Raises:
        ValueError: there is no such text.
    """
    if isinstance(value, np.generic):
        # Numbers of half precision, before pyarrow 21.
        value = value.item()
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, ArrowTime):
        return value.text()
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


def _fitted(values: Sequence[Any], kind: Any) -> Sequence[Any]:
    """Values for a column of Parquet: what is no text becomes JSON where the column holds text.

    Raises:
        ValueError: a column of text can't hold one.
    """
    return [_as_text(value) for value in values] if str(kind) in _TEXTS else values


def _as_text(value: Any) -> str | None:
    """A value as text.

    Raises:
        ValueError: there is none that UTF-8 can write.
    """
    plain = _plain(value)
    if plain is None:
        return None
    text = plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False)
    if not is_text(text):
        raise ValueError("it holds half of a surrogate pair")
    return text


def _arrow_type(field: Field) -> Any:
    pyarrow, _ = load_pyarrow()
    if field.many:
        return pyarrow.list_(_arrow_type(field._replace(many=False)))
    if isinstance(field.kind, tuple):
        return pyarrow.struct([pyarrow.field(item.name, _arrow_type(item)) for item in field.kind])
    return {"text": pyarrow.string(), "number": pyarrow.float64(), "whole": pyarrow.int64()}[field.kind]
