"""Parquet as input and as output."""

import datetime
import json
import pickle
import tracemalloc

import pytest

from blockskim.scaling import parquet_rows as parquet_rows_module
from blockskim.scaling.input_files import find_inputs
from blockskim.scaling.json_lines import too_large
from blockskim.scaling.parquet_rows import parquet_rows
from blockskim.scaling.raw_shards import raw_shards
from blockskim.scaling.rows import Columns, num_bytes
from blockskim.scaling.shard_files import shard_schema
from blockskim.scaling.shard_worker import ShardWorker
from bulk_runs import json_lines, plan_for, rows_of, run, without_model, written

pyarrow = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def save(path, rows, **options):
    pq.write_table(pyarrow.Table.from_pylist(rows), path, **options)
    return path


def read(output):
    return pq.read_table(output).to_pylist()


def test_rows_of_parquet_give_what_lines_of_json_give(tmp_path):
    rows = rows_of(10)
    lines = json_lines(tmp_path / "rows.jsonl", rows)
    table = save(tmp_path / "rows.parquet", rows, row_group_size=4)
    found = {}
    for path in (lines, table):
        plan = plan_for(tmp_path, path, keep=("id",), output=tmp_path / f"{path.name}-out")
        run(plan)
        found[path.name] = written(plan.output)
    assert found["rows.parquet"] == found["rows.jsonl"]


@pytest.mark.parametrize("top_k", [1, 2])
def test_parquet_is_written_as_json_lines_are(tmp_path, top_k):
    rows = rows_of(7)
    rows[4]["context"] = None
    rows[5]["id"] = {"a": [1, "é"]}
    rows[6]["id"] = None
    path = json_lines(tmp_path / "rows.jsonl", rows)
    options = {"top_k": top_k, "max_seq_len": 60, "doc_stride": 10, "max_question_len": 20}
    for format in ("jsonl", "parquet"):
        run(plan_for(tmp_path, path, keep=("id",), options=options, output_format=format, output=tmp_path / format))
    # The folder is a data set as it is.
    found, expected = read(tmp_path / "parquet"), written(tmp_path / "jsonl")
    for row in expected:
        row["id"] = row["id"] if row["id"] is None else json.dumps(row["id"], ensure_ascii=False)
    assert found == expected
    assert pq.read_table(tmp_path / "parquet").schema.field("row").type == pyarrow.int64()


def test_columns_of_parquet_keep_their_types(tmp_path):
    day = datetime.datetime(2024, 5, 1, 12)
    rows = [{**row, "day": day, "weight": float("nan"), "tags": ["a", "b"]} for row in rows_of(2)]
    path = save(tmp_path / "rows.parquet", rows)
    keep = ("id", "day", "weight", "tags")
    for format in ("jsonl", "parquet"):
        run(plan_for(tmp_path, path, keep=keep, output_format=format, output=tmp_path / format))
    schema = pq.read_table(tmp_path / "parquet").schema
    assert [schema.field(name).type for name in keep] == [pq.read_schema(path).field(name).type for name in keep]
    row = written(tmp_path / "jsonl")[1]
    assert (row["id"], row["day"], row["weight"], row["tags"]) == (1, "2024-05-01 12:00:00", None, ["a", "b"])
    assert read(tmp_path / "parquet")[1]["day"] == day


def test_a_column_that_is_copied_twice_is_written_once(tmp_path):
    path = save(tmp_path / "rows.parquet", rows_of(2))
    assert run(plan_for(tmp_path, path, keep=("id", "id"), output_format="parquet")).errors == 0
    assert [row["id"] for row in read(tmp_path / "out")] == [0, 1]


def test_workers_write_parquet_without_the_input_at_hand(tmp_path):
    path = save(tmp_path / "rows.parquet", rows_of(2))
    plan = plan_for(tmp_path, path, keep=("id",), output_format="parquet")
    (shard,) = raw_shards(plan.files, plan.columns, plan.shard_rows, plan.row_limit, lambda error: None)
    schema = pickle.loads(pickle.dumps(shard_schema(plan)))
    path.unlink()
    with without_model():
        _, content = ShardWorker(plan, schema, tmp_path, None).make(shard)
    table = pq.read_table(pyarrow.BufferReader(content))
    assert table.schema.field("id").type == pyarrow.int64()
    assert table.column("id").to_pylist() == [0, 1]


def test_values_that_do_not_fit_make_their_row_wrong_and_no_other(tmp_path):
    first = save(tmp_path / "a.parquet", rows_of(2))
    second = save(tmp_path / "b.parquet", [{**row, "id": f"n{row['id']}"} for row in rows_of(2)])
    summary = run(plan_for(tmp_path, first, second, keep=("id",), output_format="parquet"))
    assert (summary.rows, summary.errors) == (4, 2)
    found = read(tmp_path / "out")
    assert [row["id"] for row in found] == [0, 1, None, None]
    assert found[2]["error"] == f"{second}: row 1: 'id' is 'n0', which is no int64"
    assert found[1]["error"] is None


def test_bytes_that_are_no_text_are_never_changed_in_silence(tmp_path):
    rows = [{**row, "key": key} for row, key in zip(rows_of(2), [b"kite", b"\xff\xfe"], strict=True)]
    path = save(tmp_path / "rows.parquet", rows)
    lines = plan_for(tmp_path, path, keep=("key",), output=tmp_path / "lines")
    assert run(lines).errors == 1
    first, second = written(lines.output)
    assert (first["key"], first["error"]) == ("kite", None)
    assert (second["key"], second["answer"]) == (None, None)
    assert f"{path}: row 2: 'key' holds bytes that are no UTF-8 text" in second["error"]
    run(plan_for(tmp_path, path, keep=("key",), output_format="parquet", output=tmp_path / "table"))
    assert [row["key"] for row in read(tmp_path / "table")] == [b"kite", b"\xff\xfe"]


