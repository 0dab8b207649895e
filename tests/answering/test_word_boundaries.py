import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockskim.answering.word_boundaries import Boundaries

texts = st.text(alphabet="ab é\u0301_1,.'-\u200d🏽👩🇩🇪\U000e0062日本ไทย한\u00ad\ufeff \n", max_size=20)


def blank(character):
    return character.isspace() or character in "\ufeff\u200b"


@pytest.mark.parametrize(
    ("text", "part", "whole"),
    [
        ("Smeatons tower", "eat", "Smeatons"),
        ("in 2,500 nests", "50", "500"),
        ("the kite's nest", "it", "kite"),
        ("a well-known man", "now", "known"),
        ("naïve cafés", "caf", "cafés"),
        ("nai\u0308ve", "na", "nai\u0308ve"),
        ("foo_bar(x)", "oo", "foo_bar"),
        ("Москва река", "оск", "Москва"),
        ("हिन्दी भाषा", "न", "हिन्दी"),
        ("می‌خواهم بروم", "خوا", "می‌خواهم"),
        ("他在東京居住。", "東京", "東京"),
        ("iPhone手机", "Pho", "iPhone"),
        ("ทุกคนชอบ", "คน", "คน"),
        ("서울에서 왔다", "서울", "서울에서"),
        ("👩\u200d🚀 flew", "👩", "👩\u200d🚀"),
        ("so 👍🏽👍", "👍", "👍🏽"),
        ("so 👍🏽👍", "🏽", "👍🏽"),
        ("👩🏽\u200d🚀 flew", "🚀", "👩🏽\u200d🚀"),
        ("in 🇩🇪🇫🇷🇹", "🇩", "🇩🇪"),
        ("in 🇩🇪🇫🇷🇹", "🇪", "🇩🇪"),
        ("in 🇩🇪🇫🇷🇹", "🇷", "🇫🇷"),
        ("in 🇩🇪🇫🇷🇹", "🇹", "🇹"),
        ("in 🇩🇪🇫🇷🇹", "🇪🇫", "🇩🇪🇫🇷"),
        ("\U0001f3f4\U000e0067\U000e0062\U000e007f won", "\U000e0062", "\U0001f3f4\U000e0067\U000e0062\U000e007f"),
        ("6\ufe0f\u20e3 of 7", "\ufe0f", "6\ufe0f\u20e3"),
        ("e\u0301", "e", "e\u0301"),
        (" ,", ",", ","),
    ],
)
def test_spans_grow_to_words(text, part, whole):
    start = text.index(part)
    first, end = Boundaries(text).align(start, start + len(part))
    assert text[first:end] == whole


@given(texts, st.data())
def test_alignment_only_grows_and_is_stable(text, data):
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    first, last = Boundaries(text).align(start, end)
    assert 0 <= first <= start <= end <= last <= len(text)
    assert Boundaries(text).align(first, last) == (first, last)


@given(texts, st.data())
def test_trimming_leaves_no_blank_at_an_end(text, data):
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    first, last = Boundaries(text).trim(start, end)
    assert start <= first <= last <= end
    assert all(blank(character) for character in text[start:first] + text[last:end])
    assert first == last or not (blank(text[first]) or blank(text[last - 1]))
