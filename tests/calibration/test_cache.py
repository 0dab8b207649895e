"""What a killed calibration has kept."""

import numpy as np

from blockskim.calibration.cache import CalibrationCache, remove_cache


def test_damaged_files_are_made_anew(recording, tmp_path, caplog):
    cache = CalibrationCache(tmp_path, "key")
    assert cache.recording() is None
    assert cache.points() == {}
    (tmp_path / "recording-key.npz").write_bytes(b"PK half")
    (tmp_path / "points-key.json").write_text('[{"thresholds": [0.1], "flo')
    assert cache.recording() is None
    assert cache.points() == {}
    assert "again" in caplog.text
    cache.keep_recording(recording)
    found = cache.recording()
    assert found.dense == recording.dense
    assert found.block_scores.layers == recording.block_scores.layers
    for name in ("probabilities", "relevant", "windows", "starts", "tokens"):
        assert np.array_equal(getattr(found.block_scores, name), getattr(recording.block_scores, name))
    for name in ("blocks", "examples", "f1"):
        assert np.array_equal(getattr(found.answer_blocks, name), getattr(recording.answer_blocks, name))
    dense = recording.dense
    cache.keep_points({dense.thresholds: dense})
    assert cache.points() == {dense.thresholds: dense}
    for text in ("[5]", "[{}]", "5", "{}x", '[{"thresholds": 5}]', "[" * 100_000):
        (tmp_path / "points-key.json").write_text(text)
        assert cache.points() == {}
    np.savez(tmp_path / "recording-key.npz", dense=np.array("[5]"), layers=np.array([1]))
    assert cache.recording() is None
    (tmp_path / "note.txt").write_text("of somebody else")
    remove_cache(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["note.txt"]
