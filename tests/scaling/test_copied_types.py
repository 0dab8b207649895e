"""A column of several files has a type that holds the values of all, and never one by which those of one lose."""

import datetime
from decimal import Decimal

import pytest

from blockskim.scaling.copied_types import copied_types
from bulk_runs import plan_for, run, tables_of

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

DAY = datetime.datetime(2020, 1, 1, 12, 0, 0, 123456)
LATE = DAY.replace(year=9999)
LARGE = 2**60 + 1


def copied(folder, *columns):
    """The output's columns "k" and "error" of a run over a file for each column "k"."""
    plan = plan_for(folder, *tables_of(folder, *columns), keep=("k",), output_format="parquet")
    run(plan)
    table = pq.read_table(plan.output)
    return table["k"], table["error"].to_pylist()


def of(values, kind=None):
    return pa.array(values, kind)


@pytest.mark.parametrize(
    ("first", "second", "kind"),
    [
        (of([1]), of([1.5]), pa.float64()),
        (of([1.5], pa.float32()), of([1e300]), pa.float64()),
        (of([1], pa.int8()), of([1000]), pa.int64()),
        (of([1], pa.uint8()), of([-1000], pa.int32()), pa.int32()),
        (of(["a"]), of(["b"], pa.large_string()), pa.large_string()),
        (of([None]), of(["b"]), pa.string()),
        (of([DAY.replace(microsecond=0)], pa.timestamp("ms")), of([DAY]), pa.timestamp("us")),
        (of([{"a": 1}]), of([{"a": 1, "b": 2}]), pa.struct([("a", pa.int64()), ("b", pa.int64())])),
        (of([[1]], pa.list_(pa.int8())), of([[None, 5000]]), pa.list_(pa.int64())),
        (of([[1]], pa.large_list(pa.int8())), of([[5000]], pa.large_list(pa.int64())), pa.large_list(pa.int64())),
        (
            of([[1]], pa.list_(pa.field("item", pa.int8(), False))),
            of([[None]], pa.list_(pa.int8())),
            pa.list_(pa.int8()),
        ),
        (
            of([{"a": 1}], pa.struct([pa.field("a", pa.int64(), False)])),
            of([{"a": None, "b": 2}]),
            pa.struct([("a", pa.int64()), ("b", pa.int64())]),
        ),
        (of([Decimal("1.10")]), of([Decimal("1234.50")]), pa.decimal128(6, 2)),
        (of([20000], pa.int16()), of([Decimal("999.99")], pa.decimal128(5, 2)), pa.decimal128(7, 2)),
        (of([-(2**63)]), of([Decimal("0.5")], pa.decimal128(20, 20)), pa.decimal256(39, 20)),
        (of([2**64 - 1], pa.uint64()), of([Decimal(500)]), pa.decimal128(20, 0)),
        (of([[20000]], pa.list_(pa.int16())), of([[Decimal("9.99")]]), pa.list_(pa.decimal128(7, 2))),
        (of([-1], pa.int32()), of([2**32 - 1], pa.uint32()), pa.int64()),
        (of([DAY.time().replace(microsecond=0)], pa.time32("ms")), of([DAY.time()]), pa.time64("us")),
        (of([b"ab"], pa.binary(2)), of([b"abc"], pa.binary(3)), pa.binary()),
    ],
    ids=str,
)
def test_a_column_has_a_type_that_holds_the_values_of_all_files(tmp_path, first, second, kind):
    for number, columns in enumerate(((first, second), (second, first))):
        folder = tmp_path / str(number)
        folder.mkdir()
        values, errors = copied(folder, *columns)
        assert set(errors) == {None}
        assert values.type == kind or pa.types.is_struct(kind)
        assert values.to_pylist() == [
            {name.name: value.get(name.name) for name in kind} if pa.types.is_struct(kind) else value
            for column in columns
            for value in column.to_pylist()
        ]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (of([LARGE]), of([1.0])),
        (of([2**64 - 1], pa.uint64()), of([1])),
        (of([LATE]), of([DAY], pa.timestamp("ns"))),
        (of([{"k": Decimal("1.10")}]), of([{"k": 1.0}])),
        (of([["a"]]), of([[b"a"]])),
        (of([Decimal("1.10")]), of([1.0])),
        (of([1]), of([Decimal("0.5")], pa.decimal256(76, 70))),
        (of([Decimal("0.5")], pa.decimal256(76, 70)), of([1])),
        (of([DAY], pa.timestamp("ms", "UTC")), of([DAY], pa.timestamp("us", "+00:00"))),
    ],
    ids=str,
)
def test_no_value_is_lost_for_the_sake_of_another_file(tmp_path, first, second):
    values, errors = copied(tmp_path, first, second)
    assert errors[0] is None
    assert values[0].as_py() == first[0].as_py()


def test_moments_have_the_finer_unit_wherever_they_are_shown(tmp_path):
    columns = of([DAY], pa.timestamp("ms", "UTC")), of([DAY], pa.timestamp("us", "+00:00"))
    values, errors = copied(tmp_path, *columns)
    assert set(errors) == {None}
    assert values.type == pa.timestamp("us", "UTC")


def test_what_is_known_of_a_later_file_decides_as_well(tmp_path):
    values, errors = copied(tmp_path, of([1]), of([1.5]), of([LARGE]))
    assert values.to_pylist() == [1, None, LARGE]
    assert [bool(error) for error in errors] == [False, True, False]


def test_whole_numbers_of_more_digits_than_those_with_fractions_have_stay_whole(tmp_path):
    """What Parquet tells of a column's least and largest value decides; of one of nulls alone it tells none."""
    names = ("k",)
    for values, kind in (([2**53, -(2**53)], pa.float64()), ([LARGE], pa.int64()), ([None], pa.float64())):
        folder = tmp_path / str(values)
        folder.mkdir()
        plan = plan_for(folder, *tables_of(folder, of(values, pa.int64()), of([1.5])), keep=names)
        assert copied_types(plan.files, names) == {"k": kind}
