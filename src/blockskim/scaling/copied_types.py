"""The type of a column that is copied from several Parquet files into one output.

It is wider than that of the first file only where every value of both has a place in it. A value that has none makes
its row wrong, and no value of one file may come to that for the sake of another file.
"""

from collections.abc import Sequence
from typing import Any

from blockskim.errors import DataError, ReadError
from blockskim.extras import load_pyarrow
from blockskim.scaling.arrow_values import copied_type
from blockskim.scaling.parquet_rows import open_parquet
from blockskim.scaling.rows import InputFile

LARGEST_EXACT = 2**53
"""Whole numbers up to here are numbers of double precision, too."""

_UNITS = ("s", "ms", "us")
"""Of moments, from coarse to fine. Nanoseconds have no place for every year that the others know."""


def copied_types(files: Sequence[InputFile], names: Sequence[str]) -> dict[str, Any]:
    """The type of each column in the output, of those that a Parquet file has.

    A file in which a column holds nulls alone, or that has no rows, may tell none, and one that is damaged does not.

    Raises:
        ReadError: the system failed to read a file.
    """
    pyarrow, _ = load_pyarrow()
    types: dict[str, Any] = {}
    exact: dict[str, bool] = {}
    for file in files:
        if file.format != "parquet":
            continue
        try:
            with open_parquet(file.path) as parquet:
                known = parquet.schema_arrow
                # Of a file with a column that is there twice, reading the rows will tell.
                for name in (name for name in names if known.names.count(name) == 1):
                    kind = copied_type(known.field(name).type)
                    exact[name] = exact.get(name, True) and _is_exact(parquet.metadata, name, kind)
                    types[name] = wider_type(types.get(name, pyarrow.null()), kind, exact[name])
        except ReadError:
            raise
        except DataError:
            # Reading its rows tells of it.
            continue
    return types


def wider_type(kind: Any, other: Any, exact: bool = False) -> Any:
    """A type that holds all values of two; the first where there is none such.

    Args:
        kind: that of the files before.
        other: that of a further file.
        exact: whether all whole numbers of 64 bits that are there are numbers of double precision, too.
    """
    pyarrow, _ = load_pyarrow()
    if kind == other or _is("null", other):
        return kind
    if _is("null", kind):
        return other
    if _is("struct", kind) and _is("struct", other):
        return _wider_struct(kind, other)
    if _is("list", kind) and _is("list", other):
        return pyarrow.list_(kind.value_field.with_type(wider_type(kind.value_type, other.value_type)))
    if _is("timestamp", kind) and _is("timestamp", other):
        both = kind.unit in _UNITS and other.unit in _UNITS and bool(kind.tz) == bool(other.tz)
        # Where a moment is shown is no part of it.
        return pyarrow.timestamp(max(kind.unit, other.unit, key=_UNITS.index), kind.tz) if both else kind
    if any(_is(name, kind) and _is(f"large_{name}", other) for name in ("string", "binary")):
        return other
    whole = [each for each in (kind, other) if _is("integer", each)]
    if len(whole) == 1 and (_is("floating", kind) or _is("floating", other)):
        return pyarrow.float64() if exact or whole[0].bit_width <= 32 else kind
    return other if _holds(other, kind) else kind


def _wider_struct(kind: Any, other: Any) -> Any:
    pyarrow, _ = load_pyarrow()
    fields = {field.name: field for field in kind}
    for field in other:
        before = fields.get(field.name)
        fields[field.name] = field if before is None else before.with_type(wider_type(before.type, field.type))
    return pyarrow.struct(list(fields.values()))


def _holds(kind: Any, other: Any) -> bool:
    """Whether a type of numbers holds every number of another of its sort."""
    if _is("floating", kind):
        return _is("floating", other) and bool(kind.bit_width > other.bit_width)
    if not (_is("integer", kind) and _is("integer", other)):
        return False
    fits_sign = _is("signed_integer", kind) or not _is("signed_integer", other)
    return fits_sign and bool(kind.bit_width > other.bit_width)


def _is_exact(metadata: Any, name: str, kind: Any) -> bool:
    """Whether a column holds no whole numbers but those that are numbers of double precision, too."""
    if not _is("integer", kind) or kind.bit_width <= 32:
        return True
    places = (at for at in range(metadata.num_columns) if metadata.schema.column(at).path == name)
    place = next(places, None)
    if place is None:
        return False
    told = [metadata.row_group(group).column(place).statistics for group in range(metadata.num_row_groups)]
    return all(
        found is not None and found.has_min_max and -LARGEST_EXACT <= found.min <= found.max <= LARGEST_EXACT
        for found in told
        # A group of nulls alone has no least one.
        if found is None or found.num_values
    )


def _is(name: str, kind: Any) -> bool:
    pyarrow, _ = load_pyarrow()
    return bool(getattr(pyarrow.types, f"is_{name}")(kind))
