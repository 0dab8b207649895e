"""The type of a column that is copied from several Parquet files into one output.

It is wider than that of the first file only where every value of both has a place in it. A value that has none makes
its row wrong, and no value of one file may come to that for the sake of another file.
"""

from collections.abc import Sequence
from functools import partial, reduce
from typing import Any

from blockskim.errors import DataError, ReadError
from blockskim.extras import load_pyarrow
from blockskim.scaling.arrow_values import copied_type, is_kind
from blockskim.scaling.parquet_rows import open_parquet
from blockskim.scaling.rows import InputFile

LARGEST_EXACT = 2**53
"""Whole numbers up to here are numbers of double precision, too."""


def copied_types(files: Sequence[InputFile], names: Sequence[str]) -> dict[str, Any]:
    """The type of each column in the output, of those that a Parquet file has.

    A file in which a column holds nulls alone, or that has no rows, may tell none, and one that is damaged does not.

    Raises:
        ReadError: the system failed to read a file.
    """
    pyarrow, _ = load_pyarrow()
    kinds: dict[str, list[Any]] = {}
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
                    kinds.setdefault(name, []).append(kind)
                    exact[name] = exact.get(name, True) and _is_exact(parquet.metadata, name, kind)
        except ReadError:
            raise
        except DataError:
            # Reading its rows tells of it.
            continue
    return {
        name: reduce(partial(wider_type, exact=exact[name]), found, pyarrow.null()) for name, found in kinds.items()
    }


def wider_type(kind: Any, other: Any, exact: bool = False) -> Any:
    """A type that holds all values of two; the first where there is none such, or none is known.

    Args:
        kind: that of the files before.
        other: that of a further file.
        exact: whether all whole numbers of 64 bits that are there are numbers of double precision, too.
    """
    pyarrow, _ = load_pyarrow()
    if kind == other or is_kind("null", other):
        return kind
    if is_kind("null", kind):
        return other
    if is_kind("struct", kind) and is_kind("struct", other):
        return _wider_struct(kind, other)
    for name in ("list", "large_list"):
        if is_kind(name, kind) and is_kind(name, other):
            make = pyarrow.list_ if name == "list" else pyarrow.large_list
            return make(_any(kind.value_field.with_type(wider_type(kind.value_type, other.value_type))))
    if is_kind("timestamp", kind) and is_kind("timestamp", other) and kind.tz and other.tz:
        # Where a moment is shown is no part of it.
        other = pyarrow.timestamp(other.unit, kind.tz)
    if {_sort_of(kind), _sort_of(other)} == {"whole", "decimal"}:
        return _wider_decimal(kind, other) or kind
    if is_kind("nested", kind) or is_kind("nested", other) or _loses(kind, other, exact):
        return kind
    schemas = [pyarrow.schema([("column", each)]) for each in (kind, other)]
    try:
        return pyarrow.unify_schemas(schemas, promote_options="permissive").field("column").type
    except (pyarrow.ArrowTypeError, pyarrow.ArrowInvalid):
        return kind


def _wider_struct(kind: Any, other: Any) -> Any:
    pyarrow, _ = load_pyarrow()
    fields = {field.name: _any(field) for field in kind}
    for field in other:
        before = fields.get(field.name)
        fields[field.name] = _any(field if before is None else before.with_type(wider_type(before.type, field.type)))
    return pyarrow.struct(list(fields.values()))


def _wider_decimal(*kinds: Any) -> Any:
    """A decimal for all of a type of whole numbers and one of decimals, None if none is wide enough.

    What Arrow takes has the digits of the decimals and may lack some before the point.
    """
    pyarrow, _ = load_pyarrow()
    (decimal,) = (kind for kind in kinds if is_kind("decimal", kind))
    (whole,) = (kind for kind in kinds if is_kind("integer", kind))
    bits = whole.bit_width - is_kind("signed_integer", whole)
    digits = max(len(str(2**bits)), decimal.precision - decimal.scale) + decimal.scale
    makers = ((38, pyarrow.decimal128), (76, pyarrow.decimal256))
    return next((make(digits, decimal.scale) for most, make in makers if digits <= most), None)


def _any(field: Any) -> Any:
    """A field that may be null, as it is where one of the files has it so, or has no such field."""
    return field.with_nullable(True)


def _loses(kind: Any, other: Any, exact: bool) -> bool:
    """Whether the type that Arrow would take for both holds some values of one as others, or not at all."""
    sorts = {_sort_of(kind), _sort_of(other)}
    if "fraction" in sorts and "whole" in sorts:
        widths = [each.bit_width for each in (kind, other) if _sort_of(each) == "whole"]
        return not exact and max(widths) > 32
    if sorts == {"whole"}:
        # Nothing holds all of both but what is no number of 64 bits.
        wide = [each for each in (kind, other) if each.bit_width == 64 and is_kind("unsigned_integer", each)]
        return bool(wide) and (is_kind("signed_integer", kind) or is_kind("signed_integer", other))
    # Nanoseconds have no place for every year that coarser units know.
    finest = [each.unit == "ns" for each in (kind, other) if is_kind("timestamp", each) or is_kind("duration", each)]
    return sorts in ({"text", "bytes"}, {"decimal", "fraction"}) or (len(finest) == 2 and finest[0] != finest[1])


_SORTS = {
    "integer": "whole",
    "floating": "fraction",
    "decimal": "decimal",
    **dict.fromkeys(("string", "large_string", "string_view"), "text"),
    **dict.fromkeys(("binary", "large_binary", "binary_view", "fixed_size_binary"), "bytes"),
}
"""Of types of Arrow: those of two sorts hold other values, though Arrow may put one into the other."""


def _sort_of(kind: Any) -> str:
    return next((sort for name, sort in _SORTS.items() if is_kind(name, kind)), "")


def _is_exact(metadata: Any, name: str, kind: Any) -> bool:
    """Whether a column holds no whole numbers but those that are numbers of double precision, too."""
    if not is_kind("integer", kind) or kind.bit_width <= 32:
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
