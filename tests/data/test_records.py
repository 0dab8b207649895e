"""What fields hold, where files say it in several ways."""

import math

import pytest

from blockskim.data.records import (
    brief,
    check_no_other_answers,
    check_parallel,
    checked,
    flag,
    id_text,
    is_missing,
    optional_text,
    question_text,
    required,
    required_id,
    required_number,
    whole_number,
)
from blockskim.errors import DataError


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("q1", "q1"),
        ("", ""),
        (7, "7"),
        (0, "0"),
        (-3, "-3"),
        (3.0, "3"),
        (2.0**53, str(2**53)),
        (10**40, "1" + "0" * 40),
    ],
)
def test_ids_are_strings_or_whole_numbers(value, text):
    assert id_text(value, "file") == text


@pytest.mark.parametrize("value", [3.5, math.inf, math.nan, 1e300, True, None, [], {}])
def test_other_ids_are_refused(value):
    with pytest.raises(DataError, match="file must be a string or a whole number, is "):
        id_text(value, "file")


def test_the_first_name_that_holds_an_id_counts():
    assert required_id({"id": None, "_id": math.nan, "qid": 4}, ("id", "_id", "qid"), "file") == "4"
    assert required_id({"id": "a", "qid": 4}, ("id", "qid"), "file") == "a"
    with pytest.raises(DataError, match=r"file: has no 'id' .*; it has 'question'"):
        required_id({"question": "?"}, ("id", "qid"), "file")


def test_missing_is_absent_null_or_an_empty_cell():
    record = {"null": None, "cell": math.nan, "zero": 0, "text": ""}
    assert [is_missing(record, key) for key in ("absent", *record)] == [True, True, True, False, False]
    assert optional_text(record, "cell", "file") == ""
    with pytest.raises(DataError, match="'zero' must be a string, is a whole number"):
        optional_text(record, "zero", "file")


@pytest.mark.parametrize(("value", "number"), [(4, 4), (4.0, 4), ("4", 4), ("-1", -1)])
def test_whole_numbers_may_be_written_as_tables_and_forms_write_them(value, number):
    assert whole_number(value, "file") == number
    assert required_number({"n": value}, "n", "file") == number


@pytest.mark.parametrize("value", [4.5, math.inf, True, None, "", "four", "4.0", "٤", "1" * 19, 1e300])
def test_other_numbers_are_refused(value):
    with pytest.raises(DataError, match="file must be a whole number, is "):
        whole_number(value, "file")


@pytest.mark.parametrize(
    ("value", "truth"),
    [(True, True), (False, False), (1, True), (0, False), (1.0, True), ("true", True), ("False", False), (None, None)],
)
def test_flags_may_be_numbers_or_words(value, truth):
    assert flag({"is_impossible": value}, "is_impossible", "file") is truth
    assert flag({}, "is_impossible", "file") is None


@pytest.mark.parametrize("value", [2, -1, "yes", "", "1", [], {"a": 1}, 0.5])
def test_other_flags_are_refused(value):
    with pytest.raises(DataError, match="file: 'is_impossible' must be true or false, is "):
        flag({"is_impossible": value}, "is_impossible", "file")


def test_blank_questions_are_refused():
    assert question_text({"question": " who? "}, "file") == " who? "
    with pytest.raises(DataError, match=r"file: the question is empty: '\\n'"):
        question_text({"question": "\n"}, "file")


def test_lists_of_which_items_belong_together_must_have_one_length():
    check_parallel({"text": [1, 2], "answer_start": [3, 4]}, "file")
    with pytest.raises(DataError, match="file has 1 of 'text' and 2 of 'answer_start'; as many of each are needed"):
        check_parallel({"text": [1], "answer_start": [3, 4]}, "file")


def test_answers_under_another_name_are_not_overlooked():
    check_no_other_answers({"question": "?", "answer": None}, "answers", "file")
    check_no_other_answers({"detected_answers": []}, "answers", "file", known=("detected_answers",))
    with pytest.raises(DataError, match="file: has 'answer_start' but no 'answers'"):
        check_no_other_answers({"answer_start": 4}, "answers", "file")


def test_messages_show_no_more_than_a_line_of_a_value():
    deep: list[object] = []
    for _ in range(5000):
        deep = [deep]
    for value in ("x" * 10**6, list(range(10**6)), deep, {str(n): [n] * 9 for n in range(999)}, 10**4000):
        assert len(brief(value)) <= 100
    assert brief(["T", "0"]) == "['T', '0']"
    assert brief({"a": [1]}) == "{'a': [1]}"
    with pytest.raises(DataError) as error:
        required({"x" * 500 + str(n): n for n in range(5000)}, "id", str, "file")
    assert len(str(error.value)) < 1500


def test_half_a_character_is_refused():
    with pytest.raises(DataError, match="half of a surrogate pair"):
        checked("\ud83d", str, "file")
