"""What a run says of its data."""

import pytest

from blockskim.model.stored_weights import PROVENANCE
from blockskim.training.data_record import DATA_FILE, DataRecord, data_records, records_text

HELD = DataRecord({"a.json": 90, "/data/one/b.json": 5}, 0, {"a.json": 10}, 0.1)


def test_copies_of_a_model_keep_it():
    assert DATA_FILE in PROVENANCE


def test_what_was_written_is_read(tmp_path):
    (tmp_path / DATA_FILE).write_text(records_text([HELD, DataRecord({"examples": 1}, 2, {})]))
    assert data_records(tmp_path) == [HELD, DataRecord({"examples": 1}, 2, {})]


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


def test_without_a_share_all_of_a_file_was_learned_from_unless_the_caller_held_out_some():
    assert DataRecord({"a.json": 90}, 0, {"dev.json": 10}).learned_from("a.json", 0.1)
    assert not DataRecord({"a.json": 90}, 0, {"a.json": 10}).learned_from("a.json", 0.1)