def test_a_file_that_holds_nulls_alone_says_nothing_of_a_column(tmp_path):
    empty = [{**row, "key": None} for row in rows_of(2)]
    for name, rows in (("a", empty), ("b", [{**row, "key": 7} for row in rows_of(2)])):
        save(tmp_path / f"{name}.parquet", rows)
    paths = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    plan = plan_for(tmp_path, *paths, keep=("key",), output_format="parquet")
    assert run(plan).errors == 0
    assert [row["key"] for row in read(plan.output)] == [None, None, 7, 7]


def test_a_column_that_is_there_twice_in_a_later_file_is_told_of_by_its_rows(tmp_path):
    save(tmp_path / "a.parquet", [{**row, "key": None} for row in rows_of(2)])
    table = pyarrow.Table.from_pylist([{**row, "key": 7} for row in rows_of(2)])
    pq.write_table(table.append_column("key", table["key"]), tmp_path / "b.parquet")
    paths = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    found = run(plan_for(tmp_path, *paths, keep=("key",), output_format="parquet"))
    assert "b.parquet: has columns called 'key' twice" in found.damaged[0]


def test_wrong_and_large_values_are_named_by_row(tmp_path):
    rows = rows_of(4)
    rows[1]["context"] = None
    rows[2]["context"] = "x" * 5000
    path = save(tmp_path / "rows.parquet", rows)
    run(plan_for(tmp_path, path, row_limit=1000))
    assert [row["error"] for row in written(tmp_path / "out")] == [
        None,
        f"{path}: row 2: 'context' is null",
        f"{path}: row 3: the row has 5,016 bytes, and row_limit is 1,000 (--max-row-bytes)",
        None,
    ]


def test_memory_holds_few_large_rows(tmp_path):
    """A dictionary codes them, so that the file is small and tells nothing of their size."""
    size, number = 500_000, 256
    texts = [f"{row % 8}{'x' * size}" for row in range(number)]
    path = save(tmp_path / "rows.parquet", [{"context": text} for text in texts])
    (file,) = find_inputs([path])
    before = pyarrow.default_memory_pool()
    pool = pyarrow.proxy_memory_pool(before)
    pyarrow.set_memory_pool(pool)
    tracemalloc.start()
    try:
        for limit, errors in ((10**6, 0), (10**5, number)):
            tracemalloc.reset_peak()
            rows = (row for row, _ in parquet_rows(file, 0, Columns(question="q"), limit))
            assert sum(bool(row.error) for row in rows) == errors
            assert tracemalloc.get_traced_memory()[1] < (20 * size if errors == 0 else size)
        assert pool.max_memory() < 60 * size
    finally:
        tracemalloc.stop()
        pyarrow.set_memory_pool(before)


@pytest.mark.parametrize("limit", [40, 10**6])
def test_rows_are_the_same_however_many_are_taken_together(tmp_path, monkeypatch, limit):
    rows = [
        {"question": "é" * (row % 30), "context": None if row % 5 == 0 else "x" * row, "tags": ["a"] * (row % 7)}
        for row in range(50)
    ]
    (file,) = find_inputs([save(tmp_path / "rows.parquet", rows)])
    columns = Columns(keep=("tags",))
    together = list(parquet_rows(file, 0, columns, limit))
    monkeypatch.setattr(parquet_rows_module, "TOGETHER_BYTES", 1)
    assert list(parquet_rows(file, 0, columns, limit)) == together
    assert [raw.content or raw.error for raw, _ in together] == [
        row if (size := num_bytes(tuple(row.values()))) <= limit else too_large(size, limit) for row in rows
    ]


def test_columns_that_are_no_text(tmp_path):
    path = save(tmp_path / "rows.parquet", [{"question": "q", "context": 1}])
    summary = run(plan_for(tmp_path, path))
    assert summary.first_error == f"{path}: row 1: 'context' is 1; it must be text"


@pytest.mark.parametrize("damage", ["cut", "page", "column"])
def test_a_damaged_file_is_named_and_the_others_are_done(tmp_path, damage):
    bad = save(tmp_path / "bad.parquet", rows_of(3000), compression="NONE", row_group_size=1000)
    content = bytearray(bad.read_bytes())
    if damage == "cut":
        bad.write_bytes(content[: len(content) // 2])
    elif damage == "page":
        middle = len(content) // 2
        content[middle : middle + 20_000] = b"\xff" * 20_000
        bad.write_bytes(content)
    else:
        save(bad, [{"question": "q"}])
    good = json_lines(tmp_path / "good.jsonl", rows_of(2))
    summary = run(plan_for(tmp_path, bad, good, shard_rows=1000))
    (line,) = summary.damaged
    assert line.startswith(f"{bad}: ")
    assert "\n" not in line
    assert [row["answer"] != "" for row in written(tmp_path / "out")[-2:]] == [True, True]


def test_columns_are_read_alone(tmp_path):
    rows = [{**row, "unused": "x" * 10_000} for row in rows_of(2)]
    path = save(tmp_path / "rows.parquet", rows)
    assert run(plan_for(tmp_path, path, row_limit=1000)).errors == 0


def test_no_pyarrow_is_a_line(tmp_path, monkeypatch):
    import sys

    path = save(tmp_path / "rows.parquet", rows_of(1))
    plan = plan_for(tmp_path, path)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    from blockskim.errors import ConfigError

    with pytest.raises(ConfigError, match=r"pip install 'blockskim\[bulk\]'"):
        run(plan)


def test_columns_know_what_they_need():
    assert Columns(keep=("id", "context")).needed() == ("question", "context", "id")
    assert Columns(question="q", file_column="file").needed() == ("file",)
