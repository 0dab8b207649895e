import json
from dataclasses import replace

import pytest

from blockskim.errors import ConfigError
from blockskim.evaluation.sweep_files import RESULTS, SweepFiles, sweep_folder
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
        files.partial.write_text(text)
        assert files.known() == []
        assert "anew" in caplog.text


def test_results_take_the_place_of_what_was_kept(tmp_path):
    files = SweepFiles(tmp_path, "key", False)
    files.keep(RECORDS)
    files.finish({"records": []})
    assert json.loads((tmp_path / RESULTS).read_text()) == {"records": []}
    assert [path.name for path in tmp_path.iterdir()] == [RESULTS]


def test_what_another_sweep_has_kept_stays(tmp_path):
    files = SweepFiles(tmp_path, "key", False)
    files.keep(RECORDS)
    other = replace(files, key="other")
    other.keep(RECORDS[:1])
    other.finish({"records": []})
    assert files.known() == RECORDS
    assert other.known() == []


def test_results_of_another_sweep_are_not_replaced(tmp_path):
    files = SweepFiles(tmp_path, "key", False)
    files.keep(RECORDS)
    replace(files, key="other").finish({"records": [1]})
    with pytest.raises(ConfigError, match="holds the results of a sweep; name another output"):
        files.finish({"records": []})
    assert json.loads((tmp_path / RESULTS).read_text()) == {"records": [1]}
    assert files.known() == RECORDS
    with pytest.raises(ConfigError, match="holds the results of a sweep"), sweep_folder(tmp_path):
        pytest.fail("it began")


def test_one_sweep_at_a_time_has_a_folder(tmp_path):
    pytest.importorskip("fcntl")
    folder = tmp_path / "new" / "out"
    with sweep_folder(folder), pytest.raises(ConfigError, match="another run is writing into"), sweep_folder(folder):
        pytest.fail("it began")
    assert list(folder.iterdir()) == []
