"""What jobs make of rows is what the library makes of each row alone, in every format."""

import pytest

from blockskim.errors import ConfigError
from blockskim.scaling.bulk import run_bulk
from blockskim.scaling.jobs import JOBS
from bulk_runs import hashing_answerer, json_lines, plan_for, rows_of, run, shards_of, without_model, written

SHORT = {"max_seq_len": 60, "doc_stride": 10, "max_question_len": 20}
WISHES = [
    {},
    {"top_k": 2, "context": 1},
    {"budget": 0.4},
    {"budget": "30 tokens", "keep": "titles"},
    {"threshold": 0.9},
    {"top_k": 3, "dense": True},
    {"top_k": 3, "max_cost": 0.5},
]


@pytest.fixture
def rows():
    return [row if row["id"] else {**row, "context": f"# Kites\n\n{row['context'] * 3}"} for row in rows_of(8)]


@pytest.fixture
def data(tmp_path, rows):
    return json_lines(tmp_path / "rows.jsonl", rows)


def near(found, expected):
    """The same but for what is rounded, and for what another batch makes of sums of floating-point numbers."""
    if isinstance(expected, float):
        return found == pytest.approx(expected, abs=1e-5)
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(near(found[name], expected[name]) for name in expected)
    if isinstance(expected, list):
        return len(found) == len(expected) and all(map(near, found, expected))
    return found == expected


@pytest.mark.parametrize("wish", [*WISHES, {"top_k": 3, "order": "text", "max_answer_len": 2}], ids=str)
def test_highlights_are_those_of_each_row_alone(tmp_path, data, rows, wish):
    run(plan_for(tmp_path, data, job="highlight", keep=("id",), options={**SHORT, **wish}))
    answerer, _ = hashing_answerer()
    for found, row in zip(written(tmp_path / "out"), rows, strict=True):
        assert list(found) == ["row", "id", "sentences", "kept", "error"]
        expected = answerer.highlight(row["question"], {"": row["context"]}, **SHORT, **wish)
        assert near(found["sentences"], [without_document(sentence) for sentence in expected])
        sizes = sum(sentence["end"] - sentence["start"] for sentence in expected)
        assert found["kept"] == pytest.approx(sizes / len(row["context"]), abs=1e-6)
        for sentence in found["sentences"]:
            assert row["context"][sentence["start"] : sentence["end"]] == sentence["text"]


def without_document(sentence):
    return {name: value for name, value in sentence.items() if name != "document"}


@pytest.mark.parametrize("wish", [*WISHES, {"top_k": 3, "gap": " ~ "}], ids=str)
def test_pruned_texts_are_those_of_each_row_alone(tmp_path, data, rows, wish):
    run(plan_for(tmp_path, data, job="prune", keep=("id",), options={**SHORT, **wish}))
    answerer, _ = hashing_answerer()
    for found, row in zip(written(tmp_path / "out"), rows, strict=True):
        assert list(found) == ["row", "id", "pruned", "kept", "pieces", "error"]
        expected = answerer.prune(row["question"], {"": row["context"]}, **SHORT, **wish)
        assert found["pruned"] == expected.documents.get("", "")
        assert found["kept"] == pytest.approx(expected.kept, abs=1e-6)
        for piece in found["pieces"]:
            size = piece["end"] - piece["start"]
            original = row["context"][piece["original"] : piece["original"] + size]
            assert found["pruned"][piece["start"] : piece["end"]] == original


@pytest.mark.parametrize("job", ["highlight", "prune"])
def test_wrong_rows_say_so_and_have_nothing_else(tmp_path, job):
    rows = rows_of(4)
    del rows[1]["context"]
    rows[2]["context"] = " "
    path = json_lines(tmp_path / "rows.jsonl", rows)
    summary = run(plan_for(tmp_path, path, job=job, keep=("id",)))
    assert (summary.rows, summary.errors) == (4, 2)
    found = written(tmp_path / "out")
    assert [row["error"] for row in found] == [
        None,
        f"{path}: line 2: there is no 'context'",
        f"{path}: line 3: 'context' is empty",
        None,
    ]
    columns = [field.name for field in JOBS[job].fields({})]
    for row in found:
        assert [row[name] is None for name in columns] == [row["error"] is not None] * len(columns)


@pytest.mark.parametrize("job", ["highlight", "prune"])
def test_parquet_is_written_as_json_lines_are(tmp_path, rows, job):
    parquet = pytest.importorskip("pyarrow.parquet")
    del rows[4]["context"]
    path = json_lines(tmp_path / "rows.jsonl", rows)
    options = {**SHORT, "top_k": 2}
    for format in ("jsonl", "parquet"):
        run(plan_for(tmp_path, path, job=job, options=options, output_format=format, output=tmp_path / format))
    assert parquet.read_table(tmp_path / "parquet").to_pylist() == written(tmp_path / "jsonl")


@pytest.mark.parametrize("job", ["highlight", "prune"])
def test_other_wishes_and_other_jobs_are_refused_by_name(tmp_path, data, job):
    run(plan_for(tmp_path, data, job=job, options={**SHORT, "top_k": 1}))
    before = shards_of(tmp_path / "out")
    with pytest.raises(ConfigError, match="top_k was 1 and is 2"):
        run(plan_for(tmp_path, data, job=job, options={**SHORT, "top_k": 2}))
    with pytest.raises(ConfigError, match=f'job was "{job}" and is "answer"'):
        run(plan_for(tmp_path, data, options={**SHORT, "top_k": 1}))
    assert shards_of(tmp_path / "out") == before


@pytest.mark.parametrize("job", ["highlight", "prune"])
@pytest.mark.parametrize(
    ("options", "message"),
    [({"top_k": 0}, "top_k is 0"), ({"budget": "much"}, "budget is 'much'"), ({"point": "none"}, "none")],
)
def test_impossible_wishes_end_the_run_at_once(tmp_path, data, job, options, message):
    with pytest.raises(ConfigError, match=message):
        run(plan_for(tmp_path, data, job=job, options={**SHORT, **options}))
    assert shards_of(tmp_path / "out") == {}


@pytest.mark.parametrize(("job", "taken"), [("highlight", "sentences"), ("prune", "pruned"), ("prune", "kept")])
def test_columns_of_the_output_are_not_copied_over(tmp_path, data, job, taken):
    with pytest.raises(ConfigError, match=f"the output has a column '{taken}' of its own"):
        plan_for(tmp_path, data, job=job, keep=(taken,))


@pytest.mark.parametrize("job", ["highlight", "prune"])
def test_a_row_that_makes_the_model_fail_takes_no_other_with_it(tmp_path, data, rows, job):
    def make():
        answerer, backend = hashing_answerer()
        score, letter = backend.score_windows, answerer.reader.tokenizer.backend.token_to_id("q")

        def broken(inputs, thresholds=None, asking=None):
            if letter in inputs.ids:
                raise RuntimeError("no\nmemory")
            return score(inputs, thresholds, asking)

        backend.score_windows = broken
        return answerer, backend

    rows[3]["question"] = "q nest?"
    path = json_lines(data, rows)
    with without_model(make):
        summary = run_bulk(plan_for(tmp_path, path, job=job))
    assert (summary.rows, summary.errors) == (8, 1)
    found = written(tmp_path / "out")
    assert [row["row"] for row in found if row["error"]] == [3]
    assert found[3]["error"] == f"{path}: line 4: RuntimeError: no memory"
