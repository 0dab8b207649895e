"""Windows in files are those of a window set, and are known by what they were made of."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockskim.data import window_files
from blockskim.data.examples import Answer, Example
from blockskim.data.tokens import freeze_tokenizer
from blockskim.data.window_files import StoredWindows, windows_key, write_windows
from blockskim.data.windows import WindowSettings, make_windows
from blockskim.errors import ConfigError, DataError
from tiny_tokenizers import KINDS, fixed_tokenizer

TIGHT = WindowSettings(max_length=24, doc_stride=4, max_question_length=8)

words = st.lists(st.sampled_from(["the", "red", "kite", "nests", "in", "Wales", "2024", "日本語"]), max_size=60)


@st.composite
def examples(draw):
    context = " ".join(draw(words))
    places = st.tuples(st.integers(0, len(context)), st.integers(0, 12))
    spans = draw(st.lists(places.map(lambda pair: (pair[0], min(pair[0] + pair[1], len(context)))), max_size=3))
    answers = tuple(Answer(context[start:end], start) for start, end in spans)
    evidence = tuple(draw(st.lists(st.sampled_from(spans), max_size=2))) if spans else ()
    return Example("q", "who " * draw(st.integers(1, 9)), context, answers, evidence=evidence)


def written(folder, chosen, kind="wordpiece", settings=TIGHT, progress=None):
    folder.mkdir()
    write_windows(folder, iter(chosen), freeze_tokenizer(fixed_tokenizer(kind)), settings, progress)
    return StoredWindows(folder)


@pytest.mark.parametrize("kind", KINDS)
@given(chosen=st.lists(examples(), max_size=6), at_once=st.integers(1, 4), characters=st.sampled_from([1, 100, 10**6]))
def test_each_window_is_that_of_a_window_set(tmp_path_factory, kind, chosen, at_once, characters):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(window_files, "CHUNK_EXAMPLES", at_once)
        patch.setattr(window_files, "CHUNK_CHARACTERS", characters)
        found = written(tmp_path_factory.mktemp("windows") / "one", chosen, kind)
    expected = make_windows(chosen, fixed_tokenizer(kind), TIGHT)
    assert len(found) == len(expected)
    assert found.num_examples == len(chosen)
    assert found.questions_cut == expected.questions_cut
    assert found.template == expected.template
    assert found.lengths.tolist() == expected.lengths.tolist()
    for one, other in zip(found, expected, strict=True):
        assert one.keys() == other.keys()
        assert one.pop("index") == other.pop("index")
        for name, values in other.items():
            assert one[name].dtype == values.dtype
            assert np.array_equal(one[name], values), name
            assert one[name].shape == values.shape


def test_windows_are_counted_from_the_end_too_and_end_somewhere(tmp_path):
    found = written(tmp_path / "one", [Example("q", "who", "the red kite " * 30)])
    assert len(found) > 2
    assert found[-1]["index"] == len(found) - 1
    with pytest.raises(IndexError):
        found[len(found)]


def test_progress_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(window_files, "CHUNK_EXAMPLES", 2)
    told = []
    written(tmp_path / "one", [Example(str(number), "who", "the kite") for number in range(5)], progress=told.append)
    assert told == [2, 4, 5]


def test_what_can_not_be_cut_is_refused(tmp_path):
    with pytest.raises(DataError, match="question 'b' is empty"):
        written(tmp_path / "one", [Example("a", "who", "the kite"), Example("b", " ", "the kite")])
    with pytest.raises(ConfigError, match="max_length"):
        written(tmp_path / "two", [], settings=replace(TIGHT, max_length=10))


def test_the_key_changes_with_everything_that_windows_depend_on():
    example = Example("a", "who", "the kite", (Answer("kite", 4),), ("kite",))
    other = [
        replace(example, question="when"),
        replace(example, context="the nest"),
        replace(example, answers=()),
        replace(example, evidence=((0, 3),)),
    ]
    piece, byte = (freeze_tokenizer(fixed_tokenizer(kind)) for kind in KINDS)
    keys = [windows_key([one], piece, TIGHT) for one in (example, *other)]
    keys += [windows_key([example, example], piece, TIGHT), windows_key([], piece, TIGHT)]
    keys += [windows_key([example], byte, TIGHT), windows_key([example], piece, replace(TIGHT, doc_stride=5))]
    assert len(set(keys)) == len(keys)
    assert windows_key(iter([example]), piece, TIGHT) == keys[0]
    assert windows_key([replace(example, source="./a.json")], piece, TIGHT) == keys[0]


HARM = {
    "gone": lambda path: path.unlink(),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-4]),
    "empty": lambda path: path.write_bytes(b""),
    "of another kind": lambda path: path.write_bytes(b"[1, 2]"),
}


@pytest.mark.parametrize("harm", HARM)
@pytest.mark.parametrize("name", [window_files.WINDOWS, window_files.ENDS, window_files.LENGTHS, window_files.ABOUT])
def test_damaged_windows_are_not_read(tmp_path, name, harm):
    folder = tmp_path / "one"
    written(folder, [Example("q", "who", "the red kite " * 30)])
    HARM[harm](folder / name)
    with pytest.raises(DataError, match=str(folder)):
        StoredWindows(folder)
