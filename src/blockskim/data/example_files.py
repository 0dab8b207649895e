"""Examples that lie in a temporary file, so that there may be more of them than memory holds."""

import json
import tempfile
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any, Self, overload

import numpy as np
from numpy.typing import NDArray

from blockskim.atomic import write_errors_named
from blockskim.data.examples import Answer, Example

NOTICE_EVERY = 1000
"""Examples from one call of a progress function to the next."""


class ChosenExamples(Sequence[Example]):
    """Some examples of a sequence, in a given order, without a copy of them."""

    def __init__(self, examples: Sequence[Example], numbers: NDArray[np.int64]) -> None:
        """Take the examples with these numbers. Shape of ``numbers``: (chosen,)."""
        self._examples = examples
        self._numbers = numbers

    def __len__(self) -> int:
        """How many there are."""
        return len(self._numbers)

    @overload
    def __getitem__(self, index: int) -> Example: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Example]: ...

    def __getitem__(self, index: int | slice) -> Example | Sequence[Example]:
        """One of them, or a part of the sequence."""
        if isinstance(index, slice):
            return ChosenExamples(self._examples, self._numbers[index])
        return self._examples[int(self._numbers[index])]

    def __iter__(self) -> Iterator[Example]:
        """All of them in their order."""
        return (self._examples[number] for number in map(int, self._numbers))


class StoredExamples(Sequence[Example]):
    """Examples in a temporary file that has no name, so that it is gone with this process, however that ends.

    Memory holds eight bytes of each. To be closed, or used as a context manager.
    """

    def __init__(
        self, examples: Iterable[Example], folder: Path, progress: Callable[[int], None] | None = None
    ) -> None:
        """Write examples into a new file.

        Args:
            examples: are read once.
            folder: an existing one on a disk with room for them.
            progress: called with the number of examples so far, now and then.

        Raises:
            OSError: they can't be written; ``filename`` is ``folder``.
        """
        self._ends = array("q", [0])
        with write_errors_named(folder):
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 # it is closed by `close`
        try:
            for example in examples:
                content = to_bytes(example)
                with write_errors_named(folder):
                    self._file.write(content)
                self._ends.append(self._ends[-1] + len(content))
                if progress is not None and len(self) % NOTICE_EVERY == 0:
                    progress(len(self))
            with write_errors_named(folder):
                self._file.flush()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Remove the file."""
        # What could not be written is not missed: the file is gone with this.
        with suppress(OSError):
            self._file.close()

    def __enter__(self) -> Self:
        """Have the file closed at the end of a block."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Close the file."""
        self.close()

    def __len__(self) -> int:
        """How many there are."""
        return len(self._ends) - 1

    @overload
    def __getitem__(self, index: int) -> Example: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Example]: ...

    def __getitem__(self, index: int | slice) -> Example | Sequence[Example]:
        """Read one of them, or take a part of the sequence."""
        numbers = range(len(self))[index]
        if isinstance(numbers, range):
            return ChosenExamples(self, np.array(numbers, dtype=np.int64))
        first, end = self._ends[numbers], self._ends[numbers + 1]
        self._file.seek(first)
        return from_bytes(self._file.read(end - first))

    def __iter__(self) -> Iterator[Example]:
        """Read all of them in their order."""
        return (self[number] for number in range(len(self)))


def to_bytes(example: Example) -> bytes:
    """An example as JSON."""
    return json.dumps([getattr(example, item.name) for item in fields(Example)], default=_parts).encode()


def from_bytes(content: bytes) -> Example:
    """What ``to_bytes`` was given."""
    values = dict(zip((item.name for item in fields(Example)), _tuples(json.loads(content)), strict=True))
    values["answers"] = tuple(Answer(*answer) for answer in values["answers"])
    return Example(**values)


def _parts(value: object) -> list[object]:
    """What JSON does not know: an answer."""
    assert isinstance(value, Answer), value
    return [value.text, value.start]


def _tuples(value: Any) -> Any:
    """Lists as the tuples that they were: examples hold no lists."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
