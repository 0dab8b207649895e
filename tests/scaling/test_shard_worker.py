"""Shards of rows of which some make the model fail, and of a model that fails on all of them."""

import json
from dataclasses import replace

import pytest

from blockskim.errors import BlockSkimError, ConfigError, DataError
from blockskim.scaling import shard_worker
from blockskim.scaling.bulk import run_bulk
from blockskim.scaling.rows import Row
from blockskim.scaling.shard_worker import described
from bulk_runs import TEXT, hashing_answerer, json_lines, plan_for, rows_of, run, shards_of, without_model, written


@pytest.fixture
def data(tmp_path):
    return json_lines(tmp_path / "rows.jsonl", rows_of(10))


def test_a_row_that_makes_the_model_fail_takes_no_other_with_it(tmp_path, data):
    summary = failing_run(tmp_path, data)
    assert (summary.rows, summary.errors) == (10, 2)
    rows = written(tmp_path / "out")
    assert [row["row"] for row in rows if row["error"]] == [4, 5]
    assert rows[4]["error"] == f"{data}: line 5: RuntimeError: no memory"
    run(plan_for(tmp_path, data, output=tmp_path / "whole"))
    whole = written(tmp_path / "whole")
    assert [row for row in rows if not row["error"]] == [row for row in whole if row["row"] not in (4, 5)]


def test_a_model_that_fails_on_everything_ends_the_run_which_goes_on_later(tmp_path, data):
    with pytest.raises(BlockSkimError) as error:
        failing_run(tmp_path, data, stays_broken=True)
    assert str(error.value) == (
        "the model fails on every text now: RuntimeError: no memory; what is done stays, and the same command goes on "
        "from there"
    )
    assert list(shards_of(tmp_path / "out")) == ["part-000000.jsonl"]
    summary = run(plan_for(tmp_path, data))
    assert (summary.rows, summary.rows_before, summary.errors) == (10, 3, 0)


def test_a_row_that_the_library_refuses_says_nothing_of_the_model():
    asked = []

    def call(rows):
        asked.append(rows)
        raise DataError("no")

    row = Row("q", "c", {}, "")
    assert [str(found) for found in shard_worker.each_alone_if_need_be(call, [row])] == ["no"]
    assert asked == [[row]]


@pytest.mark.parametrize("part", ["text", "question"])
@pytest.mark.parametrize("job", ["answer", "highlight", "prune"])
def test_what_the_model_can_read_nothing_of_makes_its_row_wrong(tmp_path, caplog, job, part):
    rows = rows_of(5)
    for row, text in zip(rows[1:4], ["\u200b\u200b", "\ufeff", "\x00\x00"], strict=True):
        row["context" if part == "text" else part] = text
    path = json_lines(tmp_path / "rows.jsonl", rows)
    summary = run(plan_for(tmp_path, path, job=job))
    assert summary.errors == 3
    found = written(tmp_path / "out")
    message = f"the {part} has no character that the model can read"
    assert [row.pop("error") for row in found] == [
        None,
        *(f"{path}: line {line}: {message}" for line in (2, 3, 4)),
        None,
    ]
    for row in found[1:4]:
        assert {value for name, value in row.items() if name != "row"} == {None}
    assert caplog.messages == []


@pytest.mark.parametrize("job", ["answer", "highlight", "prune"])
def test_a_question_for_all_rows_that_the_model_cannot_read_is_refused_at_once(tmp_path, data, job):
    with pytest.raises(ConfigError, match=r"^the question has no character that the model can read$"):
        run(plan_for(tmp_path, data, job=job, question="\u200b"))
    assert shards_of(tmp_path / "out") == {}


@pytest.mark.parametrize("job", ["answer", "highlight", "prune"])
def test_questions_that_are_cut_are_counted(tmp_path, caplog, job):
    rows = rows_of(8)
    for row in rows[2:6]:
        row["question"] *= 3
    rows[3]["context"] = "\u200b"
    path = json_lines(tmp_path / "rows.jsonl", rows)
    assert run(plan_for(tmp_path, path, job=job)).questions_cut == 3
    # So are those of earlier runs.
    (tmp_path / "out" / "part-000001.jsonl").unlink()
    found = run(plan_for(tmp_path, path, job=job))
    assert (found.rows_before, found.questions_cut) == (5, 3)
    assert json.loads((tmp_path / "out" / "_summary.json").read_text())["questions_cut"] == 3
    assert caplog.messages == []


def test_questions_are_counted_once_where_others_make_the_model_fail(tmp_path, data):
    rows = rows_of(6)
    for row in rows[2:4]:
        row["question"] *= 3
    summary = failing_run(tmp_path, json_lines(data, rows), max_question_len=10)
    assert (summary.errors, summary.questions_cut) == (2, 4)


def failing_run(tmp_path, data, stays_broken=False, **options):
    broken = []

    def make():
        answerer, backend = hashing_answerer()

        def call(questions, contexts, **options):
            wrong = any("nest 4" in question or "nest 5" in question for question in questions)
            if wrong or broken:
                broken.extend([True] if stays_broken else [])
                raise RuntimeError("no\nmemory")
            answerer.tell_unread = call.tell_unread
            return answerer(questions, contexts, **options)

        return call, backend

    plan = plan_for(tmp_path, data)
    with without_model(make):
        return run_bulk(replace(plan, options={**plan.options, **options}))


def test_a_deeply_nested_value_makes_its_row_wrong_and_no_other(tmp_path, data):
    deep = json.dumps(rows_of(1)[0] | {"id": "HERE"}).replace('"HERE"', "[" * 600 + "]" * 600)
    data.write_text(data.read_text() + deep + "\n")
    assert run(plan_for(tmp_path, data, keep=("id",))).errors == 1
    last = written(tmp_path / "out")[-1]
    assert (last["id"], last["error"]) == (
        None,
        f"{data}: line 11: 'id' is nested too deeply; 100 levels are the most",
    )


def test_texts_of_a_shard_are_read_in_parts(tmp_path, monkeypatch):
    files = []
    for number in range(5):
        files.append(tmp_path / f"{number}.txt")
        files[-1].write_text(f"{number} {TEXT}")
    plan = plan_for(tmp_path, *files, question="Where is it?", shard_rows=10)
    run(plan)
    monkeypatch.setattr(shard_worker, "MOST_CHARACTERS", 150)
    run(plan_for(tmp_path, *files, question="Where is it?", shard_rows=10, output=tmp_path / "parts"))
    assert shards_of(tmp_path / "out") == shards_of(tmp_path / "parts")
    assert [row["file"] for row in written(tmp_path / "out")] == [str(path) for path in files]


def test_an_error_is_one_line_that_can_be_written():
    assert described(ValueError("a\n  \ud800")) == "ValueError: a \\ud800"
