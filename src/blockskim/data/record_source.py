"""The records of a data file, however they are laid out in it, and what every reader does with them.

Records lie in a list, one per line, in a list "data" of an object, or there is just one. An object with such a list may
itself be an item of a list or a line.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from blockskim.data.examples import Example
from blockskim.data.files import check_file
from blockskim.data.json_stream import Part, stream
from blockskim.data.read_report import ReadReport
from blockskim.data.records import checked
from blockskim.errors import DataError

# An object with one of these is a record, and no mere container of others.
_RECORD_KEYS = frozenset({"question", "context", "qas", "paragraphs"})

# Of what stands beside a list "data" readers look at these.
_ABOUT_ALL = ("version", "header")


@dataclass(frozen=True, slots=True)
class Record:
    """An object of a data file.

    Attributes:
        value: what it holds.
        path: the file.
        line: the line it begins in.
        number: how many records of the file come before it, and one.
        in_list: whether it is an item of a list, so that a line may hold several.
        about: what is said of it and its neighbours beside the list "data": "version" and "header".
    """

    value: dict[str, object]
    path: Path
    line: int
    number: int
    in_list: bool
    about: dict[str, object]

    @property
    def where(self) -> str:
        """File, line and number, as a message names it."""
        return self.named("record") if self.in_list else f"{self.path}: line {self.line}"

    def named(self, kind: str) -> str:
        """File, line and number, with a name for what is counted."""
        return f"{self.path}: line {self.line}, {kind} {self.number}"


def read_file(
    path: Path | str,
    make: Callable[[Record, ReadReport], Iterable[Example]],
    skip_bad: bool,
    with_answers: bool = True,
    kind: str = "record",
) -> Iterator[Example]:
    """Reads a file a record at a time: memory holds one record and the ids so far.

    Args:
        path: the file; plain or gzip.
        make: makes the examples of a record.
        skip_bad: leave out what is wrong and count it, instead of stopping there.
        with_answers: whether ``make`` reads answers; without, no question is annotated.
        kind: what messages call a record.

    Yields:
        The examples in the file's order.

    Raises:
        DataError: something is wrong with the file or a record, or some questions have answers and others say nothing.
    """
    path = check_file(path)
    read = ReadReport(skip_bad, with_answers)
    examples = _made(path, make, read, kind)
    try:
        for example in _of_one_kind(examples, read) if with_answers else examples:
            read.note(example)
            yield example
    except GeneratorExit:
        # Whoever wanted no more of the file did get what was repaired.
        read.stop(path)
        raise
    read.finish(path)


def _made(
    path: Path, make: Callable[[Record, ReadReport], Iterable[Example]], read: ReadReport, kind: str
) -> Iterator[Example]:
    for record in read_records(path, read, kind):
        with read.forgiving():
            yield from make(record, read)


def read_records(path: Path, read: ReadReport, kind: str = "record") -> Iterator[Record]:
    """The records of a file, one after the other.

    Args:
        path: the file; plain or gzip.
        read: says whether what is no record is left out.
        kind: what messages call a record.

    Yields:
        The records in the file's order.

    Raises:
        DataError: the file can't be read, is not JSON, or holds something else than objects.
    """
    number = 0
    about: dict[str, object] = {}
    with read.forgiving():
        for part in stream(path, "data", several=True):
            with read.forgiving():
                if part.error is not None:
                    raise part.error
                if part.key and not part.is_item:
                    _note(part, about, path)
                    continue
                if part.value == [] and not part.is_item and not number:
                    continue  # The whole document is an empty list.
                for item, beside in _within(part.value):
                    number += 1
                    value = checked(item, dict, f"{path}: line {part.line}, {kind} {number}")
                    in_list = part.is_item or item is not part.value
                    yield Record(value, path, part.line, number, in_list, about | beside)


def _note(part: Part, about: dict[str, object], path: Path) -> None:
    if part.key in _RECORD_KEYS:
        raise DataError(
            f"{path}: line {part.line}: an object has both 'data' and {part.key!r}; it must be either a record or what "
            "records lie in"
        )
    if part.key in _ABOUT_ALL:
        about[part.key] = part.value


def _within(value: object) -> Iterator[tuple[object, dict[str, object]]]:
    """Each record of a part, and what is said beside the list that it lies in."""
    beside = {key: value[key] for key in _ABOUT_ALL if key in value} if isinstance(value, dict) else {}
    for item in contents(value):
        yield item, beside if item is not value else {}


def contents(value: object) -> list[object]:
    """What lies under "data" if that is all that a value holds, else the value alone."""
    if not isinstance(value, dict) or _RECORD_KEYS & value.keys():
        return [value]
    inner = value.get("data")
    if isinstance(inner, list):
        return inner
    return [inner] if isinstance(inner, dict) else [value]


def _of_one_kind(examples: Iterator[Example], read: ReadReport) -> Iterator[Example]:
    """Examples of which all are annotated, or none.

    A question without answers beside others with answers may be unanswerable or merely not annotated. Where wrong
    records are left out, these are.
    """
    held: list[Example] = []
    first: Example | None = None
    where = ""
    for example in examples:
        if first is None:
            first, where = example, read.where
        if example.annotated != first.annotated:
            reason = _says_nothing(where if example.annotated else read.where)
            if not read.skip_bad:
                raise DataError(reason)
            if not example.annotated:
                read.leave_out(1, reason)
                read.ids.discard(example.id)
                continue
            read.leave_out(len(held), reason)
            read.ids.difference_update(each.id for each in held)
            held, first = [], example
        if read.skip_bad and not example.annotated:
            held.append(example)
        else:
            yield example
    yield from held


def _says_nothing(where: str) -> str:
    return (
        f"{where}: says nothing of answers, which other questions of the file have (where it has none, SQuAD's form "
        "has an empty list)"
    )
