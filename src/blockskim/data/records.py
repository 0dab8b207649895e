"""Checks that every reader makes of a record: what its fields hold, said in one way where files say it in several."""

import re
from collections.abc import Container, Iterable, Sequence
from typing import TypeVar

from blockskim.errors import DataError

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

_WHOLE = re.compile("-?[0-9]{1,18}")

# A float above this may have been another whole number before it became a float.
_EXACT = 2.0**53

_TRUTH: dict[object, bool] = {0: False, 1: True, "false": False, "true": True}

_LONG = 100
_MANY_KEYS = 12

# Under these names files tell answers; where the one that a format knows is absent, another must not be overlooked.
_NAMES_OF_ANSWERS = ("answers", "answer", "answer_text", "answer_start", "detected_answers")


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
        raise DataError(f"{where} must be {_KIND_NAMES[kind]}, is {kind_of(value)}")
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
        raise DataError(f"{where}: has no {key!r} (must be {_KIND_NAMES[kind]}); it has {names_of(record)}")
    return checked(record[key], kind, f"{where}: {key!r}")


def kind_of(value: object) -> str:
    """What a value of a JSON file is, in words."""
    return _KIND_NAMES.get(type(value), type(value).__name__)


def names_of(record: Iterable[str]) -> str:
    """The names of fields as a message lists them: the first ones where there are many."""
    names = list(record)
    more = ["…"] if len(names) > _MANY_KEYS else []
    return ", ".join([*(brief(name) for name in names[:_MANY_KEYS]), *more]) or "nothing"


def brief(value: object) -> str:
    """A value as a message shows it: as in Python, cut where it is long, and never deeper than a list in a list."""
    text = _shown(value, 3)
    return text if len(text) <= _LONG else f"{text[: _LONG - 1]}…"


def is_missing(record: dict[str, object], key: str) -> bool:
    """Whether a record says nothing under a name: it is absent, null, or the NaN that tables have in empty cells."""
    value = record.get(key)
    return value is None or (isinstance(value, float) and value != value)


def optional_text(record: dict[str, object], key: str, where: str) -> str:
    """Returns a text, "" where the record has none.

    Args:
        record: an object of the file.
        key: name of the field.
        where: file and record for the message.

    Raises:
        DataError: the field is no string.
    """
    return "" if is_missing(record, key) else required(record, key, str, where)


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


def question_text(record: dict[str, object], where: str) -> str:
    """Returns the question of a record unless it is blank.

    Args:
        record: an object of the file.
        where: file and record for the message.

    Raises:
        DataError: there is no question, or nothing in it.
    """
    text = required(record, "question", str, where)
    if not text.strip():
        raise DataError(f"{where}: the question is empty: {brief(text)}; something must be asked")
    return text


def id_text(value: object, where: str) -> str:
    """Returns an id as a string; whole numbers are ids, too, also where a table made them 3.0.

    Args:
        value: what the file holds.
        where: file, record and field for the message.

    Raises:
        DataError: the value is neither a string nor a whole number, or a number that is too large to be exact.
    """
    if type(value) is str:
        return checked(value, str, where)
    if type(value) is int or (isinstance(value, float) and value.is_integer() and abs(value) <= _EXACT):
        return str(int(value))
    what = f"the number {value!r}" if isinstance(value, float) else kind_of(value)
    raise DataError(f"{where} must be a string or a whole number, is {what}")


def find_id(record: dict[str, object], keys: Sequence[str], where: str) -> str | None:
    """Returns the id under the first of several names that holds one, None if none does.

    Args:
        record: an object of the file.
        keys: names of the field.
        where: file and record for the message.

    Raises:
        DataError: the value is no id.
    """
    for key in keys:
        if not is_missing(record, key):
            return id_text(record[key], f"{where}: {key!r}")
    return None


