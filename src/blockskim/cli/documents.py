"""The texts that ``blockskim answer`` reads: from files, from standard input, from an option."""

import sys
from pathlib import Path

from blockskim.data.files import check_file
from blockskim.errors import DataError

STANDARD_INPUT = "-"


def read_documents(names: list[str]) -> dict[str, str]:
    """Texts by name, each read once; "-" is standard input.

    A blank one among others stays, as one of the files of a folder may be; who reads them warns of it.

    Raises:
        DataError: one can't be read or is not UTF-8 text, or all are blank.
    """
    texts = {name: _decode(_read(name), _shown(name)) for name in dict.fromkeys(names)}
    if not any(text.strip() for text in texts.values()):
        what = _shown(next(iter(texts))) if len(texts) == 1 else f"all {len(texts)} files"
        raise DataError(f"{what}: nothing but white space; a text to find answers in is needed")
    return texts


def _shown(name: str) -> str:
    return "standard input" if name == STANDARD_INPUT else name


def _read(name: str) -> bytes:
    if name == STANDARD_INPUT:
        return _read_standard_input()
    path = check_file(Path(name), may_be_empty=True)
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{name}: can't be read: {error.strerror or error}") from error


def _read_standard_input() -> bytes:
    # Python has None in place of a stream that is closed.
    if sys.stdin is None:
        raise DataError("standard input is closed; give it a text, or read files by -f")
    try:
        return sys.stdin.buffer.read()
    except OSError as error:
        raise DataError(f"standard input: can't be read: {error.strerror or error}") from error


def _decode(content: bytes, name: str) -> str:
    """Text as it stands: line ends are not changed, so that offsets are those of the file's characters.

    A byte-order mark is none of them.
    """
    if b"\0" in content:
        raise DataError(f"{name}: is a binary file; plain text in UTF-8 is needed")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{name}: is not UTF-8 text (byte 0x{content[error.start]:02x} at offset {error.start}): a binary file or "
            "another encoding; plain text in UTF-8 is needed"
        ) from error
