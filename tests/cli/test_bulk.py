"""The command over large files: what it prints, and what it says of input that is wrong."""

import csv
import json
import sys

import pytest

from blockskim.cli import progress as reporting
from blockskim.cli.bulk_options import with_ray_address
from blockskim.cli.bulk_progress import counted, pace
from blockskim.scaling.bulk import BulkProgress
from bulk_runs import json_lines, rows_of, written

SHORT = ("--max-length", 100, "--doc-stride", 20, "--max-question-len", 20, "--shard-rows", 4)


@pytest.fixture
def data(tmp_path):
    return json_lines(tmp_path / "rows.jsonl", rows_of(10))


@pytest.fixture
def bulk(call, model, tmp_path):
    def run(*arguments, job="answer"):
        return call("bulk", job, *arguments, "--model", model, "--output", tmp_path / "out", *SHORT)

    return run


def test_the_summary(bulk, data, tmp_path, lines):
    code, out, err = bulk(data, "--json", "--keep", "id")
    assert (code, err) == (0, "")
    values = json.loads(out)
    assert {"rows", "errors", "seconds", "rows_per_second", "tokens", "tokens_kept"} <= set(values)
    assert (values["rows"], values["errors"], values["shards"], values["rows_before"]) == (10, 0, 3, 0)
    assert 0 < values["tokens_kept"] < values["tokens"]
    assert [row["id"] for row in written(tmp_path / "out")] == list(range(10))
    assert lines[0].startswith("answer: 1 file, ")
    code, out, _ = bulk(data, "--keep", "id")
    assert (code, out.split(" wrong")[0]) == (0, "10 rows in 3 shards, 0")
    assert bulk(data, "--keep", "id", "--quiet") == (0, "", "")


def test_answers_are_those_of_the_answer_command(bulk, call, model, data, tmp_path):
    for more in ((), ("--dense",), ("--threshold", 0.5), ("--no-answer",), ("--max-cost", 0.5)):
        assert bulk(data, *more)[0] == 0
        for row, given in zip(written(tmp_path / "out"), rows_of(10), strict=True):
            asked = ("-q", given["question"], "-c", given["context"])
            code, out, _ = call("answer", *asked, "--model", model, *SHORT[:6], *more, "--json")
            (answer,) = json.loads(out)[0]["answers"]
            assert code == 0
            assert (row["answer"], row["start"], row["end"]) == (answer["answer"], answer["start"], answer["end"])
        (tmp_path / "out").rename(tmp_path / f"out-{len(list(tmp_path.iterdir()))}")


@pytest.mark.parametrize("job", ["highlight", "prune"])
@pytest.mark.parametrize(
    "more",
    [
        (),
        ("--top-k", 2, "--context", 1, "--keep-titles"),
        ("--budget", "50%", "--dense"),
        ("--threshold", 0.9),
        ("--top-k", 2, "--max-cost", 0.5),
    ],
    ids=str,
)
def test_evidence_is_that_of_the_command_for_files(bulk, call, model, data, tmp_path, job, more):
    assert (
        bulk(
            data,
            *more,
            job=job,
        )[0]
        == 0
    )
    for row, given in zip(written(tmp_path / "out"), rows_of(10), strict=True):
        (tmp_path / "text.txt").write_text(given["context"])
        asked = ("-q", given["question"], "-f", tmp_path / "text.txt")
        code, out, _ = call(job, *asked, "--model", model, *SHORT[:6], *more, "--json")
        (expected,) = json.loads(out)
        assert code == 0
        assert row["kept"] == pytest.approx(expected["kept"], abs=1e-6)
        if job == "prune":
            assert row["pruned"] == "".join(expected["documents"].values())
        else:
            assert [each["text"] for each in row["sentences"]] == [each["text"] for each in expected["sentences"]]


def test_what_is_only_for_one_kind_of_evidence(bulk, data, tmp_path):
    code, _, _ = bulk(data, "--threshold", 0, "--in-order", "--max-answer-len", 1, job="highlight")
    assert code == 0
    for row in written(tmp_path / "out"):
        starts = [sentence["start"] for sentence in row["sentences"]]
        assert starts == sorted(starts)
    (tmp_path / "out").rename(tmp_path / "highlights")
    code, _, _ = bulk(data, "--top-k", 2, "--gap", "~", job="prune")
    assert code == 0
    assert all(row["pruned"].count("~") == len(row["pieces"]) - 1 for row in written(tmp_path / "out"))


@pytest.mark.parametrize("job", ["highlight", "prune"])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--budget", "much"], "budget is 'much'"),
        (["--top-k", 0], "--top-k"),
        (["--dense", "--point", "fast"], "--dense"),
        (["--keep", "kept"], "the output has a column 'kept' of its own"),
    ],
)
def test_wishes_that_can_not_be(bulk, data, tmp_path, job, arguments, message):
    code, out, err = bulk(data, *arguments, "--quiet", job=job)
    assert (code, out) == (2, "")
    assert message in " ".join(err.split())
    assert not list((tmp_path / "out").glob("part-*"))
    # Nothing was done with it, so the right command may follow into the same folder.
    assert bulk(data, "--quiet", job=job)[0] == 0
    assert list((tmp_path / "out").glob("part-*"))


