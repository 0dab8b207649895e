"""What commands say of their data: what was repaired, and what the model may have learned from."""

import json

import pytest

from blockskim.cli.data_files import read_data, warn_of_trained_on
from blockskim.data.examples import Example
from blockskim.model.data_record import DATA_FILE, DataRecord, records_text

A, B = ({name: 90} for name in ("a.json", "b.json"))


def of(*files):
    return [Example(f"{file} {number}", "?", "context", source=file) for file in files for number in range(2)]


@pytest.mark.parametrize(
    ("records", "files", "share", "told"),
    [
        ([DataRecord(A, 0, A, 0.05)], ["a.json"], 0.05, []),
        ([DataRecord(A, 0, A, 0.05)], ["other.json"], None, []),
        ([DataRecord(A, 0, A)], ["a.json"], 0.5, []),
        (
            [DataRecord(A, 0, A, 0.05)],
            ["a.json"],
            0.5,
            ["a.json: @; calibrate on other data or with --hold-out 0.05, &"],
        ),
        (
            [DataRecord(A, 0, A, 0.05)],
            ["a.json"],
            None,
            ["a.json: @; calibrate on other data or with --hold-out 0.05, &"],
        ),
        ([DataRecord(A, 0, A)], ["a.json"], None, ["a.json: @; calibrate on other data"]),
        ([DataRecord(A, 0, B)], ["a.json"], 0.5, ["a.json: @; calibrate on other data"]),
        # Of two runs that held out different shares, the smaller one's part is in neither.
        (
            [DataRecord(A, 0, A, 0.2), DataRecord(A, 0, A, 0.1), DataRecord(A, 0, A, 0.1)],
            ["a.json"],
            None,
            ["a.json: @; calibrate on other data or with --hold-out 0.1, &"],
        ),
        (
            [DataRecord({**A, **B}, 0, {})],
            ["a.json", "b.json", "other.json"],
            None,
            ["a.json, b.json: the model learned from files of these names; calibrate on other data"],
        ),
    ],
)
def test_data_that_may_have_been_learned_from_is_warned_of_once(tmp_path, caplog, records, files, share, told):
    (tmp_path / DATA_FILE).write_text(records_text(records))
    warn_of_trained_on(str(tmp_path), of(*files), share)
    words = {"@": "the model learned from a file of this name", "&": "as its training held that out"}
    for mark, text in words.items():
        told = [line.replace(mark, text) for line in told]
    assert caplog.messages == told


@pytest.mark.parametrize("limit", [1, 2, 3, None])
def test_what_was_repaired_is_told_whatever_the_limit(tmp_path, caplog, limit):
    path = tmp_path / "data.json"
    answer = {"text": "Ann", "answer_start": 3}
    questions = [{"id": str(number), "question": "Who?", "answers": [answer]} for number in range(3)]
    path.write_text(json.dumps([{"context": "Ann was here.", "qas": questions}]))
    count = len(read_data([path], None, limit=limit))
    assert count == (3 if limit is None else limit)
    assert len(caplog.messages) == 1
    assert f"{count} answer{'s' * (count > 1)} repaired" in caplog.messages[0]
