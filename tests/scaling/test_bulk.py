import errno
import json
import os
import random
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blockskim.data.files import read_errors_named
from blockskim.errors import ConfigError, DataError, ModelError, ReadError
from blockskim.scaling import output as output_module
from blockskim.scaling import raw_shards
from blockskim.scaling import rows as rows_module
from blockskim.scaling.bulk import SUMMARY, run_bulk
from blockskim.scaling.json_lines import json_line_rows
from blockskim.scaling.rows import InputFile
from bulk_runs import (
    hashing_answerer,
    json_lines,
    plan_for,
    rows_of,
    run,
    shards_of,
    written,
)


@pytest.fixture
def data(tmp_path):
    return json_lines(tmp_path / "rows.jsonl", rows_of(10))


def test_every_row_is_answered_in_its_place(tmp_path, data):
    summary = run(plan_for(tmp_path, data, keep=("id",)))
    rows = written(tmp_path / "out")
    assert [row["row"] for row in rows] == [row["id"] for row in rows] == list(range(10))
    answerer, backend = hashing_answerer()
    for row, given_row in zip(rows, rows_of(10), strict=True):
        alone = answerer(
            given_row["question"], given_row["context"], max_seq_len=60, doc_stride=10, max_question_len=20
        )
        assert (row["answer"], row["start"], row["end"]) == (alone["answer"], alone["start"], alone["end"])
        assert row["score"] == pytest.approx(alone["score"], abs=1e-5)
        assert given_row["context"][row["start"] : row["end"]] == row["answer"] != ""
        assert row["error"] is row["confidence"] is None
    assert (summary.rows, summary.errors, summary.shards) == (10, 0, 4)
    assert (summary.windows, summary.tokens) == (backend.meter.windows, backend.meter.tokens)
    assert 0 < summary.tokens_kept < summary.tokens
    assert json.loads((tmp_path / "out" / SUMMARY).read_text()) == summary.values()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "_manifest.json",
        "_shards",
        SUMMARY,
        *(f"part-00000{number}.jsonl" for number in range(4)),
    ]


def test_several_answers_are_a_list(tmp_path, data):
    plan = plan_for(tmp_path, data, options={"top_k": 3, "max_seq_len": 60, "doc_stride": 10, "max_question_len": 20})
    run(plan)
    for row in written(tmp_path / "out"):
        assert set(row) == {"row", "answers", "error"}
        assert len(row["answers"]) == 3
        scores = [answer["score"] for answer in row["answers"]]
        assert scores == sorted(scores, reverse=True)


def test_a_second_run_does_nothing_and_counts_the_same(tmp_path, data):
    plan = plan_for(tmp_path, data)
    first = run(plan)
    before = shards_of(tmp_path / "out")
    # Without a model: none is loaded.
    second = run_bulk(plan)
    assert shards_of(tmp_path / "out") == before
    assert (second.rows, second.tokens, second.rows_before, second.rows_per_second) == (10, first.tokens, 10, 0)


@pytest.mark.parametrize("change", ["missing", "cut", "no report", "damaged report"])
def test_what_is_missing_is_made_and_nothing_else(tmp_path, data, change):
    plan = plan_for(tmp_path, data)
    run(plan)
    out, report = tmp_path / "out", tmp_path / "out" / "_shards" / "000001.json"
    before = shards_of(out)
    shard = out / "part-000001.jsonl"
    if change == "missing":
        shard.unlink()
    elif change == "cut":
        shard.write_bytes(before[shard.name][:-10])
    elif change == "no report":
        report.unlink()
    else:
        report.write_text("{")
    others = {path: path.stat().st_mtime_ns for path in out.glob("part-*") if path != shard}
    assert run(plan).rows_before == 7
    assert shards_of(out) == before
    assert {path: path.stat().st_mtime_ns for path in others} == others


class Killed(BaseException):
    """Ends a run as a signal does that nobody handles."""


