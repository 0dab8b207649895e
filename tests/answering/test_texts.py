"""Texts and documents in the forms that Python, NumPy and pandas have for them, and what is none."""

import io
from enum import Enum
from pathlib import Path

import numpy as np
import pytest

from blockskim.answering.texts import as_documents, as_texts, is_one_text
from blockskim.errors import BlockSkimError, ConfigError, DataError

TEXTS = ["the red kite", "a nest\nin Wales"]


class Column:
    """A pandas Series as far as it matters: one dimension, items, labels that are no places, and no sequence."""

    ndim = 1

    def __init__(self, values):
        self.values = list(values)
        self.index = [f"row {number}" for number in range(len(self.values))]

    def __iter__(self):
        return iter(self.values)

    def __len__(self):
        return len(self.values)

    def __bool__(self):
        raise ValueError("The truth value of a Series is ambiguous")

    def __eq__(self, other):
        return Column([value == other for value in self.values])

    def tolist(self):
        return list(self.values)

    def items(self):
        return zip(self.index, self.values, strict=True)


class Table:
    """A pandas DataFrame: iterating gives the names of its columns."""

    ndim = 2

    def __iter__(self):
        return iter(["question", "context"])


class NAType:
    """pandas' missing value, whose truth is as unknown as whether it equals anything."""

    def __repr__(self):
        return "<NA>"

    def __bool__(self):
        raise TypeError("boolean value of NA is ambiguous")

    def __eq__(self, other):
        return self

    __hash__ = None


class Colour(str, Enum):  # noqa: UP042 - str() of it is not its value
    RED = "the red kite"


FORMS = {
    "list": list,
    "tuple": tuple,
    "generator": lambda texts: (text for text in texts),
    "iterator": iter,
    "values": lambda texts: dict(enumerate(texts)).values(),
    "keys": lambda texts: dict.fromkeys(texts).keys(),
    "array": np.array,
    "array of objects": lambda texts: np.array(texts, dtype=object),
    "strings of NumPy": lambda texts: [np.str_(text) for text in texts],
    "column": Column,
}
several = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)


@several
def test_several_texts_in_any_form(form):
    found = as_texts("question", form(TEXTS))
    assert found == TEXTS
    assert all(type(text) is str for text in found)
    assert not is_one_text(form(TEXTS))
    assert as_texts("question", form(TEXTS[:1])) == TEXTS[:1]
    assert not is_one_text(form(TEXTS[:1]))


@pytest.mark.parametrize("text", ["the red kite", np.str_("the red kite"), np.array("the red kite"), Colour.RED])
def test_one_text_in_any_form(text):
    assert is_one_text(text)
    [found] = as_texts("question", text)
    assert found == "the red kite"
    assert type(found) is str


