"""A folder that one run at a time writes into."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from blockskim.errors import ConfigError

LOCK = "_lock"
"""The file in such a folder that is locked, while the run lasts; that of a killed one stays, and locks nothing."""


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Make a folder and keep other runs out of it. The system frees it when this process ends, however.

    Args:
        folder: that is written into.

    Raises:
        ConfigError: another run is writing there.
        OSError: it can't be made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / LOCK
    while True:
        with path.open("ab") as file:
            _lock(file, folder)
            if _is_at(file, path):
                try:
                    yield
                finally:
                    # Windows removes no open file.
                    with suppress(OSError):
                        path.unlink()
                return
        # Whoever held the lock removed the file after it was opened here: another run may have a new one by now.


def _lock(file: BinaryIO, folder: Path) -> None:
    try:
        import fcntl
    except ModuleNotFoundError:  # Windows has none; two runs at once are not noticed there.
        return
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ConfigError(f"another run is writing into {folder}; wait for it, or name another output") from error
    except OSError:
        return  # Some network file systems have no locks.


def _is_at(file: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
