"""Reading JSON item by item, so that memory holds one record and not the file: a list, an object's list, or lines."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from blockskim.data.files import open_text
from blockskim.data.json_text import JsonError, JsonText, Mark
from blockskim.errors import DataError

MOST_MEMBERS = 10_000
"""Members that an object may have whose items come one by one; a record has a dozen."""


class Part(NamedTuple):
    """A part of a document.

    Attributes:
        key: the member of the document that it is or belongs to; "" in a document that is no object, and for an
            object as a whole.
        value: what it holds.
        line: the line it begins in.
        is_item: whether it is an item of a list, and not a whole value.
        error: what is wrong with it, where reading can go on behind it; there is no value then.
    """

    key: str
    value: object
    line: int
    is_item: bool
    error: DataError | None = None


def stream(path: Path, key: str = "", several: bool = False) -> Iterator[Part]:
    """The parts of a document, one after the other.

    A list comes item by item. An object that has a list at ``key`` comes as its other members and the items of that
    list. Everything else comes whole, as does an object without such a list.

    Args:
        path: the file; plain or gzip.
        key: the member of an object whose items are to come one by one; with "" objects come whole.
        several: whether an object may be followed by others, as in JSON lines. Those come whole. A line that is wrong
            is a part with an error, and reading goes on in the next line; behind the first line if an object follows.

    Yields:
        The parts in the file's order.

    Raises:
        DataError: the file can't be read, is not JSON (the message gives line and column), or holds a value that is
            too large or nested too deeply.
    """
    with open_text(path) as file:
        text = JsonText(file, path)
        first = text.next_character()
        if not first:
            text.fail("the file is empty but for white space")
        if first == "[":
            yield from _list(text, several)
        elif first == "{" and key:
            yield from _object(text, key, several)
        elif not several:
            yield Part("", text.value(), text.value_line, False)
        while text.next_character():
            if not several:
                text.fail("Extra data")
            yield _line(text)
        text.check_whole()


def _list(text: JsonText, several: bool) -> Iterator[Part]:
    """The items of a list; it may be the rest of a damaged line, the first of several."""
    start = text.mark()
    try:
        yield from _items(text, "")
        if text.next_character():
            text.fail("Extra data")
    except DataError as error:
        line, column = text.position()
        if not several or not (line == start.line or column == 1):
            raise
        if line == start.line:
            text.rest_of_line()
        if not _object_follows(text):
            raise
        yield Part("", None, start.line, False, error)


def _items(text: JsonText, key: str) -> Iterator[Part]:
    """The items of a list that begins here; an empty one as a whole."""
    text.skip(1)
    if text.next_character() == "]":
        yield Part(key, [], text.position()[0], False)
        text.skip(1)
        return
    mark = ","
    while mark == ",":
        yield Part(key, text.value(), text.value_line, True)
        mark = text.expect(",]", "Expecting ',' delimiter")


def _object(text: JsonText, key: str, several: bool) -> Iterator[Part]:
    """The parts of an object; what fails before the first of them may be the first line of several."""
    start = text.mark()
    text.keep_from(start if several else None)
    given = False
    try:
        for part in _members(text, key, start):
            text.keep_from(None)
            given = True
            yield part
    except DataError as error:
        if given or not several:
            raise
        yield _first_line(text, start, error)
    finally:
        text.keep_from(None)


def _first_line(text: JsonText, start: Mark, error: DataError) -> Part:
    """Consumes the line that ``start`` begins, if that is all that is wrong; other objects must follow.

    Raises:
        DataError: it is not, so that the error is the document's.
    """
    line, column = text.position()
    # A line that lacks its end may have taken the next one for the value of a member.
    at_next_line = isinstance(error, JsonError) and column == 1 and text.next_character() == "{"
    likely = line == start.line or at_next_line
    if text.back_to(start):
        part = _wrong_line(text, error)
        if (text.next_character() == "{") if likely else _object_follows(text):
            return part
    elif likely:
        part = Part("", None, start.line, False, error) if at_next_line else _skipped(text, start.line, error)
        if text.next_character() == "{":
            return part
    raise error


def _object_follows(text: JsonText) -> bool:
    """Whether the next line that is not blank begins with an object and holds no more."""
    return text.next_character() == "{" and text.position()[1] == 1 and text.object_on_line()


def _members(text: JsonText, key: str, start: Mark) -> Iterator[Part]:
    """Members of an object one by one if there is a list at ``key``, else the object as a whole."""
    text.skip(1)
    members: dict[str, tuple[object, int]] = {}
    has_items = False
    count = 0
    mark = "," if text.next_character() != "}" else text.expect("}", "")
    while mark == ",":
        if text.next_character() != '"':
            text.fail("Expecting property name enclosed in double quotes")
        count += 1
        name = str(text.value())
        text.expect(":", "Expecting ':' delimiter")
        _check_members(count, text, start)
        if name == key and text.next_character() == "[":
            yield from (Part(other, value, line, False) for other, (value, line) in members.items())
            yield from _items(text, key)
            members, has_items = {}, True
        else:
            members[name] = (text.value(), text.value_line)
            if has_items:
                yield Part(name, *members.pop(name), False)
            else:
                text.check_size(start)
        mark = text.expect(",}", "Expecting ',' delimiter")
    if not has_items:
        yield Part("", {name: value for name, (value, _) in members.items()}, start.line, False)


def _check_members(count: int, text: JsonText, start: Mark) -> None:
    if count > MOST_MEMBERS:
        raise DataError(
            f"{text.path}: line {start.line} begins an object of more than {MOST_MEMBERS:,} members; a list of records "
            "or a record per line is needed"
        )


def _line(text: JsonText) -> Part:
    """The next of several values; the line after it must end or begin another object."""
    start = text.mark()
    try:
        value = text.value()
        end = text.position()[0]
        if text.next_character() not in ("", "{") and text.position()[0] == end:
            text.fail("Extra data")
        return Part("", value, start.line, False)
    except DataError as error:
        return _wrong_line(text, error) if text.back_to(start) else _skipped(text, start.line, error)


def _wrong_line(text: JsonText, error: DataError) -> Part:
    """Consumes the line that begins here; the error is that of the line alone, which may seem to go on in the next."""
    line, column = text.position()
    alone = text.rest_of_line()
    try:
        json.JSONDecoder().raw_decode(alone or "{}")
    except json.JSONDecodeError as wrong:
        at = f"line {line}, column {column + wrong.pos}"
        error = JsonError(f"{text.path}: is not JSON: {wrong.msg} at {at}")
    except (RecursionError, ValueError):
        pass  # What was said of the value is true of the line.
    return Part("", None, line, False, error)


def _skipped(text: JsonText, line: int, error: DataError) -> Part:
    text.rest_of_line()
    return Part("", None, line, False, error)
