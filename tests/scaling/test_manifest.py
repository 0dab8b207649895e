"""What a run was begun with: it is written down, another run is refused, and what is none of ours stays as it is."""

import json
from contextlib import contextmanager
from dataclasses import replace
from unittest import mock

import pytest

from blockskim.errors import ConfigError
from blockskim.scaling import resolved_choice, shard_worker
from blockskim.scaling.bulk import run_bulk
from bulk_runs import hashing_answerer, json_lines, model_folder, plan_for, rows_of, run, shards_of


@pytest.fixture
def data(tmp_path):
    return json_lines(tmp_path / "rows.jsonl", rows_of(10))


CHANGES = {
    "top_k was 1 and is 2": {"options": {"top_k": 2}},
    'question was null and is "Why?"': {"question": "Why?"},
    "shard_rows was 3 and is 4": {"shard_rows": 4},
    'output_format was "jsonl" and is "parquet"': {"output_format": "parquet"},
    'keep was [] and is ["id"]': {"keep": ("id",)},
}


@pytest.mark.parametrize("message", CHANGES)
def test_other_settings_are_refused_by_name(tmp_path, data, message):
    run(plan_for(tmp_path, data, options={"top_k": 1}))
    before = shards_of(tmp_path / "out")
    changed = {"options": {"top_k": 1}, **CHANGES[message]}
    with pytest.raises(ConfigError, match="was begun otherwise") as error:
        run(plan_for(tmp_path, data, **changed))
    assert message in str(error.value)
    assert shards_of(tmp_path / "out") == before


def test_another_model_is_refused(tmp_path, data):
    plan = plan_for(tmp_path, data)
    run(plan)
    (model_folder(tmp_path) / "README.md").write_text("no matter")
    run(plan)
    (tmp_path / "model" / "model.safetensors").write_bytes(b"other")
    with pytest.raises(ConfigError, match="the model's files were others"):
        run(plan)


def test_what_makes_no_other_answers_binds_nobody(tmp_path, data):
    plan = plan_for(tmp_path, data)
    run(plan)
    kept = json.loads((tmp_path / "out" / "_manifest.json").read_text())["model"]
    assert list(kept) == ["digest", "device", "dtype", "backend"]
    same = model_folder(tmp_path).rename(tmp_path / "moved")
    other = replace(plan, model=replace(plan.model, name=same, threads=3), batch_size=5)
    assert run(other).rows_before == 10


def test_other_input_is_refused(tmp_path, data):
    run(plan_for(tmp_path, data))
    content = data.read_text()
    data.write_text(content.replace("nest 3", "rest 3"))
    with pytest.raises(ConfigError, match=r"rows\.jsonl has changed"):
        run(plan_for(tmp_path, data))
    data.write_text(content)
    more = json_lines(tmp_path / "more.jsonl", rows_of(1))
    with pytest.raises(ConfigError, match="there were 1 input files and are 2"):
        run(plan_for(tmp_path, data, more))
    with pytest.raises(ConfigError, match=r"an input file was .*rows\.jsonl and is .*more\.jsonl"):
        run(plan_for(tmp_path, more))
    assert run(plan_for(tmp_path, data)).rows_before == 10


def test_a_change_that_samples_miss_is_found_by_the_rows(tmp_path, data, monkeypatch):
    monkeypatch.setattr("blockskim.scaling.manifest.fingerprint", lambda file: "the same")
    run(plan_for(tmp_path, data))
    data.write_text(data.read_text().replace("nest 4", "rest 4"))
    with pytest.raises(ConfigError, match=r"rows 3 to 5 .* have changed since .*part-000001\.jsonl was made"):
        run(plan_for(tmp_path, data))


def test_a_directory_of_something_else_is_refused(tmp_path, data):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match=r"exists already and has no _manifest\.json"):
        run(plan_for(tmp_path, data))
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="is a file; name a directory"):
        run(plan_for(tmp_path, data, output=tmp_path / "file"))


@pytest.mark.parametrize("name", ["mine.txt", "part-000000.jsonl"])
def test_a_directory_of_something_else_stays_as_it_is(tmp_path, data, name):
    out = tmp_path / "out"
    (out / "_shards").mkdir(parents=True)
    for path in (name, ".mine.tmp", ".part-000000.jsonl.0.tmp", "_shards/.000000.json.0.tmp"):
        (out / path).write_text("mine")
    before = sorted(out.rglob("*"))
    with pytest.raises(ConfigError, match=r"exists already and has no _manifest\.json"):
        run(plan_for(tmp_path, data))
    assert sorted(out.rglob("*")) == before


def test_leftovers_of_a_run_are_removed_and_nothing_else(tmp_path, data):
    plan = plan_for(tmp_path, data)
    run(plan)
    own = [".part-000000.jsonl.1f.tmp", "._manifest.json.0.tmp", "._summary.json.0.tmp", "_shards/.000000.json.0.tmp"]
    for path in (*own, ".mine.tmp", ".part-000000.jsonl.mine.tmp"):
        (tmp_path / "out" / path).write_text("half")
    run(plan)
    assert sorted(path.name for path in (tmp_path / "out").rglob("*.tmp")) == [
        ".mine.tmp",
        ".part-000000.jsonl.mine.tmp",
    ]


def test_an_output_of_an_earlier_version_is_refused(tmp_path, data):
    run(plan_for(tmp_path, data))
    path = tmp_path / "out" / "_manifest.json"
    before = json.loads(path.read_text())
    path.write_text(json.dumps(before | {"format": 1, "model": before["model"] | {"dtype": "auto"}}))
    with pytest.raises(ConfigError, match=r"by another version of this library \(format 1, and this one has 3\)"):
        run(plan_for(tmp_path, data))


def test_what_auto_stands_for_is_written_down_and_handed_on(tmp_path, data):
    choices = []

    def load(choice, *_):
        choices.append(choice)
        return hashing_answerer()

    plan = plan_for(tmp_path, data)
    with mock.patch.object(shard_worker, "load_answerer", load), choosing("cuda", "bfloat16"):
        run_bulk(plan)
    (choice,) = choices
    assert (choice.backend, choice.device, choice.dtype) == ("torch", "cuda", "bfloat16")
    written_down = json.loads((tmp_path / "out" / "_manifest.json").read_text())["model"]
    assert {name: written_down[name] for name in ("backend", "device", "dtype")} == {
        "backend": "torch",
        "device": "cuda",
        "dtype": "bfloat16",
    }
    with choosing("cuda", "float32"), pytest.raises(ConfigError, match='dtype was "bfloat16" and is "float32"'):
        run(plan)
    given = replace(plan, model=replace(plan.model, device="cuda", dtype="bfloat16"))
    assert run(given).rows_before == 10


@contextmanager
def choosing(device, dtype):
    """Have this device and number format chosen for "auto"."""
    with mock.patch.object(resolved_choice, "_chosen_by_torch", lambda *_: (device, dtype)):
        yield
