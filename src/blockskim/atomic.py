"""Model directories that appear whole or not at all."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from blockskim.errors import ConfigError


@contextmanager
def new_directory(output: Path) -> Iterator[Path]:
    """A folder to write into that becomes ``output`` at the end; when something goes wrong there is no trace of it.

    Raises:
        ConfigError: there is something at ``output`` already, other than an empty folder.
    """
    check_new(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}.") as folder:
        # Not the temporary folder itself, which is for its owner's eyes alone.
        part = Path(folder) / "model"
        part.mkdir()
        yield part
        if output.exists():
            output.rmdir()
        part.rename(output)


def check_new(output: Path) -> None:
    """Raise ConfigError when a directory to be made is there already, and not empty."""
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ConfigError(f"{output} exists already; name a new directory")