@settings(max_examples=30)
@given(
    job=st.sampled_from(["answer", "highlight", "prune"]),
    rows=st.integers(1, 14),
    shard_rows=st.integers(1, 5),
    wrong=st.sets(st.integers(0, 13)),
    kills=st.lists(st.tuples(st.integers(0, 12), st.booleans()), max_size=4),
)
def test_killed_at_any_write_and_resumed_the_output_is_that_of_one_run(
    tmp_path_factory, job, rows, shard_rows, wrong, kills
):
    folder = tmp_path_factory.mktemp("run")
    content = [row if row["id"] not in wrong else {"id": row["id"]} for row in rows_of(rows)]
    data = json_lines(folder / "rows.jsonl", content)
    whole = plan_for(folder, data, job=job, keep=("id",), shard_rows=shard_rows, output=folder / "whole")
    expected = run(whole)
    plan = plan_for(folder, data, job=job, keep=("id",), shard_rows=shard_rows)
    for at, before in kills:
        with mock.patch.object(output_module, "write_whole", dying(at, before)):
            try:
                run(plan)
            except Killed:
                # What kill -9 leaves behind.
                (folder / "out" / ".part-000000.jsonl.0.tmp").write_text("half")
    found = run(plan)
    assert shards_of(folder / "out") == shards_of(folder / "whole")
    assert [row["id"] for row in written(folder / "out")] == list(range(rows))
    for name in ("rows", "errors", "tokens", "tokens_kept", "shards", "first_error"):
        assert getattr(found, name) == getattr(expected, name)
    assert list((folder / "out").rglob("*.tmp")) == []


def dying(at, before):
    """A function that writes, and dies before or after one of its calls."""
    calls = iter(range(1000))
    write = output_module.write_whole

    def call(path, content):
        last = next(calls) == at
        if last and before:
            raise Killed
        write(path, content)
        if last:
            raise Killed

    return call


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"row_limit": 2**63 - 1}, r"row_limit is 9223372036854775807; it must be at most 2,147,483,647"),
        ({"keep": ("id", "caf\udce9")}, r"keep is 'caf\\udce9', which is no UTF-8 text"),
        ({"question": "caf\udce9"}, r"question is 'caf\\udce9', which is no UTF-8 text"),
        ({"options": {"gap": "caf\udce9"}}, r"gap is 'caf\\udce9', which is no UTF-8 text"),
        ({"files": (InputFile(Path("a.csv"), "csv", 1, "\udce9"),)}, r"delimiter is '\\udce9', which is no UTF-8 text"),
    ],
)
def test_impossible_plans(tmp_path, data, settings, message):
    with pytest.raises(ConfigError, match=message):
        plan_for(tmp_path, data, **settings)


def test_two_runs_at_once_are_refused(tmp_path, data):
    pytest.importorskip("fcntl")
    plan = plan_for(tmp_path, data)
    with (
        output_module.OutputDirectory(plan.output, "jsonl").locked(),
        pytest.raises(ConfigError, match="another run is writing"),
    ):
        run(plan)
    assert run(plan).rows == 10


def test_wrong_rows_say_so_in_their_places(tmp_path):
    content = rows_of(6)
    del content[1]["context"]
    content[2]["context"] = None
    content[3]["question"] = 7
    content[4]["context"] = " \n"
    path = json_lines(tmp_path / "rows.jsonl", content)
    summary = run(plan_for(tmp_path, path, keep=("id",)))
    assert (summary.rows, summary.errors) == (6, 4)
    rows = written(tmp_path / "out")
    assert [row["id"] for row in rows] == list(range(6))
    assert [row["error"] for row in rows] == [
        None,
        f"{path}: line 2: there is no 'context'",
        f"{path}: line 3: 'context' is null",
        f"{path}: line 4: 'question' is 7; it must be text",
        f"{path}: line 5: 'context' is empty",
        None,
    ]
    assert summary.first_error == rows[1]["error"]
    assert all(set(row) == set(rows[0]) for row in rows)
    assert rows[1]["answer"] is rows[1]["start"] is None


def test_columns_to_copy_that_no_row_has_are_told_of(tmp_path, caplog):
    content = [{**row, **({"rare": 1} if row["id"] == 2 else {})} for row in rows_of(4)]
    path = json_lines(tmp_path / "rows.jsonl", content)
    path.write_text("no JSON\n" + path.read_text())
    run(plan_for(tmp_path, path, keep=("id", "rare"), shard_rows=5))
    assert caplog.messages == []
    assert [row["rare"] for row in written(tmp_path / "out")] == [None, None, None, 1, None]
    run(plan_for(tmp_path, path, keep=("idd", "id", "Rare"), shard_rows=5, output=tmp_path / "other"))
    assert caplog.messages == [
        "no row of the first 5 has idd, Rare, to be copied into the output (--keep); it is null there"
    ]
    assert {row["idd"] for row in written(tmp_path / "other")} == {None}


