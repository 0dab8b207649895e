"""Values of Arrow as values of Python and back, without a change.

Python's own times end at microseconds and in the year 9999, and what Arrow makes of finer ones depends on whether
pandas is installed. So a time here is its number of units.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import partial
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

from blockskim.extras import load_pyarrow

_NANOSECONDS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "day": 86_400 * 10**9}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_TimeType: TypeAlias = tuple[str, str, str]
"""Family, unit and zone, as ``ArrowTime`` has them."""


@dataclass(frozen=True, slots=True, repr=False)
class ArrowTime:
    """A date, a moment, a time of day or a duration.

    Attributes:
        family: "date", "timestamp", "time" or "duration".
        unit: "day", "s", "ms", "us" or "ns".
        zone: where a timestamp is shown; "" for one of no zone, and for what is none.
        count: units since 1970, since midnight, or that it takes.
    """

    family: str
    unit: str
    zone: str
    count: int

    @property
    def nanoseconds(self) -> int:
        """The same in nanoseconds."""
        return self.count * _NANOSECONDS[self.unit]

    def __repr__(self) -> str:
        """The same on every machine, whatever it knows of time zones."""
        return f"<{self.family}[{self.unit}{self.zone and ', '}{self.zone}] {self.count}>"

    def text(self) -> str:
        """As Python writes such a value; nanoseconds have nine decimals.

        Raises:
            ValueError: it lies beyond the years 1 to 9999, there is no such time of day, or no such zone.
        """
        seconds, rest = divmod(self.nanoseconds, 10**9)
        decimals = f".{rest:09}" if self.unit == "ns" else f".{rest // 1000:06}" if rest else ""
        if self.family == "date":
            decimals = ""
        try:
            text = self._whole(timedelta(seconds=seconds))
        except OverflowError as error:
            raise ValueError(f"Python has no {self.family} of {self.count:,} {self.unit}") from error
        # What follows the seconds of a moment is the offset of its zone.
        end = 19 if self.family == "timestamp" else len(text)
        return f"{text[:end]}{decimals}{text[end:]}"

    def _whole(self, since: timedelta) -> str:
        if self.family == "duration":
            return str(since)
        moment = _EPOCH + since
        if self.family == "date":
            return moment.date().isoformat()
        if self.family == "time":
            if moment.date() != _EPOCH.date():
                raise OverflowError
            return moment.time().isoformat()
        return (moment.astimezone(_zone(self.zone)) if self.zone else moment.replace(tzinfo=None)).isoformat(" ")

    def is_same(self, other: "ArrowTime") -> bool:
        """Whether another one tells the same, in whatever unit, and wherever a moment is shown."""
        alike = self.family == other.family and bool(self.zone) == bool(other.zone)
        return alike and self.nanoseconds == other.nanoseconds


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A value that Python can't hold: a text that is no UTF-8, say.

    Attributes:
        reason: why.
    """

    reason: str


def copied_type(kind: Any) -> Any:
    """The type in which a column is copied: what is coded by a dictionary, as one file fills it, is written out."""
    return _rebuilt(kind, lambda each: is_kind("dictionary", each) and copied_type(each.value_type))


def column_values(column: Any) -> list[Any]:
    """The values of an array, chunked or not: times are ``ArrowTime``, and what can't be had is ``Unreadable``."""
    pyarrow, _ = load_pyarrow()
    chunks = column.chunks if isinstance(column, pyarrow.ChunkedArray) else [column]
    return [value for chunk in chunks for value in _chunk_values(chunk)]


def as_array(values: Sequence[Any], kind: Any) -> Any:
    """An array of values as ``column_values`` gives them, chunked if they are many.

    Raises:
        ArrowException, ArithmeticError, TypeError, ValueError: a value is none of this type, or they are too many.
    """
    pyarrow, _ = load_pyarrow()
    change = _change_of_times(kind, _units)
    if change is not None:
        return pyarrow.array([change(value) for value in values], _stored_type(kind)).view(kind)
    array = pyarrow.array(values, kind)
    # Where a dictionary would have too many values for its type, Arrow takes another one.
    if array.type != kind:
        raise TypeError(f"the values are too many for {kind}")
    return array


def can_hold(kind: Any, values: Sequence[Any]) -> bool:
    """Whether an array of a type gives back the values that are put into it, without a change."""
    pyarrow, _ = load_pyarrow()
    try:
        return all(map(_is_same, values, column_values(as_array(values, kind))))
    except (pyarrow.ArrowException, ArithmeticError, TypeError, ValueError):
        return False


def _chunk_values(array: Any) -> list[Any]:
    try:
        return _values(array)
    except MemoryError:
        raise
    # One value may bring anything to fail, and must not take the others with it.
    except Exception as error:
        if len(array) == 1:
            return [Unreadable(" ".join(str(error).split()))]
    return [value for place in range(len(array)) for value in _chunk_values(array.slice(place, 1))]


def _values(array: Any) -> list[Any]:
    kind = copied_type(array.type)
    if kind != array.type:
        array = array.cast(kind)
    change = _change_of_times(kind, _time)
    if change is None:
        values: list[Any] = array.to_pylist()
        return values
    return [change(value) for value in array.view(_stored_type(kind)).to_pylist()]


