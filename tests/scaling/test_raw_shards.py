"""Shards end where enough bytes are read, whatever these lie in."""

import pytest

from blockskim.scaling import raw_shards as module
from blockskim.scaling.input_files import find_inputs
from blockskim.scaling.raw_shards import raw_shards
from blockskim.scaling.rows import Columns, num_bytes


@pytest.fixture
def cut(monkeypatch):
    def cut(paths, columns, limit=10_000):
        monkeypatch.setattr(module, "MOST_BYTES", 1000)
        damaged = []
        shards = list(raw_shards(find_inputs(paths), columns, 1000, limit, damaged.append))
        assert damaged == []
        return shards

    return cut


def test_text_files_are_counted(cut, tmp_path):
    for number in range(7):
        (tmp_path / f"{number}.txt").write_text("x" * 400)
    assert [len(shard.rows) for shard in cut([tmp_path], Columns(question="q"))] == [3, 3, 1]


@pytest.mark.parametrize("value", [b"x" * 400, ["x" * 400], [{"a": ["é" * 200]}], list(range(50))], ids=repr)
def test_all_values_of_parquet_are_counted(cut, tmp_path, value):
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    rows = [{"question": "q", "context": "c", "k": value} for _ in range(7)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    assert [len(shard.rows) for shard in cut([tmp_path], Columns(keep=("k",)))] == [3, 3, 1]
    (shard,) = cut([tmp_path], Columns(keep=("k",)), limit=300)
    assert all("bytes, and" in row.error for row in shard.rows)


def test_the_size_of_values():
    assert num_bytes("é\ud800") == 5
    assert num_bytes({"ab": [b"abc", (None, 1.5)]}) == 2 + 3 + 16


def test_the_digest_of_a_row_does_not_depend_on_pandas(cut, tmp_path):
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    columns = {"k": pa.array([1000], pa.timestamp("ns")), "z": pa.array([1], pa.timestamp("us", tz="Europe/Berlin"))}
    pq.write_table(pa.table({"question": ["q"], "context": ["c"], **columns}), tmp_path / "a.parquet")
    ((row,),) = (shard.rows for shard in cut([tmp_path], Columns(keep=("k", "z"))))
    assert repr(row.content) == (
        "{'question': 'q', 'context': 'c', 'k': <timestamp[ns] 1000>, 'z': <timestamp[us, Europe/Berlin] 1>}"
    )