def test_stop_ends_at_the_first_wrong_row_and_record_goes_on_from_there(tmp_path):
    content = rows_of(9)
    del content[4]["context"]
    path = json_lines(tmp_path / "rows.jsonl", content)
    for _ in range(2):
        with pytest.raises(DataError, match=r"rows\.jsonl: line 5: there is no 'context'"):
            run(plan_for(tmp_path, path, on_error="stop"))
        assert list(shards_of(tmp_path / "out")) == ["part-000000.jsonl"]
    summary = run(plan_for(tmp_path, path))
    assert (summary.rows, summary.rows_before, summary.errors) == (9, 3, 1)
    # What is recorded is wrong as well.
    with pytest.raises(DataError, match=r"rows\.jsonl: line 5: there is no 'context'"):
        run(plan_for(tmp_path, path, on_error="stop"))


def test_a_file_that_is_damaged_takes_no_other_with_it(tmp_path):
    import gzip

    packed = gzip.compress("".join(json.dumps(row) + "\n" for row in rows_of(4000)).encode())
    half = tmp_path / "half.jsonl.gz"
    half.write_bytes(packed[: len(packed) // 2])
    good = json_lines(tmp_path / "good.jsonl", rows_of(2))
    plan = plan_for(tmp_path, half, good, keep=("id",), shard_rows=500)
    summary = run(plan)
    (damage,) = summary.damaged
    assert damage.startswith(f"{half}: damaged or cut-off gzip file: ")
    rows = written(tmp_path / "out")
    assert 2 < len(rows) < 4000
    assert [row["id"] for row in rows] == [*range(len(rows) - 2), 0, 1]
    assert [row["row"] for row in rows] == list(range(len(rows)))
    # The next run tells of it, too.
    assert run(plan).damaged == summary.damaged
    with pytest.raises(DataError, match="damaged or cut-off"):
        run(plan_for(tmp_path, half, good, output=tmp_path / "other", on_error="stop"))


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EMFILE])
def test_a_fault_of_the_system_ends_the_run_and_the_same_command_goes_on(tmp_path, monkeypatch, number):
    paths = [json_lines(tmp_path / f"{name}.jsonl", rows_of(5)) for name in "ab"]
    whole = plan_for(tmp_path, *paths, output=tmp_path / "whole")
    run(whole)
    plan = plan_for(tmp_path, *paths)

    def failing(*given):
        for place, row in enumerate(json_line_rows(*given)):
            if place == 4:
                with read_errors_named(given[0].path):
                    raise OSError(number, os.strerror(number))
            yield row

    with monkeypatch.context() as patched:
        patched.setitem(raw_shards.READERS, "jsonl", failing)
        with pytest.raises(ReadError, match=os.strerror(number)):
            run(plan)
    assert written(plan.output) != written(whole.output)
    run(plan)
    assert written(plan.output) == written(whole.output)


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet", "txt"])
def test_a_file_that_goes_away_ends_the_run_and_the_same_command_goes_on(tmp_path, suffix):
    share = tmp_path / "share"
    share.mkdir()
    for name in ("a", "b"):
        saved(share / f"{name}.{suffix}", rows_of(5), f"text {name}")
    question = "Where?" if suffix == "txt" else None
    settings = {"shard_rows": 1 if suffix == "txt" else 4, "question": question}
    whole = plan_for(tmp_path, share, output=tmp_path / "whole", **settings)
    run(whole)
    plan = plan_for(tmp_path, share, **settings)

    def unmount(_):
        share.rename(tmp_path / "away")

    with pytest.raises(ReadError, match=rf"b\.{suffix}: can't be read: .*No such file"):
        run(plan, progress=unmount)
    (tmp_path / "away").rename(share)
    run(plan)
    assert shards_of(plan.output) == shards_of(whole.output)


def saved(path, rows, text):
    """A file of rows in the format of its name; one of text has that."""
    if path.suffix == ".jsonl":
        json_lines(path, rows)
    elif path.suffix == ".csv":
        path.write_text("question,context\n" + "".join(f"{row['question']},c {text}\n" for row in rows))
    elif path.suffix == ".txt":
        path.write_text(text)
    else:
        parquet = pytest.importorskip("pyarrow.parquet")
        parquet.write_table(pytest.importorskip("pyarrow").Table.from_pylist(rows), path)


@pytest.mark.parametrize("left", ["nothing", "an empty folder"])
def test_a_folder_of_texts_that_is_away_is_no_error_of_a_row(tmp_path, left):
    path = json_lines(tmp_path / "rows.jsonl", [{"question": "Where?", "file": "text.txt"}])
    root = tmp_path / "texts"
    plan = plan_for(tmp_path, path, file_column="file", file_root=str(root))
    if left != "nothing":
        root.mkdir()
    with pytest.raises(ReadError, match=r"texts: (is empty|can't be read: No such file or directory); the texts that"):
        run(plan)
    root.mkdir(exist_ok=True)
    (root / "text.txt").write_text("The kite nests in Wales.")
    assert run(plan).errors == 0


