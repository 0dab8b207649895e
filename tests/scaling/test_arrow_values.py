"""Values of Arrow come into Python and back without a change, whatever Python itself can hold."""

import datetime
import decimal
from unittest import mock
from zoneinfo import ZoneInfoNotFoundError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockskim.scaling import arrow_values
from blockskim.scaling.arrow_values import ArrowTime, Unreadable, as_array, can_hold, column_values, copied_type

pa = pytest.importorskip("pyarrow")

NS = pa.timestamp("ns")
BERLIN = pa.timestamp("us", tz="Europe/Berlin")


def time(kind, count):
    whole = pa.int32() if kind.bit_width == 32 else pa.int64()
    (value,) = column_values(pa.array([count], whole).view(kind))
    return value


NESTED = [
    pa.list_(NS),
    pa.large_list(NS),
    pa.list_view(NS),
    pa.list_(pa.list_(NS)),
    pa.struct([("at", NS), ("name", pa.string())]),
    pa.map_(pa.string(), pa.struct([("at", NS)])),
    pa.list_(NS, 1),
]
PLACES = [
    lambda at: [at],
    lambda at: [at],
    lambda at: [at],
    lambda at: [[at], []],
    lambda at: {"at": at, "name": "x"},
    lambda at: [("a", {"at": at})],
    lambda at: [at],
]


@pytest.mark.parametrize(("kind", "around"), list(zip(NESTED, PLACES, strict=True)), ids=[*map(str, NESTED)])
def test_times_lie_in_other_values(kind, around):
    given_values = [around(1), around(None), None]
    column = pa.array(given_values, kind)
    values = column_values(column.slice(0, 2)) + column_values(column.slice(2))
    assert values == [around(ArrowTime("timestamp", "ns", "", 1)), around(None), None]
    assert as_array(values, kind).equals(column)
    assert can_hold(kind, values)


@pytest.mark.parametrize(
    ("kind", "count", "text"),
    [
        (NS, 1_577_880_000_000_000_001, "2020-01-01 12:00:00.000000001"),
        (NS, 0, "1970-01-01 00:00:00.000000000"),
        (pa.timestamp("ns", tz="Europe/Berlin"), 1, "1970-01-01 01:00:00.000000001+01:00"),
        (pa.timestamp("s", tz="+05:30"), 0, "1970-01-01 05:30:00+05:30"),
        (pa.time64("ns"), 1, "00:00:00.000000001"),
        (pa.duration("ns"), -1, "-1 day, 23:59:59.999999999"),
        (pa.date64(), 86_400_500, "1970-01-02"),
    ],
    ids=str,
)
def test_the_text_of_times_that_python_lacks(kind, count, text):
    assert time(kind, count).text() == text


COARSE = [pa.timestamp("s"), pa.timestamp("ms"), pa.timestamp("us"), BERLIN, pa.date32(), pa.time32("s")]
COARSE += [pa.time32("ms"), pa.time64("us"), pa.duration("s"), pa.duration("us")]


@given(st.sampled_from(COARSE), st.integers(0, 86_399))
def test_the_text_of_other_times_is_that_of_python(kind, count):
    whole = pa.int32() if kind.bit_width == 32 else pa.int64()
    (python,) = pa.array([count], whole).view(kind).to_pylist()
    assert time(kind, count).text() == str(python)


@pytest.mark.parametrize(
    ("kind", "count", "message"),
    [
        (pa.timestamp("ms"), 2**55, "Python has no timestamp of 36,028,797,018,963,968 ms"),
        (pa.date32(), 2**31 - 1, "Python has no date of 2,147,483,647 day"),
        (pa.duration("s"), 2**60, "Python has no duration of"),
        (pa.time32("s"), 90_000, "Python has no time of 90,000 s"),
        (pa.timestamp("us", tz="Mars/Phobos"), 1, "there is no time zone 'Mars/Phobos' here"),
    ],
    ids=str,
)
def test_times_that_have_no_text(kind, count, message):
    value = time(kind, count)
    with pytest.raises(ValueError, match=message):
        value.text()
    assert can_hold(kind, [value])


