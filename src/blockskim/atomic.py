"""Files and directories that appear whole or not at all.

Each is written under a temporary name in the same folder and renamed at the end, so that nothing ever reads half of it.
When something goes wrong, the temporary one is removed and what was there before stays as it was.
"""

import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from blockskim.errors import ConfigError

NAME_LENGTH = 40
"""Characters of a file's name that its temporary name begins with: names of files must not get too long."""


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file that appears whole or not at all.

    Args:
        path: file to make or to replace. What is no regular file, as a pipe or a device, is written to instead.
        content: text is written in UTF-8.

    Raises:
        OSError: it can't be written; ``filename`` is ``path``.
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    with open_whole(path) as file:
        file.write(data)


@contextmanager
def open_whole(path: Path) -> Iterator[BinaryIO]:
    """A file to write into that becomes ``path`` when the block ends without an error.

    Args:
        path: file to make or to replace; of a link, the file that it points to. What is no regular file, as a pipe or
            a device, is written to instead.

    Raises:
        OSError: it can't be written; ``filename`` is ``path``.
    """
    special = path.exists() and not path.is_file()
    target = path.resolve()
    part = path if special else target.with_name(f".{target.name[:NAME_LENGTH]}.{secrets.token_hex(8)}.tmp")
    try:
        # Made new by plain open, it has the rights that any new file has.
        with part.open("wb" if special else "xb") as file:
            yield file
        if not special:
            part.replace(target)
    except BaseException as error:
        if not special:
            with suppress(OSError):
                part.unlink()
        if isinstance(error, OSError) and error.errno is not None and error.filename in (None, str(part)):
            # A full disk names no file at all, and the temporary name would say nothing.
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


@contextmanager
def new_directory(output: Path) -> Iterator[Path]:
    """A folder to write into that becomes ``output`` when the block ends without an error.

    Raises:
        ConfigError: there is something at ``output`` already, other than an empty folder.
    """
    check_new(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name[:NAME_LENGTH]}.") as folder:
        # Not the temporary folder itself, which only its owner may read.
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