def test_a_fault_of_the_system_is_no_error_of_a_row(tmp_path, monkeypatch):
    (tmp_path / "text.txt").write_text("The kite nests in Wales.")
    path = json_lines(tmp_path / "rows.jsonl", [{"question": "Where?", "file": "text.txt"}])
    plan = plan_for(tmp_path, path, file_column="file")
    fault = mock.Mock(side_effect=OSError(errno.EMFILE, "Too many open files"))
    with monkeypatch.context() as patched:
        patched.setattr(rows_module, "unpacked", fault)
        with pytest.raises(ReadError, match="Too many open files"):
            run(plan)
    assert run(plan).errors == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [({"top_k": 0}, "top_k is 0"), ({"point": "none"}, "none"), ({"threshold": 2.0}, "2.0")],
)
def test_impossible_options_end_the_run_at_once(tmp_path, data, options, message):
    with pytest.raises(ConfigError, match=message):
        run(plan_for(tmp_path, data, options=options))
    assert shards_of(tmp_path / "out") == {}


def test_no_rows_and_no_model(tmp_path, data):
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(DataError, match="there are no rows"):
        run(plan_for(tmp_path, tmp_path / "empty.jsonl"))
    from blockskim.answering.model_choice import ModelChoice

    with pytest.raises(ModelError, match="is no directory"):
        run(plan_for(tmp_path, data, model=ModelChoice(name=str(tmp_path / "nowhere"))))


def test_progress_counts_rows_and_bytes(tmp_path, data):
    plan = plan_for(tmp_path, data)
    seen = []
    run(plan, progress=lambda state: seen.append((state.rows, state.num_bytes, state.rows_before)))
    assert [rows for rows, _, _ in seen] == [3, 6, 9, 10]
    assert seen[-1][1] == data.stat().st_size
    assert [size for _, size, _ in seen] == sorted(size for _, size, _ in seen)
    (tmp_path / "out" / "part-000002.jsonl").unlink()
    del seen[:]
    run(plan, progress=lambda state: seen.append((state.rows, state.rows_before)))
    assert seen == [(9, 6)]


def test_shards_end_where_they_get_large(tmp_path, data, monkeypatch):
    monkeypatch.setattr(raw_shards, "MOST_BYTES", 250)
    run(plan_for(tmp_path, data, shard_rows=1000))
    assert len(shards_of(tmp_path / "out")) > 2
    assert [row["row"] for row in written(tmp_path / "out")] == list(range(10))


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30).filter(str.strip)
# The model can read something in each.
contexts = st.tuples(texts, texts).map("x".join)


@settings(max_examples=30)
@given(
    st.lists(st.tuples(texts, contexts), min_size=1, max_size=8),
    st.integers(1, 4),
    st.randoms(use_true_random=False),
)
def test_unicode_comes_through_every_format(tmp_path_factory, pairs, shard_rows, rng: random.Random):
    import csv

    folder = tmp_path_factory.mktemp("unicode")
    rows = [{"question": question, "context": context} for question, context in pairs]
    json_lines(folder / "a.jsonl", rows)
    with (folder / "a.csv").open("w", encoding="utf-8", newline="") as file:
        # Python's writer puts no quotes around a lone CR where lines end in LF, before 3.13.
        quoting = csv.QUOTE_ALL if any("\r" in text for pair in pairs for text in pair) else csv.QUOTE_MINIMAL
        end = rng.choice(["\n", "\r\n"])
        writer = csv.DictWriter(file, ["context", "question"], lineterminator=end, quoting=quoting)
        writer.writeheader()
        writer.writerows(rows)
    found = {}
    for name in ("a.jsonl", "a.csv"):
        plan = plan_for(folder, folder / name, shard_rows=shard_rows, keep=("context",), output=folder / f"{name}-out")
        assert run(plan).errors == 0
        found[name] = written(plan.output)
        for row, (_, context) in zip(found[name], pairs, strict=True):
            assert row["context"] == context
            assert context[row["start"] : row["end"]] == row["answer"]
    assert found["a.csv"] == found["a.jsonl"]


def test_nothing_is_written_outside(tmp_path, data):
    run(plan_for(tmp_path, data))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "out", "rows.jsonl"]
