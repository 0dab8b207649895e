"""What is copied into shards is what was read, or the row is wrong."""

import datetime
import json
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from blockskim.scaling.rows import Row
from blockskim.scaling.shard_files import check_kept, shard_bytes
from bulk_runs import json_lines, plan_for, rows_of, run, tables_of, written

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def copied(folder: Path, *columns, output_format="parquet"):
    """What is written of columns "k" of several files, and the errors of the rows."""
    plan = plan_for(folder, *tables_of(folder, *columns), keep=("k",), output_format=output_format)
    summary = run(plan)
    assert (summary.rows, summary.damaged) == (sum(map(len, columns)), [])
    if output_format == "jsonl":
        rows = written(plan.output)
        return [row["k"] for row in rows], [row["error"] for row in rows]
    table = pq.read_table(plan.output)
    return table["k"], table["error"].to_pylist()


DAY = datetime.datetime(2020, 1, 1, 12, 0, 0, 123456)


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (pa.array([1]), pa.array(["one"]), "'k' is 'one', which is no int64"),
        (pa.array([1.5]), pa.array([2**60 + 1]), f"'k' is {2**60 + 1}, which is no double"),
        (pa.array([1.5]), pa.array([Decimal("1.10")]), "'k' is Decimal('1.10'), which is no double"),
        (pa.array([Decimal("1.10")]), pa.array([0.1]), "'k' is 0.1, which is no decimal128(3, 2)"),
        (pa.array([DAY.date()]), pa.array([DAY]), "'k' is 2020-01-01 12:00:00.123456, which is no date32[day]"),
        (
            pa.array([DAY]),
            pa.array([DAY], pa.timestamp("us", tz="+05:00")),
            "'k' is 2020-01-01 17:00:00.123456+05:00, which is no timestamp[us]",
        ),
    ],
    ids=str,
)
def test_what_would_change_makes_its_row_wrong(tmp_path, first, second, message):
    values, errors = copied(tmp_path, first, second)
    assert values.combine_chunks().equals(pa.concat_arrays([first, pa.nulls(1, first.type)]))
    assert errors == [None, f"{tmp_path / '1.parquet'}: row 1: {message}"]


def test_a_column_that_a_dictionary_codes_is_written_out(tmp_path):
    coded = pa.DictionaryArray.from_arrays(pa.array([0, 1], pa.int8()), ["a", "b"])
    more = pa.array([f"v{number}" for number in range(200)])
    for name in ("jsonl", "parquet"):
        (tmp_path / name).mkdir()
        values, errors = copied(tmp_path / name, coded, more, output_format=name)
        assert list(map(str, values)) == ["a", "b", *more.to_pylist()]
        assert set(errors) == {None}
    assert values.type == pa.string()


def test_values_that_fit_alone_and_not_together_make_their_rows_wrong(tmp_path):
    plan = plan_for(tmp_path, json_lines(tmp_path / "rows.jsonl", rows_of(1)), keep=("k",), output_format="parquet")
    rows = [Row("q", "c", {"k": str(number)}, f"line {number}") for number in range(300)]
    schema = pa.schema([("k", pa.dictionary(pa.int8(), pa.string()))])
    checked = check_kept(rows, plan, schema)
    assert {(row.kept["k"], bool(row.error)) for row in checked} == {(None, True)}
    assert checked[0].error.startswith("line 0: the values of 'k' are too many for dictionary<")
    assert check_kept(rows[:3], plan, schema) == rows[:3]


def test_nanoseconds_are_copied_as_they_are(tmp_path):
    for number, kind in enumerate((pa.timestamp("ns"), pa.time64("ns"), pa.duration("ns"), pa.list_(pa.time64("ns")))):
        column = pa.array([1, 1000, None, 2001]).cast(pa.int64())
        column = pa.array([[1], None, [], [2]], kind) if number == 3 else column.view(kind)
        folder = tmp_path / str(number)
        folder.mkdir()
        values, errors = copied(folder, column)
        assert values.combine_chunks().equals(column)
        assert set(errors) == {None}


def test_nanoseconds_are_text_in_json(tmp_path):
    values, errors = copied(tmp_path, pa.array([1, 1000, None], pa.timestamp("ns")), output_format="jsonl")
    assert values == ["1970-01-01 00:00:00.000000001", "1970-01-01 00:00:00.000001000", None]
    assert errors == [None, None, None]


def test_dates_beyond_those_of_python_are_copied_and_have_no_text(tmp_path):
    column = pa.array([2**55, 0], pa.timestamp("ms"))
    (tmp_path / "lines").mkdir()
    assert copied(tmp_path, column)[0].combine_chunks().equals(column)
    values, errors = copied(tmp_path / "lines", column, output_format="jsonl")
    assert values == [None, "1970-01-01 00:00:00"]
    assert errors[1] is None
    assert errors[0].endswith(
        "row 1: 'k' holds a time that has no text; Parquet can copy it (--output-format parquet): Python has no "
        "timestamp of 36,028,797,018,963,968 ms"
    )


