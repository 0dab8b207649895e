"""Work on a Ray cluster of two nodes: the same bytes, also when actors and nodes are killed.

The model is the one that comes along, without PyTorch. ``make test-integrations`` runs these tests; elsewhere Ray is
rarely installed.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

# Before Ray is imported: all addresses are of loopback, and nobody is told of its use.
os.environ |= {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0"}
ray = pytest.importorskip("ray")
ray_data = pytest.importorskip("ray.data")

from blockskim.answering.model_choice import ModelChoice  # noqa: E402
from blockskim.errors import BlockSkimError, ConfigError  # noqa: E402
from blockskim.scaling import ray_shards  # noqa: E402
from blockskim.scaling.bulk import run_bulk  # noqa: E402
from blockskim.scaling.ray_cluster import ActorShare, ModelParcel, share_cluster  # noqa: E402
from blockskim.scaling.ray_data import answer_dataset  # noqa: E402
from bulk_runs import json_lines, plan_for, rows_of, shards_of, written  # noqa: E402
from ray_nodes import bounded, ray_nodes  # noqa: E402

CHOICE = ModelChoice(backend="onnx")


@pytest.fixture(scope="module")
def cluster():
    with ray_nodes() as nodes:
        yield nodes


@pytest.fixture(autouse=True)
def in_time():
    with bounded():
        yield


@pytest.fixture
def plan(tmp_path):
    def make(rows, **settings):
        path = json_lines(tmp_path / "rows.jsonl", rows)
        return plan_for(tmp_path, path, **{"model": CHOICE, "options": {}, "keep": ("id",), **settings})

    return make


def wrong_rows():
    rows = rows_of(20)
    del rows[7]["context"]
    rows[9]["question"] = 5
    return rows


def test_the_cluster_is_shared_out(cluster):
    assert share_cluster(ray, CHOICE, 2) == ActorShare(1, 0)
    # No actor has more than a machine has.
    assert share_cluster(ray, CHOICE, 1) == ActorShare(1, 0)
    assert share_cluster(ray, ModelChoice(device="cuda"), 2).resources == {"num_cpus": 1, "num_gpus": 1}
    with pytest.raises(ConfigError, match="2 workers need a thread each, and threads is 1"):
        share_cluster(ray, ModelChoice(threads=1), 2)


def test_two_actors_write_what_one_process_writes(cluster, plan, tmp_path):
    alone = run_bulk(plan(wrong_rows(), output=tmp_path / "alone"))
    seen = []
    found = run_bulk(plan(wrong_rows()), 2, lambda state: seen.append(state.rows), ray_address="")
    assert shards_of(tmp_path / "out") == shards_of(tmp_path / "alone")
    for name in ("rows", "errors", "tokens", "tokens_kept", "shards", "flops", "first_error"):
        assert getattr(found, name) == getattr(alone, name)
    assert len(seen) == 7
    assert seen[-1] == 20


def test_actors_find_text_files_of_relative_paths(cluster, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number in range(3):
        Path(f"{number}.txt").write_text(rows_of(3)[number]["context"])
    files = [Path(f"{number}.txt") for number in range(3)]
    settings = {"model": CHOICE, "options": {}, "question": "Where is it?"}
    run_bulk(plan_for(tmp_path, *files, output=tmp_path / "alone", **settings))
    run_bulk(plan_for(tmp_path, *files, **settings), 2, ray_address="")
    assert shards_of(tmp_path / "out") == shards_of(tmp_path / "alone")
    assert [(row["file"], row["error"]) for row in written(tmp_path / "out")] == [(str(path), None) for path in files]


def test_more_actors_than_the_cluster_has_room_for_hold_up_nobody(cluster, plan, tmp_path):
    run_bulk(plan(rows_of(20)), 4, ray_address="")
    assert [row["id"] for row in written(tmp_path / "out")] == list(range(20))


def test_what_an_actor_raises_is_raised_here(cluster, plan, tmp_path):
    rows = rows_of(4)
    del rows[3]["context"]
    with pytest.raises(BlockSkimError, match="line 4: there is no 'context'"):
        run_bulk(plan(rows, on_error="stop"), 2, ray_address="")
    with pytest.raises(ConfigError, match="none"):
        run_bulk(plan(rows, output=tmp_path / "point", options={"point": "none"}), 2, ray_address="")


def test_a_killed_actor_starts_anew_and_nothing_is_lost(cluster, plan, tmp_path):
    work = plan(rows_of(60), shard_rows=2)
    killed = []

    def kill(state):
        if not killed and state.rows >= 6:
            killed.append(workers()[0])
            os.kill(killed[0], signal.SIGKILL)

    run_bulk(work, 2, kill, ray_address="")
    assert killed
    run_bulk(plan(rows_of(60), shard_rows=2, output=tmp_path / "whole"))
    assert shards_of(tmp_path / "out") == shards_of(tmp_path / "whole")


def test_what_kills_one_actor_after_the_other_ends_the_run(cluster, plan, tmp_path):
    work = plan(rows_of(40), shard_rows=2)

    def kill(_state):
        for victim in workers():
            os.kill(victim, signal.SIGKILL)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ray_shards, "MOST_DEATHS", 1)
        with pytest.raises(BlockSkimError, match=r"1 actors died while they (had rows|loaded).*; what is done stays"):
            run_bulk(work, 2, kill, ray_address="")
    assert 0 < len(shards_of(tmp_path / "out")) < 20
    assert run_bulk(work, 2, ray_address="").rows_before > 0
    assert [row["id"] for row in written(tmp_path / "out")] == list(range(40))


def test_a_killed_node_is_done_without(cluster, plan, tmp_path):
    work = plan(rows_of(60), shard_rows=2)
    killed = []

    def kill(state):
        if not killed and state.rows >= 6:
            killed.append(cluster.worker_nodes.copy().pop())
            cluster.remove_node(killed[0], allow_graceful=False)

    run_bulk(work, 2, kill, ray_address="")
    assert killed
    cluster.add_node(num_cpus=1, object_store_memory=100_000_000, node_ip_address="127.0.0.1")
    run_bulk(plan(rows_of(60), shard_rows=2, output=tmp_path / "whole"))
    assert shards_of(tmp_path / "out") == shards_of(tmp_path / "whole")


def test_a_model_is_brought_to_machines_that_lack_it(cluster, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    (tmp_path / "model" / "notes.md").write_text("not a part of it")
    parcel = ModelParcel.of(ray, tmp_path / "model")
    with parcel.directory() as here:
        assert here == tmp_path / "model"
    (tmp_path / "model" / "config.json").write_text('{"other": 1}')
    with parcel.directory() as elsewhere:
        assert {path.name: path.read_text() for path in elsewhere.iterdir()} == {"config.json": "{}"}
    assert not elsewhere.exists()


@pytest.mark.parametrize("options", [{}, {"top_k": 2}])
def test_the_rows_of_a_dataset_are_answered_as_those_of_a_file(cluster, plan, tmp_path, options):
    rows = [{"id": row["id"], "question": row["question"], "context": row["context"]} for row in rows_of(12)]
    rows[7]["context"] = None
    rows[9]["question"] = " "
    run_bulk(plan(rows, options=options))
    answered = answer_dataset(ray.data.from_items(rows), model=CHOICE, workers=2, rows_at_once=5, **options)
    found = sorted(answered.take_all(), key=lambda row: row["id"])
    expected = written(tmp_path / "out")
    names = ("answers",) if options else ("answer", "score", "confidence", "start", "end")
    for one, other, row in zip(found, expected, rows, strict=True):
        assert {name: one[name] for name in row} == row
        assert [one[name] for name in names] == [other[name] for name in names]
        where = f"{tmp_path / 'rows.jsonl'}: line {row['id'] + 1}: "
        assert one["error"] == (other["error"] and other["error"].removeprefix(where))


def test_a_question_for_all_rows_and_a_column_that_is_missing(cluster):
    rows = ray.data.from_items([{"text": row["context"]} for row in rows_of(3)])
    one = answer_dataset(rows, question="Where does the kite nest?", context_column="text", model=CHOICE).take_all()
    assert [row["error"] for row in one] == [None] * 3
    assert all(row["text"][row["start"] : row["end"]] == row["answer"] for row in one)
    missing = answer_dataset(rows, question="Where?", context_column="body", model=CHOICE).take_all()
    assert [row["error"] for row in missing] == ["there is no 'body'"] * 3
    assert [row["answer"] for row in missing] == [None] * 3


def test_impossible_settings_of_a_dataset_are_refused(cluster):
    rows = ray.data.from_items(rows_of(2))
    with pytest.raises(ConfigError, match="the question is empty"):
        answer_dataset(rows, question=" ")
    with pytest.raises(ConfigError, match="workers is 0"):
        answer_dataset(rows, workers=0)
    taken = ray.data.from_items([{**row, "answer": "x"} for row in rows_of(2)])
    with pytest.raises(Exception, match=r"the dataset has .*answer.* already"):
        answer_dataset(taken, model=CHOICE).take_all()


def test_the_command_prints_its_summary_alone(cluster, tmp_path):
    data = json_lines(tmp_path / "rows.jsonl", rows_of(12))
    command = [sys.executable, "-m", "blockskim", "bulk", "answer", data, "--output", tmp_path / "out"]
    command += ["--backend", "onnx", "--keep", "id", "--workers", "2", "--shard-rows", "3", "--json"]
    ended = subprocess.run(
        [*command, "--ray", cluster.address], capture_output=True, text=True, timeout=200, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["rows"] == 12
    assert [row["id"] for row in written(tmp_path / "out")] == list(range(12))
    # Of a finished run there is nothing to do, on no cluster: another folder.
    elsewhere = [*command, "--output", tmp_path / "other", "--ray", "nowhere"]
    ended = subprocess.run(elsewhere, capture_output=True, text=True, timeout=200, check=False)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "error: no Ray cluster can be joined at nowhere: " in ended.stderr
    assert "Traceback" not in ended.stderr


def workers():
    """Process ids of the actors that make shards, of those that this process started."""
    return [
        int(path.parent.name)
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if content(path).startswith("ray::ShardActor") and os.getpid() in ancestors(int(path.parent.name))
    ]


def ancestors(number):
    found = []
    while number > 1:
        status = content(Path(f"/proc/{number}/status"))
        number = int(status.partition("PPid:")[2].split()[0]) if status else 0
        found.append(number)
    return found


def content(path):
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
