import json
from dataclasses import replace

from blockskim.evaluation.sweep_files import PARTIAL, RESULTS, SweepFiles
from blockskim.evaluation.sweep_records import SweepRecord

RECORDS = [
    SweepRecord("dense", "dense", (0.0, 0.0), 70.0, 80.0, 0.0, 100, 1.0, 2.0),
    SweepRecord("point", "fast", (0.3, 0.4), 65.0, 76.0, 5.0, 50, 2.0, 4.0, 1.6, 2.0),
]


def test_what_was_kept_is_known_to_the_same_sweep_alone(tmp_path):
    files = SweepFiles(tmp_path, "key", False)
    assert files.known() == []
    files.keep(RECORDS)
    assert files.known() == RECORDS
    assert replace(files, key="other").known() == []
    assert replace(files, timed=True).known() == []


def test_damaged_files_are_told_of(tmp_path, caplog):
    files = SweepFiles(tmp_path, "key", False)
    for text in ('{"key": ', "[]", '{"key": "key", "seconds": false, "records": [{"kind": "dense"}]}', "[" * 100_000):
        caplog.clear()
        (tmp_path / PARTIAL).write_text(text)
        assert files.known() == []
        assert "anew" in caplog.text


def test_results_take_the_place_of_what_was_kept(tmp_path):
    files = SweepFiles(tmp_path, "key", False)
    files.keep(RECORDS)
    files.finish({"records": []})
    assert json.loads((tmp_path / RESULTS).read_text()) == {"records": []}
    assert [path.name for path in tmp_path.iterdir()] == [RESULTS]
