"""One run at a time in a folder; another process is another open file, so one process can play both."""

from pathlib import Path

import pytest

from blockskim.errors import ConfigError
from blockskim.folder_lock import LOCK, locked_folder

# Windows has no such locks.
pytest.importorskip("fcntl")


def test_a_folder_is_locked_for_others_until_the_block_ends(tmp_path):
    folder = tmp_path / "new" / "output"
    with locked_folder(folder):
        with pytest.raises(ConfigError, match="another run is writing into") as error, locked_folder(folder):
            pass
        assert str(folder) in str(error.value)
    with locked_folder(folder):
        assert (folder / LOCK).exists()


def test_a_lock_on_a_file_that_was_removed_meanwhile_does_not_count(tmp_path, monkeypatch):
    opened = []
    original = Path.open

    def opening(path, *arguments, **settings):
        file = original(path, *arguments, **settings)
        opened.append(path)
        if len(opened) == 1:
            # The run before ends between opening and locking.
            path.unlink()
        return file

    monkeypatch.setattr(Path, "open", opening)
    with locked_folder(tmp_path):
        assert len(opened) == 2
        with pytest.raises(ConfigError), locked_folder(tmp_path):
            pass