def test_one_question_for_all_and_other_columns(bulk, tmp_path):
    path = tmp_path / "rows.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("body", "subject"), *((row["context"], row["id"]) for row in rows_of(3))])
    code, _, err = bulk(path, "-q", "Where is it?", "--context-column", "body", "--keep", "subject", "--quiet")
    assert (code, err) == (0, "")
    assert [row["subject"] for row in written(tmp_path / "out")] == ["0", "1", "2"]


def test_wrong_rows_are_a_warning(bulk, tmp_path):
    rows = rows_of(3)
    del rows[1]["context"]
    path = json_lines(tmp_path / "rows.jsonl", rows)
    code, out, err = bulk(path, "--json")
    assert (code, json.loads(out)["errors"]) == (0, 1)
    assert err == f"warning: 1 of 3 rows are wrong; the first: {path}: line 2: there is no 'context'\n"


def test_questions_that_are_cut_are_a_warning(bulk, tmp_path):
    rows = rows_of(3)
    rows[1]["question"] *= 5
    code, out, err = bulk(json_lines(tmp_path / "rows.jsonl", rows), "--json")
    assert (code, json.loads(out)["questions_cut"]) == (0, 1)
    assert err == (
        "warning: the questions of 1 of 3 rows have more tokens than --max-question-len; the rest of each is not read\n"
    )


def test_nothing_but_wrong_rows_is_an_error(bulk, data):
    code, out, err = bulk(data, "--context-column", "text", "--json")
    assert (code, json.loads(out)["errors"]) == (1, 10)
    assert err == f"error: every one of 10 rows is wrong; the first: {data}: line 1: there is no 'text'\n"


def test_a_damaged_file_is_an_error_when_all_else_is_done(bulk, data, tmp_path):
    bad = tmp_path / "bad.csv"
    bad.write_text('question,context\nq,c\nq,"no end\n')
    code, out, err = bulk(bad, data, "--json", "--quiet")
    assert (code, json.loads(out)["rows"]) == (1, 11)
    assert err == f"error: {bad}: line 3 begins a row with a quoted field that does not end; everything else is done\n"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nowhere.jsonl"], 1, "nowhere.jsonl: no such file"),
        (["DATA", "-q", " "], 2, "the question is empty"),
        (["DATA", "-q", "Why?", "--question-column", "q"], 2, "it can't go with --question-column"),
        (["DATA", "--context-column", "c", "--file-column", "f"], 2, "give one of them"),
        (["DATA", "--file-root", "f"], 2, "--file-root is for"),
        (["DATA", "--dense", "--threshold", "1"], 2, "--threshold"),
        (["DATA", "--keep", "answer"], 2, "the output has a column 'answer' of its own"),
        (["DATA", "--workers", "2", "--threads", "1"], 2, "2 workers need a thread each"),
        (["DATA", "--on-error", "perhaps"], 2, "--on-error"),
        (["DATA", "--max-row-bytes", "2147483648"], 2, "2147483647"),
        (["text.txt"], 2, "text files bring no question"),
        (["text.txt", "DATA", "-q", "Why?"], 2, "can't go with files of rows"),
        (["DATA", "--delimiter", "ab"], 2, "the delimiter is 'ab'"),
        (["DATA", "--point", "none"], 2, "none"),
        ([".", "-q", "Why?"], 2, "which is read"),
    ],
)
def test_bad_input(bulk, data, tmp_path, monkeypatch, arguments, code, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text("text")
    found, out, err = bulk(*(data if argument == "DATA" else argument for argument in arguments), "--quiet")
    assert (found, out) == (code, "")
    assert message in " ".join(err.split())
    assert not list((tmp_path / "out").glob("part-*"))


def test_logs_tell_of_rows_rate_and_time_left(bulk, data, lines, monkeypatch):
    monkeypatch.setattr(reporting, "EVERY", 0.0)
    assert bulk(data)[0] == 0
    assert lines[1].startswith("4 rows, ")
    assert "of the input, " in lines[1]
    assert lines[1].endswith(" left")


def test_what_earlier_runs_did_makes_no_run_faster():
    state = BulkProgress(rows=600, errors=5, num_bytes=750, total_bytes=1000, rows_before=500, bytes_before=500)
    assert counted(state) == ("600 rows (5 wrong)", "75% of the input")
    assert list(pace(state, 50.0)) == ["2 rows/s", "50 s left"]
    assert list(pace(BulkProgress(rows=5, rows_before=5), 1.0)) == []


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["in", "--ray"], ["in", "--ray="]),
        (["--ray", "--quiet", "in"], ["--ray=", "--quiet", "in"]),
        (["--ray", "10.0.0.1:6379", "in"], ["--ray", "10.0.0.1:6379", "in"]),
        (["--ray=auto", "in"], ["--ray=auto", "in"]),
        (["in"], ["in"]),
    ],
)
def test_a_cluster_has_an_address_or_none(given, expected):
    assert with_ray_address(given) == expected


def test_without_ray_it_is_said_how_to_get_it(bulk, data, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    code, out, err = bulk(data, "--ray")
    assert (code, out) == (2, "")
    assert err == "error: running on a cluster needs Ray, which is not installed: pip install 'blockskim[ray]'\n"
    assert not (tmp_path / "out").exists()
