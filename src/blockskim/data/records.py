"""Checks that every reader makes of a record: types of fields, unique ids, answers at their offsets."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from blockskim.data.examples import Answer, Example
from blockskim.errors import DataError

logger = logging.getLogger(__name__)

T = TypeVar("T", str, int, bool, list[object], dict[str, object])

_KIND_NAMES: dict[type, str] = {
    str: "a string",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "an object",
    type(None): "null",
}

_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(slots=True)
class ReadReport:
    """What a reader met in one file and reports once, when it has read the file.

    Attributes:
        skip_bad: whether wrong records are left out and counted instead of ending the reading.
        ids: question ids so far.
        examples: questions read so far.
        repaired: answers moved to the only place where their text occurs.
        skipped: answers left out because their offset does not match and their text is not unique.
        spanless: questions with references but without any span: scored, not trained on.
        outside: supporting facts that point at no sentence of their context.
        bad: records left out because something is wrong with them.
        first_bad: what is wrong with the first of them.
    """

    skip_bad: bool = False
    ids: set[str] = field(default_factory=set)
    examples: int = 0
    repaired: int = 0
    skipped: int = 0
    spanless: int = 0
    outside: int = 0
    bad: int = 0
    first_bad: str = ""

    @contextmanager
    def forgiving(self) -> Iterator[None]:
        """Read a record; what is wrong with it is counted if wrong ones are to be left out, else it is raised."""
        try:
            yield
        except DataError as error:
            if not self.skip_bad:
                raise
            self.bad += 1
            self.first_bad = self.first_bad or str(error)


def checked(value: object, kind: type[T], where: str) -> T:
    """Returns ``value`` if it has the JSON type ``kind``.

    Args:
        value: what the file holds.
        kind: str, int, bool, list or dict. ``true`` is no whole number here, although Python's bool is an int.
        where: file, record and field for the message.

    Raises:
        DataError: the value has another type, or is a string that no UTF-8 text can hold.
    """
    if type(value) is not kind:
        is_named = _KIND_NAMES.get(type(value), type(value).__name__)
        raise DataError(f"{where} must be {_KIND_NAMES[kind]}, is {is_named}")
    if kind is str:
        _check_characters(str(value), where)
    return value


def required(record: dict[str, object], key: str, kind: type[T], where: str) -> T:
    """Returns ``record[key]`` if it exists and has the type ``kind``.

    Args:
        record: an object of the file.
        key: name of the field.
        kind: str, int, bool, list or dict.
        where: file and record for the message.

    Raises:
        DataError: the field is missing or has another type.
    """
    if key not in record:
        has = ", ".join(repr(name) for name in record) or "nothing"
        raise DataError(f"{where}: has no {key!r} (must be {_KIND_NAMES[kind]}); it has {has}")
    return checked(record[key], kind, f"{where}: {key!r}")


def context_text(text: str, where: str) -> str:
    """Returns a context unless it is blank.

    Args:
        text: the context.
        where: file and record for the message.

    Raises:
        DataError: nothing can be read in the context.
    """
    if not text.strip():
        raise DataError(f"{where}: the context is empty; a text to find answers in is needed")
    return text


def new_id(name: str, read: ReadReport, where: str) -> str:
    """Notes a question id and returns it.

    Args:
        name: the id.
        read: knows the ids of the file so far.
        where: file and record for the message.

    Raises:
        DataError: the file has the id twice. Predictions are looked up by id, so one of the two would be lost.
    """
    if name in read.ids:
        raise DataError(f"{where}: question id {name!r} occurs twice; ids must be unique in a file")
    read.ids.add(name)
    return name


def place_answer(context: str, text: str, start: int, read: ReadReport) -> Answer | None:
    """Returns the answer at its offset, or where its text occurs if that is one place, else None.

    Args:
        context: the context.
        text: text of the answer.
        start: offset that the file gives.
        read: counts the repaired and the skipped ones.
    """
    if text and start >= 0 and context.startswith(text, start):
        return Answer(text, start)
    first = context.find(text) if text else -1
    # Searching on from the next character finds overlapping occurrences, too: "ana" is twice in "banana".
    if first >= 0 and context.find(text, first + 1) < 0:
        read.repaired += 1
        return Answer(text, first)
    read.skipped += 1
    return None


def note_example(example: Example, read: ReadReport) -> None:
    """Counts an example that was read, and whether it has references but no span.

    Args:
        example: what a reader made of a record.
        read: counts it.
    """
    read.examples += 1
    if example.references and not example.answers:
        read.spanless += 1


def report(path: Path, read: ReadReport) -> None:
    """Ends the reading of a file: warns once about what was repaired and left out.

    Args:
        path: the file that was read.
        read: what was met in it.

    Raises:
        DataError: the file held no question.
    """
    if not read.examples:
        more = f"; {read.bad} wrong {_plural('record', read.bad)} left out, first: {read.first_bad}"
        raise DataError(f"{path}: holds no questions{more if read.bad else ''}")
    parts = []
    if read.bad:
        parts.append(f"{read.bad} wrong {_plural('record', read.bad)} left out, first: {read.first_bad}")
    if read.repaired or read.skipped:
        counts = f"{read.repaired} {_plural('answer', read.repaired)} repaired, {read.skipped} skipped"
        parts.append(f"{counts} (offset does not match the text)")
    if read.spanless:
        questions = _plural("question", read.spanless)
        parts.append(f"{read.spanless} {questions} left without an answer span (usable for scores, not for training)")
    if read.outside:
        parts.append(f"{read.outside} {_plural('supporting fact', read.outside)} outside of the context")
    if parts:
        logger.warning("%s: %s", path.name, "; ".join(parts))


def _plural(noun: str, count: int) -> str:
    return noun if count == 1 else f"{noun}s"


def _check_characters(text: str, where: str) -> None:
    # JSON can escape half of a surrogate pair. Tokenizers fail on it much later and without naming the record.
    if not text.isascii() and _SURROGATE.search(text):
        raise DataError(f"{where} holds half of a surrogate pair (\\ud800 to \\udfff), which is no valid character")
