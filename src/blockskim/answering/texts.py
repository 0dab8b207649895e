"""What callers hand in as texts and documents, in the forms that Python, NumPy and pandas have for them.

Everything is brought to plain strings in plain lists and dictionaries of our own, so nothing that a caller does with
its own objects afterwards makes a difference. What is no text is refused by name and place.
"""

import io
import math
import reprlib
from collections.abc import Iterable, Mapping
from os import PathLike
from typing import Any

from blockskim.errors import ConfigError, DataError

TextsGiven = str | Iterable[str]
"""A text, or several: a list, tuple, generator, NumPy array or pandas Series of strings."""

DocumentsGiven = Mapping[Any, str] | Iterable[str] | Iterable[tuple[str, str]]
"""Texts by name, texts alone, or pairs of a name and a text."""

# The types of pandas' missing values; pandas itself is not needed here.
_MISSING_TYPES = ("NAType", "NaTType")


def is_one_text(value: object) -> bool:
    """Whether a value is a single text, and not several."""
    return isinstance(_unwrapped(value), str)


def as_texts(name: str, value: object) -> list[str]:
    """One text or several as a list of plain strings.

    Args:
        name: what messages call a text.
        value: a string, or anything that gives strings one by one.

    Raises:
        ConfigError: it is neither, or one of several is no string; the message names it.
    """
    value = _unwrapped(value)
    if isinstance(value, str):
        return [_plain(value)]
    wanted = f"the {name} must be a string or a list of strings"
    items = _items(value)
    if items is None:
        raise ConfigError(f"{wanted}, not {_described(value)}")
    for index, item in enumerate(items):
        if not isinstance(item, str):
            raise ConfigError(f"{wanted}, but {name} {index + 1} (index {index}) is {_described(item)}")
    return [_plain(item) for item in items]


def as_documents(documents: object) -> dict[Any, str]:
    """Documents by name, in their order.

    Args:
        documents: a mapping of names to texts; texts alone, which get their places as names ("0", "1" and so on); or
            tuples of a name and a text.

    Raises:
        ConfigError: it is none of these, a document is no text, or a name is there twice; the message names it.
        DataError: there is no document.
    """
    entries = _entries(documents)
    if not entries:
        raise DataError("there is no document to search")
    texts: dict[Any, str] = {}
    for name, text in entries:
        if not isinstance(text, str):
            raise ConfigError(f"the document {name!r} is {_described(text)}; a document must be a string")
        if name in texts:
            raise ConfigError(f"two documents are called {name!r}; each needs a name of its own")
        texts[name] = _plain(text)
    return texts


def _entries(documents: object) -> list[tuple[Any, object]]:
    if isinstance(documents, Mapping):
        return list(documents.items())
    items = None if is_one_text(documents) else _items(documents)
    if items is None:
        what = "one text" if is_one_text(documents) else _described(documents)
        raise ConfigError(
            f"documents is {what}; it must give texts by name, as {{'a.txt': text}}, or be a list of texts"
        )
    if items and all(_is_named(item) for item in items):
        return items
    return [(str(index), item) for index, item in enumerate(items)]


def _is_named(item: object) -> bool:
    """Whether an item of several is a name with a document. Lists are not: they may be texts in parts."""
    return isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], str)


def _unwrapped(value: object) -> object:
    """What an array without dimensions holds; anything else as it is."""
    item = getattr(value, "item", None)
    return item() if callable(item) and getattr(value, "ndim", None) == 0 else value


def _items(value: object) -> list[Any] | None:
    """Each item of something that has several; None for what has none, or whose items are no texts for sure."""
    if isinstance(value, str | bytes | bytearray | memoryview | Mapping | io.IOBase) or _dimensions(value) > 1:
        return None
    try:
        items = iter(value)  # type: ignore[call-overload]
    except TypeError:
        return None
    return list(items)


def _dimensions(value: object) -> int:
    dimensions = getattr(value, "ndim", None)
    return dimensions if isinstance(dimensions, int) else 1


def _plain(text: str) -> str:
    """The same characters as a string of Python's own class."""
    return str.__str__(text)


def _described(value: object) -> str:
    """What something is that is no text, and what to do about it, for a message."""
    value = _unwrapped(value)
    kind = type(value).__name__
    if isinstance(value, PathLike):
        return f"a path ({str(value)!r:.80}); read the file first"
    if isinstance(value, io.IOBase):
        return "an open file; read it first"
    if isinstance(value, bytes | bytearray | memoryview):
        return f"{kind} ({bytes(value[:20])!r}); decode it first"
    if value is None or kind in _MISSING_TYPES or (isinstance(value, float) and math.isnan(value)):
        return f"{value}, a missing value"
    if _dimensions(value) > 1:
        return f"{kind} with {_dimensions(value)} dimensions; give one column of it"
    return f"{kind} ({reprlib.repr(value)})"