def _is_same(given: Any, found: Any) -> bool:
    """Whether nothing was lost of a value on its way into an array and out again."""
    if isinstance(given, ArrowTime):
        return isinstance(found, ArrowTime) and given.is_same(found)
    if isinstance(given, dict) and isinstance(found, dict):
        return all(_is_same(given.get(name), found.get(name)) for name in {**given, **found})
    if isinstance(given, dict) and isinstance(found, list):
        # A map of Arrow.
        return _is_same(list(given.items()), found)
    if isinstance(given, list | tuple):
        return isinstance(found, list | tuple) and len(given) == len(found) and all(map(_is_same, given, found))
    if isinstance(given, str) and isinstance(found, bytes):
        return given.encode("utf-8") == found
    if isinstance(given, bytes) and isinstance(found, str):
        return given == found.encode("utf-8")
    if isinstance(given, bool) is not isinstance(found, bool):
        return False
    # What is no number equals nothing.
    return bool(given == found) or bool(given != given and found != found)


def _change_of_times(kind: Any, change: Callable[[Any, _TimeType], Any]) -> Callable[[Any], Any] | None:
    """What changes all times in a value of a type; None where that has none."""
    time = _time_of(kind)
    if time is not None:
        return lambda value: None if value is None else change(value, time)
    if is_kind("struct", kind):
        each = {field.name: _change_of_times(field.type, change) or _same for field in kind}
        return partial(_changed_struct, each) if {*each.values()} - {_same} else None
    if is_kind("map", kind):
        pair = [_change_of_times(part, change) or _same for part in (kind.key_type, kind.item_type)]
        return partial(_changed_map, pair) if {*pair} - {_same} else None
    inner = _change_of_times(kind.value_type, change) if any(is_kind(name, kind) for name in _LISTS) else None
    return None if inner is None else partial(_changed_list, inner)


def _same(value: Any) -> Any:
    return value


def _changed_struct(each: Mapping[str, Callable[[Any], Any]], value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {name: each.get(name, _same)(item) for name, item in value.items()}


def _changed_map(pair: Sequence[Callable[[Any], Any]], value: Any) -> Any:
    if not isinstance(value, list | dict):
        return value
    items = value.items() if isinstance(value, dict) else value
    return [tuple(change(part) for change, part in zip(pair, item, strict=True)) for item in items]


def _changed_list(inner: Callable[[Any], Any], value: Any) -> Any:
    return [inner(item) for item in value] if isinstance(value, list | tuple) else value


def _time(value: int, time: _TimeType) -> ArrowTime:
    return ArrowTime(*time, value)


def _units(value: Any, time: _TimeType) -> Any:
    """A time in units of a type, the rest cut off; another value as it is."""
    return value.nanoseconds // _NANOSECONDS[time[1]] if isinstance(value, ArrowTime) else value


def _time_of(kind: Any) -> _TimeType | None:
    if is_kind("timestamp", kind):
        return "timestamp", kind.unit, kind.tz or ""
    if is_kind("time", kind) or is_kind("duration", kind):
        return "time" if is_kind("time", kind) else "duration", kind.unit, ""
    if is_kind("date", kind):
        return "date", "day" if is_kind("date32", kind) else "ms", ""
    return None


def _stored_type(kind: Any) -> Any:
    """The type of the whole numbers that the times of a type are, or that type where there are none."""
    pyarrow, _ = load_pyarrow()
    sizes = {32: pyarrow.int32(), 64: pyarrow.int64()}
    return _rebuilt(kind, lambda each: _time_of(each) and sizes[each.bit_width])


_LISTS = {
    "list": "list_",
    "large_list": "large_list",
    "list_view": "list_view",
    "large_list_view": "large_list_view",
    "fixed_size_list": "list_",
}
"""Types of lists, and what makes them."""


def _rebuilt(kind: Any, leaf: Callable[[Any], Any]) -> Any:
    """A type with others in the places that hold no further ones: what ``leaf`` gives, unless that is nothing."""
    pyarrow, _ = load_pyarrow()
    if is_kind("struct", kind):
        return pyarrow.struct([field.with_type(_rebuilt(field.type, leaf)) for field in kind])
    if is_kind("map", kind):
        key, item = (field.with_type(_rebuilt(field.type, leaf)) for field in (kind.key_field, kind.item_field))
        return pyarrow.map_(key, item, kind.keys_sorted)
    for name, make in _LISTS.items():
        if is_kind(name, kind):
            size = (kind.list_size,) if name == "fixed_size_list" else ()
            return getattr(pyarrow, make)(kind.value_field.with_type(_rebuilt(kind.value_type, leaf)), *size)
    return leaf(kind) or kind


def is_kind(name: str, kind: Any) -> bool:
    """Whether a type of Arrow is one of those that Arrow calls so, as in ``is_integer``."""
    pyarrow, _ = load_pyarrow()
    return bool(getattr(pyarrow.types, f"is_{name}")(kind))


_UTC = ("UTC", "Etc/UTC", "GMT", "Etc/GMT", "Z", "Zulu")
"""Names of what needs no database of time zones, which Windows and small containers lack."""


def _zone(name: str) -> tzinfo:
    """A time zone, by its name or its distance from UTC.

    Raises:
        ValueError: there is none here.
    """
    try:
        if name.startswith(("+", "-")):
            return datetime.strptime(name, "%z").tzinfo or UTC
        if name in _UTC:
            return UTC
        return ZoneInfo(name)
    except (LookupError, OSError, ValueError) as error:
        raise ValueError(f"there is no time zone {name!r} here") from error