@pytest.mark.parametrize("nothing", [[], (), np.array([], dtype=str), iter(()), Column([])])
def test_no_texts(nothing):
    assert as_texts("question", nothing) == []


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (3, r"not int \(3\)"),
        (True, r"not bool \(True\)"),
        (None, "not None, a missing value"),
        (np.array(np.nan), "not nan, a missing value"),
        (b"who?", r"not bytes \(b'who\?'\); decode it first"),
        (memoryview(b"who?"), r"not memoryview \(b'who\?'\); decode it first"),
        (Path("a.txt"), r"not a path \('a.txt'\); read the file first"),
        (io.StringIO("who?\nwhere?"), "not an open file; read it first"),
        (io.BytesIO(b"who?"), "not an open file; read it first"),
        ({"a": "who?"}, "not dict"),
        (np.array([["who?"], ["where?"]]), "not ndarray with 2 dimensions; give one column of it"),
        (Table(), "not Table with 2 dimensions; give one column of it"),
        (object(), "not object"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_text_is_refused(value, what):
    with pytest.raises(ConfigError, match=f"^the question must be a string or a list of strings, {what}"):
        as_texts("question", value)
    with pytest.raises(ConfigError, match=r"^documents is .*; it must give texts by name, as \{'a.txt': text\}, or be"):
        as_documents(value if not isinstance(value, dict) else 3)


NO_TEXTS = [
    (None, "None, a missing value"),
    (float("nan"), "nan, a missing value"),
    (np.float32("nan"), "nan, a missing value"),
    (NAType(), "<NA>, a missing value"),
    (b"who?", r"bytes \(b'who\?'\); decode it first"),
    (np.bytes_(b"who?"), r"bytes_? \(b'who\?'\); decode it first"),
    (Path("b.txt"), r"a path \('b.txt'\); read the file first"),
    (io.StringIO("who?"), "an open file; read it first"),
    (5, r"int \(5\)"),
    (0.5, r"float \(0.5\)"),
    (["who?"], r"list \(\['who\?'\]\)"),
    (np.array(["who?", "where?"]), "ndarray"),
]
no_text = pytest.mark.parametrize(("value", "what"), NO_TEXTS, ids=lambda value: type(value).__name__)


@no_text
@pytest.mark.parametrize("form", [list, tuple, Column, iter])
def test_what_is_no_text_among_texts_is_named_by_its_place(form, value, what):
    message = rf"the context must be a string or a list of strings, but context 3 \(index 2\) is {what}"
    with pytest.raises(ConfigError, match=message):
        as_texts("context", form(["a", "b", value]))


def test_long_values_are_cut_in_messages():
    with pytest.raises(ConfigError) as error:
        as_texts("context", [["x" * 10_000] * 1000])
    assert len(str(error.value)) < 400


def test_what_a_caller_hands_in_stays_as_it_is():
    texts, documents = list(TEXTS), dict(zip("ab", TEXTS, strict=True))
    found, named = as_texts("question", texts), as_documents(documents)
    found.append("x")
    named["c"] = "x"
    assert (texts, documents) == (TEXTS, dict(zip("ab", TEXTS, strict=True)))


@several
def test_documents_without_names_are_called_by_their_places(form):
    assert as_documents(form(TEXTS)) == {"0": TEXTS[0], "1": TEXTS[1]}


NAMED = dict(zip(["b.txt", "a.txt"], TEXTS, strict=True))


@pytest.mark.parametrize(
    "documents", [NAMED, NAMED.items(), list(NAMED.items()), zip(NAMED, TEXTS, strict=True), iter(NAMED.items())]
)
def test_documents_by_name_keep_their_order(documents):
    found = as_documents(documents)
    assert found == NAMED
    assert list(found) == list(NAMED)


def test_any_key_is_a_name():
    assert as_documents({0: "a", None: "b", Path("c"): "c"}) == {0: "a", None: "b", Path("c"): "c"}


@no_text
def test_a_document_that_is_no_text_is_named(value, what):
    message = f"^the document {{}} is {what}.*; a document must be a string$"
    for documents in ({"a.txt": "a", "b.txt": value}, [("a.txt", "a"), ("b.txt", value)]):
        with pytest.raises(ConfigError, match=message.format("'b.txt'")):
            as_documents(documents)
    with pytest.raises(ConfigError, match=message.format("'1'")):
        as_documents(["a", value])


def test_documents_of_parts_are_not_taken_for_names_and_texts():
    with pytest.raises(ConfigError, match="the document '0' is list"):
        as_documents([["first sentence", "second sentence"]])
    with pytest.raises(ConfigError, match="the document '1' is tuple"):
        as_documents(["a", ("b.txt", "b")])
    with pytest.raises(ConfigError, match="the document '0' is tuple"):
        as_documents([("b.txt", "b", "c")])


def test_names_that_are_there_twice_are_refused():
    with pytest.raises(ConfigError, match=r"^two documents are called 'a'; each needs a name of its own$"):
        as_documents([("a", "x"), ("b", "y"), ("a", "z")])


def test_one_text_is_no_collection_of_documents():
    with pytest.raises(ConfigError, match=r"^documents is one text; it must give texts by name"):
        as_documents("a.txt")


@pytest.mark.parametrize("nothing", [{}, [], (), iter(()), np.array([], dtype=str), Column([])])
def test_there_must_be_a_document(nothing):
    with pytest.raises(DataError, match="there is no document to search"):
        as_documents(nothing)


def test_an_error_of_a_generator_is_its_own():
    def broken():
        yield "a"
        raise TypeError("mine")

    with pytest.raises(TypeError, match="mine"):
        as_texts("question", broken())
    assert not issubclass(TypeError, BlockSkimError)