@pytest.mark.parametrize("zone", ["UTC", "Etc/UTC", "GMT", "Z", "+00:00"])
def test_utc_needs_no_database_of_time_zones(monkeypatch, zone):
    monkeypatch.setattr(arrow_values, "ZoneInfo", mock.Mock(side_effect=ZoneInfoNotFoundError))
    assert time(pa.timestamp("s", tz=zone), 5).text() == "1970-01-01 00:00:05+00:00"


def test_times_look_alike_on_every_machine():
    assert repr(time(BERLIN, 5)) == "<timestamp[us, Europe/Berlin] 5>"
    assert repr(time(pa.date32(), 5)) == "<date[day] 5>"


def test_a_value_that_python_can_not_hold_takes_no_other_with_it():
    offsets = pa.array([0, 1, 2, 3], pa.int32()).buffers()[1]
    texts = pa.Array.from_buffers(pa.string(), 3, [None, offsets, pa.py_buffer(b"a\xffb")])
    first, second, third = column_values(texts)
    assert (first, third) == ("a", "b")
    assert isinstance(second, Unreadable)
    assert "can't decode byte 0xff" in second.reason
    double = pa.StructArray.from_arrays([pa.array([1]), pa.array([2])], ["a", "a"])
    assert "duplicate field names" in column_values(double)[0].reason


FITTING = [
    (pa.int64(), 2.0),
    (pa.float32(), float("nan")),
    (pa.float64(), 2**53),
    (pa.decimal128(3, 2), decimal.Decimal("1.2")),
    (pa.struct([("a", pa.int64()), ("b", pa.int64())]), {"a": 1}),
    (pa.map_(pa.string(), pa.int64()), {"a": 1}),
    (pa.map_(pa.string(), NS), {"a": ArrowTime("timestamp", "ms", "", 1)}),
    (pa.binary(), "é"),
    (pa.list_(pa.string()), [b"a"]),
    (pa.timestamp("ms"), ArrowTime("timestamp", "us", "", 1000)),
    (BERLIN, ArrowTime("timestamp", "us", "UTC", 1)),
    (pa.date64(), ArrowTime("date", "day", "", 1)),
]
UNFIT = [
    (pa.int64(), 1.5),
    (pa.int64(), True),
    (pa.int64(), ArrowTime("timestamp", "us", "", 1)),
    (pa.float32(), 1e300),
    (pa.float32(), 0.1),
    (pa.float64(), 2**53 + 1),
    (pa.struct([("a", pa.int64())]), {"a": 1, "b": 2}),
    (pa.list_(pa.int64()), [1.5]),
    (pa.date32(), ArrowTime("timestamp", "us", "", 10**12)),
    (pa.timestamp("ms"), ArrowTime("timestamp", "us", "", 1001)),
    (pa.timestamp("us"), ArrowTime("timestamp", "us", "UTC", 1)),
    (pa.timestamp("us"), 5),
    (pa.timestamp("us"), datetime.datetime(2020, 1, 1)),
    (NS, ArrowTime("timestamp", "ms", "", 2**55)),
    (pa.string(), "\ud800"),
    (pa.string(), Unreadable("no text")),
]


@pytest.mark.parametrize(
    ("kind", "value", "fits"),
    [*((*case, True) for case in FITTING), *((*case, False) for case in UNFIT)],
    ids=ascii,
)
def test_a_value_fits_where_it_comes_back_as_it_was(kind, value, fits):
    assert can_hold(kind, [value]) is fits
    assert can_hold(kind, [None, value]) is fits


def test_what_a_dictionary_codes_is_written_out():
    coded = pa.dictionary(pa.int8(), pa.string())
    assert copied_type(coded) == pa.string()
    assert copied_type(pa.list_(pa.struct([("a", coded)]))) == pa.list_(pa.struct([("a", pa.string())]))
    many = [str(number) for number in range(300)]
    assert not can_hold(coded, many)
    assert all(can_hold(coded, [text]) for text in many[:3])
    times = pa.array([1, None], NS).dictionary_encode()
    assert column_values(pa.chunked_array([times, times])) == [ArrowTime("timestamp", "ns", "", 1), None] * 2
