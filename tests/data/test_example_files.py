"""Examples in a file are those that were put there."""

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockskim.data.example_files import ChosenExamples, StoredExamples
from blockskim.data.examples import Answer, Example
from blockskim.errors import DataError

texts = st.text(st.characters(), max_size=20)  # halves of surrogate pairs, too, which JSON may bring
examples = st.builds(
    Example,
    texts,
    texts,
    texts,
    answers=st.lists(st.builds(Answer, texts, st.integers(0, 9)), max_size=2).map(tuple),
    references=st.lists(texts, max_size=2).map(tuple),
    evidence=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=2).map(tuple),
    metadata=st.just((("format", "hotpotqa"), ("facts", (("a", 1),)))),
    annotated=st.booleans(),
)


@given(st.lists(examples, max_size=8), st.data())
def test_what_is_read_is_what_was_written(tmp_path_factory, given_examples, data):
    with StoredExamples(iter(given_examples), tmp_path_factory.getbasetemp()) as stored:
        assert len(stored) == len(given_examples)
        assert list(stored) == given_examples
        part = data.draw(st.slices(len(given_examples)))
        assert list(stored[part]) == given_examples[part]
        order = data.draw(st.permutations(range(len(given_examples))))
        chosen = ChosenExamples(stored, order)
        assert list(chosen) == [chosen[place] for place in range(len(order))] == [stored[number] for number in order]
        if given_examples:
            assert stored[-1] == given_examples[-1]
            assert list(chosen[1:]) == [stored[number] for number in order[1:]]
        with pytest.raises(IndexError):
            stored[len(given_examples)]


def many(count):
    return [Example(str(number), "who ?", "the red kite") for number in range(count)]


def test_progress_is_told_now_and_then(tmp_path):
    told = []
    with StoredExamples(many(2500), tmp_path, told.append):
        assert told == [1000, 2000]


def test_nothing_is_left_behind(tmp_path):
    with StoredExamples(many(3), tmp_path):
        assert list(tmp_path.iterdir()) == []

    def broken():
        yield from many(3)
        raise DataError("a record is wrong")

    with pytest.raises(DataError, match="a record is wrong"):
        StoredExamples(broken(), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_told_of_with_the_folder(tmp_path, monkeypatch):
    class Full:
        def write(self, content):
            raise OSError(errno.ENOSPC, "No space left on device")

        def close(self):
            pass

    monkeypatch.setattr("tempfile.TemporaryFile", lambda dir: Full())
    with pytest.raises(OSError, match="No space left") as caught:
        StoredExamples(many(1), tmp_path)
    assert caught.value.filename == str(tmp_path)
