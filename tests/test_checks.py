import numpy as np
import pytest

from blockskim.checks import (
    check_count,
    check_items,
    check_known,
    check_names,
    check_number,
    check_range,
    check_whole,
    is_number,
    is_single,
    is_whole,
    plain,
)
from blockskim.errors import ConfigError

NAN = float("nan")
WHOLE = [0, -3, 10**30, np.int8(3), np.int64(-3), np.uint64(2**63)]
FRACTIONS = [0.5, -1.0, float("inf"), np.float16(0.5), np.float32(1.0), np.float64(0.5)]
NO_NUMBERS = [True, False, None, "1", "", [1], (1,), {}, np.bool_(True), np.array(1.0), np.array([1]), np.str_("1"), 1j]


@pytest.mark.parametrize("value", WHOLE)
def test_whole_numbers(value):
    assert is_whole(value) and is_number(value) and is_single(value)
    assert check_whole("x", value) == check_number("x", value) == plain(value) == value
    assert type(check_whole("x", value)) is type(check_number("x", value)) is int


@pytest.mark.parametrize("value", FRACTIONS)
def test_other_numbers(value):
    assert not is_whole(value) and is_number(value) and is_single(value)
    assert check_number("x", value) == plain(value) == value
    assert type(check_number("x", value)) is float
    with pytest.raises(ConfigError, match=r"^x is .*; it must be a whole number$"):
        check_whole("x", value)
    with pytest.raises(ConfigError, match=r"^x is .*; it must be a whole number of at least 1$"):
        check_count("x", value)


@pytest.mark.parametrize("value", NO_NUMBERS, ids=repr)
def test_what_is_no_number(value):
    assert not is_whole(value) and not is_number(value)
    for check, what in ((check_number, "number"), (check_whole, "whole number"), (check_count, "whole number")):
        with pytest.raises(ConfigError) as error:
            check("size", value)
        assert str(error.value).startswith(f"size is {value!r}; it must be a {what}")
    with pytest.raises(ConfigError, match="must be a number"):
        check_range("size", value, 0)


def test_true_and_false_are_single_values_and_stay_what_they_are():
    assert is_single(True)
    assert plain(True) is True


@pytest.mark.parametrize(
    ("value", "limits", "message"),
    [
        (-1, (0,), "x is -1; it must be at least 0"),
        (NAN, (0,), "x is nan; it must be at least 0"),
        (0, (0, None, True), "x is 0; it must be above 0"),
        (1.5, (0, 1), "x is 1.5; it must be at least 0 and at most 1"),
        (np.float32(1.5), (0, 1), "x is 1.5; it must be at least 0 and at most 1"),
        (0.0, (0, 1, True), "x is 0.0; it must be above 0 and at most 1"),
    ],
)
def test_numbers_out_of_range(value, limits, message):
    with pytest.raises(ConfigError) as error:
        check_range("x", value, *limits)
    assert str(error.value) == message


@pytest.mark.parametrize(("value", "limits"), [(0, (0,)), (1, (0, 1)), (np.float32(0.5), (0, 1, True)), (7, (0, None))])
def test_numbers_in_range(value, limits):
    found = check_range("x", value, *limits)
    assert found == value
    assert type(found) in (int, float)


def test_nan_is_no_number():
    with pytest.raises(ConfigError, match="x is nan; it must be a number"):
        check_number("x", NAN)


def test_counts():
    assert check_count("x", np.int64(3)) == 3
    assert check_count("x", 0, least=0) == 0
    with pytest.raises(ConfigError, match="x is 0; it must be a whole number of at least 1"):
        check_count("x", 0)


def test_the_whole_numbers_of_a_list_are_what_it_has():
    with pytest.raises(ConfigError, match=r"layers has 1\.5; it must be a whole number"):
        check_whole("layers", 1.5, "has")


def test_lists_and_names():
    assert check_items("x", [1, 2]) == [1, 2]
    assert check_names("x", "one") == ("one",)
    assert check_names("x", ["one", 2]) == ("one", "2")
    for value in (None, 3, {"one": 1}):
        with pytest.raises(ConfigError, match="it must be a list"):
            check_names("x", value)
    with pytest.raises(ConfigError, match="x is 'one'; it must be a list"):
        check_items("x", "one")


def test_unknown_names():
    check_known("setting", {"one": 1}, ("one", "two"))
    with pytest.raises(ConfigError, match="unknown setting 'three'; known are one, two"):
        check_known("setting", ["one", "three"], ("one", "two"))