@pytest.mark.parametrize("output_format", ["jsonl", "parquet"])
def test_a_text_that_is_no_unicode_makes_its_row_wrong_and_no_other(tmp_path, output_format):
    offsets = pa.array([0, 1, 2, 3], pa.int32()).buffers()[1]
    column = pa.Array.from_buffers(pa.string(), 3, [None, offsets, pa.py_buffer(b"a\xffb")])
    values, errors = copied(tmp_path, column, output_format=output_format)
    assert list(map(str, values)) == ["a", "None", "b"]
    assert (errors[0], errors[2]) == (None, None)
    assert "row 2: 'k' can't be read: 'utf-8' codec can't decode byte 0xff" in errors[1]


def test_a_text_to_read_that_is_no_unicode_makes_its_row_wrong_and_no_other(tmp_path):
    offsets = pa.array([0, 1, 2, 3], pa.int32()).buffers()[1]
    column = pa.Array.from_buffers(pa.string(), 3, [None, offsets, pa.py_buffer(b"a\xffb")])
    (path,) = tables_of(tmp_path, column)
    run(plan_for(tmp_path, path, context_column="k"))
    errors = [row["error"] for row in written(tmp_path / "out")]
    assert (errors[0], errors[2]) == (None, None)
    assert "row 2: 'k' can't be read: 'utf-8' codec can't decode byte 0xff" in errors[1]


@pytest.mark.parametrize("damage", ["cut", "empty"])
def test_types_come_from_the_next_file_where_the_first_is_damaged(tmp_path, damage):
    first, second = tables_of(tmp_path, pa.array([1, 2]), pa.array([3, 4]))
    first.write_bytes(first.read_bytes()[:100] if damage == "cut" else b"")
    for output_format in ("parquet", "jsonl"):
        output = tmp_path / output_format
        summary = run(plan_for(tmp_path, first, second, keep=("k",), output_format=output_format, output=output))
        (message,) = summary.damaged
        assert message.startswith(f"{first}: can't be read as Parquet: ")
        assert (summary.rows, summary.errors) == (2, 0)
    assert pq.read_table(tmp_path / "parquet")["k"].to_pylist() == [3, 4]


def test_what_is_no_number_is_null_in_parquet_as_it_is_in_json_lines(tmp_path):
    path = tmp_path / "rows.jsonl"
    keys = ("NaN", "1e999", "[NaN]", "7")
    lines = [json.dumps(row).replace(f'"id": {row["id"]}', f'"id": {keys[row["id"]]}') for row in rows_of(4)]
    path.write_text("\n".join(lines))
    for output_format in ("jsonl", "parquet"):
        plan = plan_for(
            tmp_path, path, keep=("id",), output_format=output_format, output=tmp_path / output_format, shard_rows=9
        )
        assert run(plan).errors == 0
    assert pq.read_table(tmp_path / "parquet")["id"].to_pylist() == [None, None, "[null]", "7"]
    assert [row["id"] for row in written(tmp_path / "jsonl")] == [None, None, [None], 7]


def test_half_a_surrogate_pair_is_copied_or_its_row_is_wrong(tmp_path):
    values = ["A\ud800", "A\ud801", ["\ud800"], "A"]
    path = json_lines(tmp_path / "rows.jsonl", [{**row, "id": values[row["id"]]} for row in rows_of(4)])
    for output_format in ("jsonl", "parquet"):
        run(plan_for(tmp_path, path, keep=("id",), output_format=output_format, output=tmp_path / output_format))
    assert [row["id"] for row in written(tmp_path / "jsonl")] == values
    table = pq.read_table(tmp_path / "parquet")
    assert table["id"].to_pylist() == [None, None, None, "A"]
    assert table["error"].to_pylist() == [
        f"{path}: line 1: 'id' is 'A\\ud800', which is no UTF-8 text",
        f"{path}: line 2: 'id' is 'A\\ud801', which is no UTF-8 text",
        f"{path}: line 3: 'id' is ['\\ud800'], which is no string",
        None,
    ]


def test_numbers_of_half_precision_are_numbers_in_json_lines(tmp_path):
    values, errors = copied(tmp_path, pa.array(np.array([1.5, 65504], np.float16)), output_format="jsonl")
    assert values == [1.5, 65504.0]
    assert errors == [None, None]
    # As pyarrow gave them before its version 21.
    content = shard_bytes([{"k": np.float16(1.5), "list": [np.float16("nan")]}], "jsonl", None)
    assert json.loads(content) == {"k": 1.5, "list": [None]}


def test_bytes_of_text_are_text_in_a_column_of_text(tmp_path):
    for number, kind in enumerate((pa.string(), pa.large_string())):
        (tmp_path / str(number)).mkdir()
        values, errors = copied(tmp_path / str(number), pa.array(["x"], kind), pa.array([b"abc"]), pa.array([5]))
        assert values.to_pylist() == ["x", "abc", "5"]
        assert set(errors) == {None}