def required_id(record: dict[str, object], keys: Sequence[str], where: str) -> str:
    """Returns the id under the first of several names that holds one.

    Args:
        record: an object of the file.
        keys: names of the field, the one that the format knows first.
        where: file and record for the message.

    Raises:
        DataError: there is none.
    """
    name = find_id(record, keys, where)
    if name is not None:
        return name
    if keys[0] in record:
        raise DataError(f"{where}: {keys[0]!r} must be a string or a whole number, is {kind_of(record[keys[0]])}")
    has = names_of(record)
    raise DataError(f"{where}: has no {keys[0]!r} (must be a string or a whole number); it has {has}")


def whole_number(value: object, where: str) -> int:
    """Returns a whole number, also where the file has it as 3.0 or as the string "3".

    Args:
        value: what the file holds.
        where: file, record and field for the message.

    Raises:
        DataError: the value is something else.
    """
    if isinstance(value, float) and value.is_integer() and abs(value) <= _EXACT:
        return int(value)
    if isinstance(value, str) and _WHOLE.fullmatch(value):
        return int(value)
    return checked(value, int, where)


def required_number(record: dict[str, object], key: str, where: str) -> int:
    """Returns a whole number, also where the file has it as 3.0 or as the string "3".

    Args:
        record: an object of the file.
        key: name of the field.
        where: file and record for the message.

    Raises:
        DataError: the field is missing or holds something else.
    """
    if key not in record:
        required(record, key, int, where)
    return whole_number(record[key], f"{where}: {key!r}")


def flag(record: dict[str, object], key: str, where: str) -> bool | None:
    """Returns true or false, which may be written 1 or 0 or as a string; None where the record says nothing.

    Args:
        record: an object of the file.
        key: name of the field.
        where: file and record for the message.

    Raises:
        DataError: the field holds something else.
    """
    if is_missing(record, key):
        return None
    value = record[key]
    known = value.lower() if isinstance(value, str) else value
    if isinstance(known, bool | int | float | str) and known in _TRUTH:
        return _TRUTH[known]
    raise DataError(f"{where}: {key!r} must be true or false, is {brief(value)}")


def check_parallel(lists: dict[str, list[object]], where: str) -> None:
    """Refuse lists of different lengths where each item of one belongs to an item of the others.

    Args:
        lists: the lists by their names.
        where: file, record and field for the message.

    Raises:
        DataError: the lengths differ.
    """
    if len({len(items) for items in lists.values()}) > 1:
        sizes = " and ".join(f"{len(items)} of {name!r}" for name, items in lists.items())
        raise DataError(f"{where} has {sizes}; as many of each are needed")


def check_no_other_answers(record: dict[str, object], key: str, where: str, known: Container[str] = ()) -> None:
    """Refuse a record that lacks the format's answers, but tells some under another name.

    Args:
        record: an object of the file without anything at ``key``.
        key: name under which the format has answers.
        where: file and record for the message.
        known: other names that the reader looks at.

    Raises:
        DataError: there are answers under another name.
    """
    for name in _NAMES_OF_ANSWERS:
        if name != key and name not in known and not is_missing(record, name):
            raise DataError(
                f"{where}: has {name!r} but no {key!r}; answers belong under {key!r}, and without any the question "
                f"must not have {name!r} either"
            )


def _check_characters(text: str, where: str) -> None:
    # JSON can escape half of a surrogate pair. Tokenizers fail on it much later and without naming the record.
    if not text.isascii() and _SURROGATE.search(text):
        raise DataError(f"{where} holds half of a surrogate pair (\\ud800 to \\udfff), which is no valid character")


def _shown(value: object, depth: int) -> str:
    if isinstance(value, str):
        return repr(value[:_LONG])
    if isinstance(value, list | dict) and value:
        if not depth:
            return "…"
        if isinstance(value, list):
            return f"[{', '.join(_shown(item, depth - 1) for item in value[:_MANY_KEYS])}]"
        items = list(value.items())[:_MANY_KEYS]
        return f"{{{', '.join(f'{_shown(key, 0)}: {_shown(item, depth - 1)}' for key, item in items)}}}"
    if isinstance(value, int) and abs(value) >= 10**_LONG:
        return "a very large number"
    return repr(value)
