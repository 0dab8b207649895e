"""Files and directories that appear whole or not at all.

Each is written under a temporary name in the same folder and renamed at the end, so that nothing ever reads half of it.
When something goes wrong, the temporary one is removed and what was there before stays as it was.
"""

import errno
import os
import re
import secrets
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from blockskim.errors import ConfigError

NAME_LENGTH = 40
"""Characters of a file's name that its temporary name begins with: names of files must not get too long."""

# How libraries written in Rust (safetensors, tokenizers) tell of a failed write, whatever class of error they raise.
_RUST_ERROR = re.compile(r"\(os error (\d+)\)|Os \{ code: (\d+)")
# What torch.save says then; it does not tell the cause.
_TORCH_WRITER = re.compile(r"PytorchStreamWriter failed|inline_container|unexpected pos \d+ vs")


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
            a device, is written to instead, and so is standard output or error, be it a file.

    Raises:
        OSError: it can't be written; ``filename`` is ``path``.
    """
    stream = _standard_stream(path)
    special = stream is not None or (path.exists() and not path.is_file())
    target = path.resolve()
    part = path if special else target.with_name(f".{target.name[:NAME_LENGTH]}.{secrets.token_hex(8)}.tmp")
    try:
        with write_errors_named(path, part):
            # Made new by plain open, it has the rights that any new file has.
            with part.open("wb" if special else "xb") if stream is None else os.fdopen(os.dup(stream), "wb") as file:
                yield file
            if not special:
                part.replace(target)
    except BaseException:
        if not special:
            with suppress(OSError):
                part.unlink()
        raise


def _standard_stream(path: Path) -> int | None:
    """The number of standard output or error, if it goes into this file: replaced, all else in it would be lost."""
    for number, stream in ((1, sys.stdout), (2, sys.stderr)):
        with suppress(OSError, ValueError):
            if path.is_file() and os.path.samestat(path.stat(), os.fstat(number)):
                if stream is not None:
                    stream.flush()
                return number
    return None


@contextmanager
def write_errors_named(path: Path, part: Path | None = None) -> Iterator[None]:
    """Have errors of writing name what was to be written.

    A full disk names no file at all, a temporary name says nothing, and libraries raise errors of their own
    when they write.

    Args:
        path: what is to be written.
        part: its temporary name; errors about it, or about something in it, are told of ``path``.

    Raises:
        OSError: it can't be written; ``filename`` is ``path``. Errors about other files pass as they are.
    """
    try:
        yield
    except OSError as error:
        if error.errno is None or not (error.filename is None or _lies_in(error.filename, part)):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
    except Exception as error:
        number = _error_number(error)
        if number is None:
            raise
        raise OSError(number, os.strerror(number), str(path)) from error


def _lies_in(name: object, part: Path | None) -> bool:
    """Whether a file that an error names is a temporary one, or in a temporary folder."""
    return part is not None and isinstance(name, str) and (Path(name) == part or part in Path(name).parents)


def _error_number(error: BaseException) -> int | None:
    """The number of the system's error behind one that a library raised while it wrote; None if it is another one."""
    text = str(error)
    found = _RUST_ERROR.search(text)
    if found is not None:
        return int(found.group(1) or found.group(2))
    if isinstance(error, RuntimeError) and _TORCH_WRITER.search(text):
        # A write that Python made, and torch wraps, says why; one of torch itself does not.
        cause = error.__context__
        return cause.errno if isinstance(cause, OSError) and cause.errno else errno.EIO
    return None


@contextmanager
def new_directory(output: Path) -> Iterator[Path]:
    """A folder to write into that becomes ``output`` when the block ends without an error.

    An empty folder that can't be replaced (``must_stay``) gets the files in place of that, one by one.

    Raises:
        ConfigError: there is something at ``output`` already, other than an empty folder.
        OSError: it can't be written; ``filename`` is ``output``.
    """
    check_new(output)
    if must_stay(output):
        with new_files(output) as part:
            yield part
        return
    with _temporary_folder(output, output.parent) as part:
        yield part
        if output.exists():
            output.rmdir()
        part.rename(output)


@contextmanager
def new_files(folder: Path) -> Iterator[Path]:
    """A folder to write into whose files are moved into ``folder`` when the block ends without an error.

    Files of the same names are replaced; others stay.

    Raises:
        OSError: they can't be written; ``filename`` is ``folder``.
    """
    with _temporary_folder(folder, folder) as part:
        yield part
        for file in sorted(part.iterdir()):
            file.replace(folder / file.name)


@contextmanager
def _temporary_folder(output: Path, parent: Path) -> Iterator[Path]:
    """An empty folder in ``parent`` that is gone after the block, and errors of writing that name ``output``."""
    with write_errors_named(output):
        parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            dir=parent, prefix=f".{output.name[:NAME_LENGTH]}.", ignore_cleanup_errors=True
        ) as folder:
            # Not the temporary folder itself, which only its owner may read.
            part = Path(folder) / "model"
            with write_errors_named(output, Path(folder)):
                part.mkdir()
                yield part


def give_usual_rights(files: Iterable[Path]) -> None:
    """Give files of one folder the rights that any new file in it has.

    safetensors writes files under temporary names that only their owner may read, and leaves them like that.

    Raises:
        OSError: they are another user's, or no file can be made beside them.
    """
    found = list(files)
    if not found:
        return
    probe = found[0].with_name(f".{secrets.token_hex(8)}.tmp")
    with write_errors_named(found[0], probe):
        # What the system takes from new files, it tells only by making one.
        probe.touch(exist_ok=False)
        mode = stat.S_IMODE(probe.stat().st_mode)
        probe.unlink()
    for path in found:
        path.chmod(mode)


def check_new(output: Path) -> None:
    """Raise ConfigError when a directory to be made is there already, and not empty, or is a link to nothing."""
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ConfigError(f"{output} exists already; name a new directory")
    if output.is_symlink() and not output.exists():
        raise ConfigError(f"{output} is a link to nothing; name a new directory")


def must_stay(folder: Path) -> bool:
    """Whether a folder is there that another can't be renamed to: a link, a mount point, or where the process works."""
    # Path.is_mount is not there on Windows before Python 3.12.
    return folder.is_dir() and (folder.is_symlink() or os.path.ismount(folder) or folder.samefile("."))
