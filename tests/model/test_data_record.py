"""What a run says of its data."""

import pytest

from blockskim.model.data_record import DATA_FILE, DataRecord, data_records, records_text
from blockskim.model.stored_weights import PROVENANCE

HELD = DataRecord({"a.json": 90, "/data/one/b.json": 5}, 0, {"a.json": 10}, 0.1)


def test_copies_of_a_model_keep_it():
    assert DATA_FILE in PROVENANCE


def test_what_was_written_is_read(tmp_path):
    (tmp_path / DATA_FILE).write_text(records_text([HELD, DataRecord({"examples": 1}, 2, {})]))
    assert data_records(tmp_path) == [HELD, DataRecord({"examples": 1}, 2, {})]


def test_that_of_a_model_of_the_hub_or_of_a_subfolder_is_read(tmp_path):
    snapshot = tmp_path / "hub" / "models--ann--reader" / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text(snapshot.name)
    hub = {"cache_dir": str(tmp_path / "hub"), "local_files_only": True}
    assert data_records("ann/reader", hub) == []
    (snapshot / DATA_FILE).write_text(records_text([HELD]))
    assert data_records("ann/reader", hub) == [HELD]
    assert data_records(snapshot.parent, {"subfolder": snapshot.name}) == [HELD]


def test_a_model_that_was_made_here_has_none():
    assert data_records("the model") == []


@pytest.mark.parametrize(
    "text", ["", "5", "[5]", "{}", '[{"train": {}}]', "[" * 100_000, '[{"train": 5, "elsewhere": 0, "development": 5}]']
)
def test_what_can_not_be_read_says_nothing(tmp_path, text):
    assert data_records(tmp_path) == []
    (tmp_path / DATA_FILE).write_text(text)
    assert data_records(tmp_path) == []


def test_a_larger_share_holds_out_what_was_learned_from():
    assert HELD.learned_from("a.json", 0.2)
    assert HELD.learned_from("b.json", 0.2)
    assert not HELD.learned_from("a.json", 0.1)
    assert not HELD.learned_from("a.json", 0.05)
    assert not HELD.learned_from("other.json", 0.2)


def test_all_of_a_file_holds_what_was_learned_from():
    for held_out in (0.1, None):
        assert DataRecord({"a.json": 90}, 0, {"a.json": 10}, held_out).learned_from("a.json", None)
    assert not HELD.learned_from("other.json", None)


def test_without_a_share_all_of_a_file_was_learned_from_unless_the_caller_held_out_some():
    assert DataRecord({"a.json": 90}, 0, {"dev.json": 10}).learned_from("a.json", 0.1)
    assert not DataRecord({"a.json": 90}, 0, {"a.json": 10}).learned_from("a.json", 0.1)
