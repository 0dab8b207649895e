"""Where an answer stands whose offset is not where its text is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockskim.data.answer_places import place_answer
from blockskim.data.examples import Answer
from blockskim.data.read_report import ReadReport

LINES = "The mill\r\nis old.\r\nTom Pike built it.\r\nTom Pike died.\r\nTom Pike rests.\r\n"
SMILES = "😀😀 Ann met Ben. 😀😀😀😀😀 Ann left Ben. 😀 Then once more Ann came."


def place(context, text, start):
    read = ReadReport()
    answer = place_answer(context, text, start, read)
    found = None if answer is None else answer.start
    assert found is None or context[found : found + len(text)] == answer.text == text
    assert (read.repaired, read.skipped) == ((0, 0) if found == start else (int(found is not None), int(found is None)))
    return found


@pytest.mark.parametrize("text", ["", " ", "\r\n", "\u3000"])
def test_blanks_alone_are_no_answer(text):
    context = "The mill\u3000is old.\r\n"
    assert all(place(context, text, start) is None for start in range(-1, len(context) + 2))


def occurrences(context, text):
    return [place for place in range(len(context)) if context.startswith(text, place)]


@pytest.mark.parametrize("number", range(3))
def test_line_ends_counted_as_one_character(number):
    start = occurrences(LINES, "Tom Pike")[number]
    assert place(LINES, "Tom Pike", len(LINES[:start].replace("\r\n", "\n"))) == start


@pytest.mark.parametrize("number", range(3))
def test_line_ends_counted_as_two_characters(number):
    context = LINES.replace("\r\n", "\n")
    start = occurrences(context, "Tom Pike")[number]
    assert place(context, "Tom Pike", len(context[:start].replace("\n", "\r\n"))) == start


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-8"])
def test_code_units_and_bytes_in_place_of_characters(number, encoding):
    start = occurrences(SMILES, "Ann")[number]
    units = len(SMILES[:start].encode(encoding)) // (2 if encoding.startswith("utf-16") else 1)
    assert place(SMILES, "Ann", units) == start


def test_a_long_way_off_is_right_when_it_is_explained():
    # Forty line ends: another occurrence is nearer to the offset than the right one.
    context = "a line\r\n" * 40 + "Ann met Ben. Ann left. " + "x" * 20 + " Ann came."
    places = occurrences(context, "Ann")
    assert place(context, "Ann", places[2] - 40) == places[2]
    assert 2 < abs(places[2] - 40 - places[1]) < 20
    # Where an occurrence is so near that a blank or a byte-order mark explains it as well, nothing is clear.
    context = "a line\r\n" * 40 + "Ann met. " + "x" * 30 + "Ann"
    places = occurrences(context, "Ann")
    assert places[1] - 40 == places[0] - 1
    assert place(context, "Ann", places[1] - 40) is None


@pytest.mark.parametrize("shift", [-2, -1, 1, 2])
def test_the_nearest_occurrence_where_it_is_clearly_the_nearest(shift):
    context = "\ufeffAnn met Ben in 1742. He was born in 1702, and in 1742 he died."
    for start in occurrences(context, "1742"):
        assert place(context, "1742", start + shift) == start


@pytest.mark.parametrize(
    ("context", "text", "start", "found"),
    [
        ("banana", "ana", 2, None),  # equally near
        ("banana", "ana", 0, 1),
        ("Ann and Ann and Ann", "Ann", 5, None),  # three off and three off
        ("Ann and Ann and Ann", "Ann", 7, 8),
        ("Ann and Ann and Ann", "Ann", -1, None),  # no offset at all
        ("Ann and Ann and Ann", "Ann", 500, None),  # outside
        ("Ann and Ann and Ann", "Ann", 19, 16),
        ("Ann and Ann and Ben", "Ben", -1, 16),  # there is only one
        ("Ann and Ann and Ben", "Ben", 500, 16),
        ("Ann and Ann and Ben", "Tom", 0, None),
        ("Ann and Ann and Ben", "", 3, None),
        ("", "Ann", 0, None),
    ],
)
def test_what_is_not_clear_is_left_out(context, text, start, found):
    assert place(context, text, start) == found


@pytest.mark.parametrize("inside", ["\n", "\r\n"])
@pytest.mark.parametrize("around", ["\n", "\r\n"])
def test_line_ends_within_an_answer(inside, around):
    context = around.join(["It was built by", "Tom", "Pike", "and by Tom", "Pike", "again."])
    read = ReadReport()
    for start in (len(around.join(["It was built by", ""])), len("It was built by\n")):
        answer = place_answer(context, f"Tom{inside}Pike", start, read)
        assert answer == Answer(f"Tom{around}Pike", len("It was built by" + around))


def test_two_ways_of_counting_that_disagree_mean_nothing():
    context = "\n" + "é" * 8 + "a" + "Ann" + "é" * 4 + "Ann"
    first, second = occurrences(context, "Ann")
    assert len(context[:first].encode()) == len(context[:second].replace("\n", "\r\n")) == 18
    assert place(context, "Ann", 18) is None


@given(
    st.text(alphabet="a\r\n😀é", max_size=12), st.text(alphabet="a\n😀é", min_size=1, max_size=3), st.integers(-5, 40)
)
def test_whatever_is_found_is_an_occurrence(context, text, start):
    found = place(context, text, start)
    # Blanks alone are no answer.
    places = occurrences(context, text) if text.strip() else []
    if start in places:
        assert found == start
    if len(places) == 1:
        assert found == places[0]
