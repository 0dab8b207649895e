import logging
import types
import unicodedata

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from blockskim.data.examples import Answer, Example
from blockskim.data.tokens import PairTemplate, pair_template
from blockskim.data.windows import STAND_IN, WindowSettings, make_windows
from blockskim.errors import ConfigError, DataError
from tiny_tokenizers import KINDS, byte_level, fixed_tokenizer, tokenizer, word_piece

every_kind = pytest.mark.parametrize("kind", KINDS)
ROOMY = WindowSettings(max_length=400, doc_stride=16, max_question_length=100)
TIGHT = WindowSettings(max_length=24, doc_stride=4, max_question_length=8)

# Emoji, one of them of several code points; combining marks; Chinese, Japanese and Korean; ligatures, right to left.
TRICKY = [
    "🪁",
    "👩‍🚀",
    "🇫🇷",
    "e\u0301",
    "n\u0303o",
    "日本語",
    "東京",
    "한국",
    "ﬁn",
    "İstanbul",
    "straße",
    "שלום",
    "x²",
    "½",
]
letters = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
words = st.one_of(
    st.sampled_from(TRICKY), st.sampled_from(["the", "red", "kite", "nests", "2024", "(a)", "U.S."]), letters
)
texts = st.lists(words, max_size=14).map(" ".join)
questions = st.lists(words, max_size=2).map(lambda parts: " ".join(["who", *parts]))


def example(question, context, *answers, name="q"):
    return Example(name, question, context, tuple(Answer(text, start) for text, start in answers))


def tokens_of(kind, text):
    return fixed_tokenizer(kind)(text, add_special_tokens=False)["input_ids"]


@every_kind
@given(questions, texts)
def test_a_window_equals_the_tokenizers_own_pair(kind, question, context):
    # In lists: alone, an empty context would be taken for none.
    batch = fixed_tokenizer(kind)([question.strip()], [context])
    expected = {name: values[0] for name, values in batch.items()}
    assume(len(expected["input_ids"]) <= 400)
    windows = make_windows([example(question, context)], fixed_tokenizer(kind), ROOMY)
    assert len(windows) == 1
    found = windows[0]
    assert found["input_ids"].tolist() == expected["input_ids"]
    assert found["context_mask"].tolist() == [int(part == 1) for part in batch.sequence_ids(0)]
    assert ("token_type_ids" in found) == ("token_type_ids" in expected)
    if "token_type_ids" in expected:
        assert found["token_type_ids"].tolist() == expected["token_type_ids"]


@every_kind
@given(texts)
def test_tokens_know_the_characters_of_the_text_as_given(kind, context):
    expected = fixed_tokenizer(kind)("who", context, return_offsets_mapping=True)
    windows = make_windows([example("who", context)], fixed_tokenizer(kind), ROOMY)
    offsets = [
        list(span) for span, part in zip(expected["offset_mapping"], expected.sequence_ids(0), strict=True) if part == 1
    ]
    assert windows.contexts.offsets_of(0).tolist() == offsets
    for place, (start, end) in enumerate(offsets):
        assert windows.character_span(0, place, place) == (start, end)


@every_kind
@given(questions, texts, st.integers(20, 40), st.integers(0, 6))
def test_overlapping_windows_are_those_of_the_tokenizer(kind, question, context, max_length, doc_stride):
    assume(len(tokens_of(kind, question.strip())) <= 8)  # the tokenizer cuts contexts only
    windows = make_windows(
        [example(question, context)], fixed_tokenizer(kind), WindowSettings(max_length, doc_stride, 8)
    )
    expected = tokenizer(kind)(
        [question.strip()],
        [context],
        truncation="only_second",
        max_length=max_length,
        stride=doc_stride,
        return_overflowing_tokens=True,
    )
    assert [window["input_ids"].tolist() for window in windows] == expected["input_ids"]
    assert windows.lengths.tolist() == [len(ids) for ids in expected["input_ids"]]


@every_kind
@given(st.lists(st.tuples(questions, texts), max_size=4), st.integers(20, 40), st.integers(0, 6))
def test_windows_cover_every_context_token_and_overlap(kind, pairs, max_length, doc_stride):
    examples = [example(question, context, name=str(i)) for i, (question, context) in enumerate(pairs)]
    windows = make_windows(examples, fixed_tokenizer(kind), WindowSettings(max_length, doc_stride, 8))
    assert windows.windows.shape == (len(windows), 3)
    for number, item in enumerate(examples):
        own = [row for row in range(len(windows)) if windows.windows[row, 0] == number]
        assert own == list(range(own[0], own[-1] + 1))
        size, covered = len(tokens_of(kind, item.context)), set()
        for place, row in enumerate(own):
            window = windows[row]
            _, start, end = windows.windows[row]
            assert window["index"] == row
            assert len(window["input_ids"]) == windows.lengths[row] <= max_length
            first = windows.context_start(row)
            inside = window["input_ids"][first : first + end - start]
            assert inside.tolist() == tokens_of(kind, item.context)[start:end]
            assert np.flatnonzero(window["context_mask"]).tolist() == list(range(first, first + end - start))
            covered |= set(range(start, end))
            if place:
                assert start == windows.windows[row - 1, 2] - doc_stride
        assert covered == set(range(size))


@every_kind
def test_a_long_question_loses_its_end_and_nothing_else(kind):
    question = "who " + "red kite " * 30
    windows = make_windows([example(question, "the red kite")], fixed_tokenizer(kind), TIGHT)
    ids = tokens_of(kind, question.strip())[:8]
    template = pair_template(fixed_tokenizer(kind))
    assert len(ids) == 8
    assert windows.question_ids(0).tolist() == ids
    for window in windows:
        assert window["input_ids"].tolist()[: windows.context_start(0)] == [
            *template.before,
            *ids,
            *template.between,
        ]


@every_kind
@given(texts, st.data())
def test_answers_are_the_tokens_that_hold_any_of_their_characters(kind, context, data):
    spans = data.draw(st.lists(st.tuples(*[st.integers(0, len(context))] * 2), max_size=4))
    answers = [(context[start:end], start) for start, end in spans]
    # Answers begin and end with something to see.
    answers = [(text.strip(), start + len(text) - len(text.lstrip())) for text, start in answers if text.strip()]
    windows = make_windows([example("who", context, *answers)], fixed_tokenizer(kind), ROOMY)
    offsets = windows.contexts.offsets_of(0).tolist()
    expected = []
    for text, start in answers:
        held = [
            place
            for place, (first, end) in enumerate(offsets)
            if first < start + len(text) and end > start and first < end
        ]
        if held:
            expected.append([held[0], held[-1]])
    assert windows.answers[0].tolist() == expected


def survives(kind, word):
    """Whether a tokenizer keeps the first and the last character of a word."""
    if kind == "bytes":
        return True
    normalizer = fixed_tokenizer(kind).backend_tokenizer.normalizer
    return all(normalizer.normalize_str(character).strip() for character in (word[0], word[-1]))


visible = st.one_of(
    st.sampled_from(TRICKY),
    st.text(st.characters(categories=["L", "N", "S", "P", "M"]), min_size=1, max_size=8),
)


@every_kind
@given(st.lists(visible, min_size=1, max_size=10), st.data())
def test_answers_of_whole_words_map_to_their_exact_characters(kind, parts, data):
    first = data.draw(st.integers(0, len(parts) - 1))
    last = data.draw(st.integers(first, len(parts) - 1))
    context = " ".join(parts)
    start = len(" ".join(parts[:first])) + bool(first)
    answer = " ".join(parts[first : last + 1])
    assert context[start : start + len(answer)] == answer
    assume(survives(kind, answer))
    windows = make_windows([example("who", context, (answer, start))], fixed_tokenizer(kind), ROOMY)
    assume(len(windows) == 1)
    begin, end = windows.character_span(0, *windows.answers[0][0])
    # A letter that byte-level BPE merges with a neighbour is not split; spaces keep words apart.
    assert context[begin:end] == answer


@every_kind
@pytest.mark.parametrize(
    ("context", "answer"),
    [
        ("A 🪁 flies.", "🪁"),
        ("A 🪁🪁 flies.", "🪁🪁"),
        ("In 東京都 today", "東京"),
        ("日本語", "本"),
        ("cafe\u0301s open", "cafe\u0301s"),
        ("caf\u00e9s open", "caf\u00e9s"),
        ("The 한국 kite", "한국"),
        ("In İstanbul, 2024", "İstanbul"),
        ("\u200f שלום kite", "שלום"),
    ],
)
def test_unicode_answers_map_to_their_exact_characters(kind, context, answer):
    start = context.index(answer)
    windows = make_windows([example("who", context, (answer, start))], fixed_tokenizer(kind), ROOMY)
    begin, end = windows.character_span(0, *windows.answers[0][0])
    assert context[begin:end] == answer


def test_offsets_with_leading_spaces_make_no_difference_to_answers():
    context = "the red kite in wales"
    answers = [("red", 4), ("kite", 8), ("in wales", 13)]
    for trim in (True, False):
        windows = make_windows([example("who", context, *answers)], byte_level(trim_offsets=trim), ROOMY)
        ids = windows.contexts.ids_of(0)
        found = [windows_text(windows, ids[first : last + 1]) for first, last in windows.answers[0]]
        assert [text.strip() for text in found] == ["red", "kite", "in wales"]


def windows_text(windows, ids):
    return fixed_tokenizer("bytes").decode(ids)


@every_kind
def test_spans_and_target_are_in_the_coordinates_of_the_window(kind):
    context = "the red kite nests in wales . " * 3 + "a kite eats a worm . " * 3
    answers = [("wales", 22), ("kite nests in wales", 8), ("worm", context.index("worm"))]
    windows = make_windows([example("where", context, *answers)], fixed_tokenizer(kind), TIGHT)
    assert len(windows) > 2
    tokens = windows.answers[0].tolist()
    assert len(tokens) == 3
    seen_whole = set()
    for row, window in enumerate(windows):
        _, start, end = windows.windows[row].tolist()
        first = windows.context_start(row)
        inside = [span for span in tokens if span[0] < end and span[1] >= start]
        clipped = [[max(a, start) - start + first, min(b, end - 1) - start + first] for a, b in inside]
        assert window["answer_spans"].tolist() == clipped
        assert window["answer_spans"].shape == (len(clipped), 2)
        whole = [span for span in inside if span[0] >= start and span[1] < end]
        seen_whole |= {tuple(span) for span in whole}
        expected = [place - start + first for place in whole[0]] if whole else [0, 0]
        assert window["target"].tolist() == expected
        if whole:
            ids = window["input_ids"][expected[0] : expected[1] + 1].tolist()
            assert ids == windows.contexts.ids_of(0)[whole[0][0] : whole[0][1] + 1].tolist()
    assert seen_whole >= {tuple(tokens[0]), tuple(tokens[2])}


@every_kind
def test_an_unanswerable_question_points_at_the_first_token(kind):
    window = make_windows([example("who", "the red kite")], fixed_tokenizer(kind), ROOMY)[0]
    assert window["target"].tolist() == [0, 0]
    assert window["answer_spans"].shape == (0, 2)


@every_kind
def test_an_empty_context_gives_one_window_without_context(kind):
    windows = make_windows([example("who", ""), example("who", "kite", name="r")], fixed_tokenizer(kind), ROOMY)
    assert len(windows) == 2
    assert windows[0]["input_ids"].tolist() == fixed_tokenizer(kind)(["who"], [""])["input_ids"][0]
    assert not windows[0]["context_mask"].any()
    assert windows[1]["context_mask"].any()


@every_kind
@pytest.mark.parametrize("question", ["", "   ", "\n\t"])
def test_an_empty_question_is_refused_by_name(kind, question):
    examples = [example("who", "kite"), example(question, "kite", name="second")]
    with pytest.raises(DataError, match=r"^question 'second' is empty: "):
        make_windows(examples, fixed_tokenizer(kind), ROOMY)


def test_spaces_around_a_question_are_no_tokens():
    plain, spaced = (
        make_windows([example(question, "kite")], fixed_tokenizer("bytes"), ROOMY) for question in ("who", " who\n")
    )
    assert plain[0]["input_ids"].tolist() == spaced[0]["input_ids"].tolist()


@every_kind
def test_no_examples_no_windows(kind):
    windows = make_windows([], fixed_tokenizer(kind))
    assert len(windows) == 0
    assert list(windows) == []
    assert windows.lengths.tolist() == []


@every_kind
def test_windows_are_a_sequence(kind):
    windows = make_windows([example("who", "the red kite " * 20)], fixed_tokenizer(kind), TIGHT)
    assert len(list(windows)) == len(windows) > 2
    assert windows[-1]["index"] == len(windows) - 1
    assert windows[-1]["input_ids"].tolist() == windows[len(windows) - 1]["input_ids"].tolist()
    for index in (len(windows), -len(windows) - 1):
        with pytest.raises(IndexError):
            windows[index]
    for name in ("input_ids", "context_mask", "answer_spans", "target"):
        assert windows[0][name].dtype == np.int64


@every_kind
def test_a_context_is_tokenised_once_for_all_its_questions(kind):
    contexts = ["the red kite", "a worm", "the red kite", "the red kite"]
    windows = make_windows(
        [example("who", text, name=str(i)) for i, text in enumerate(contexts)], fixed_tokenizer(kind)
    )
    assert windows.context_of.tolist() == [0, 1, 0, 0]
    assert len(windows.contexts.bounds) == 3
    assert windows.contexts.ids_of(1).tolist() == tokens_of(kind, "a worm")


def test_templates_of_both_kinds():
    assert pair_template(fixed_tokenizer("wordpiece")) == PairTemplate((2,), (3,), (3,), (0, 1), 0)
    assert pair_template(fixed_tokenizer("bytes")) == PairTemplate((0,), (2, 2), (2,), None, 1)
    assert pair_template(fixed_tokenizer("bytes")).special_tokens == 4


@every_kind
def test_what_the_tokenizer_was_used_for_before_makes_no_difference(kind):
    used = tokenizer(kind)
    used("who is it", "the red kite", truncation=True, max_length=5, padding="max_length")
    examples = [example("who", "the red kite " * 20)]
    found, expected = (make_windows(examples, one, TIGHT) for one in (used, fixed_tokenizer(kind)))
    assert [window["input_ids"].tolist() for window in found] == [window["input_ids"].tolist() for window in expected]


def test_a_slow_tokenizer_is_refused():
    with pytest.raises(ConfigError, match=r"SimpleNamespace is a slow tokenizer.*tokenizer\.json"):
        pair_template(types.SimpleNamespace(is_fast=False))


def test_a_tokenizer_without_padding_is_refused():
    bare = byte_level()
    bare.pad_token = None
    with pytest.raises(ConfigError, match="no padding token"):
        make_windows([example("who", "kite")], bare)


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({"max_question_length": 0}, "max_question_length is 0"),
        ({"doc_stride": -1}, "doc_stride is -1"),
        ({"max_length": float("nan")}, "max_length is nan; it must be a whole number"),
        ({"max_length": "384"}, "max_length is '384'"),
        ({"doc_stride": 1.5}, "doc_stride is 1.5"),
        ({"max_question_length": True}, "max_question_length is True"),
        ({"max_length": 64}, "max_length 64 leaves -3"),
        ({"max_length": 195}, "leaves 128.*more than doc_stride 128"),
        ({"doc_stride": 317}, "leaves 317.*317"),
    ],
)
def test_settings_that_leave_no_room_are_refused(changes, shown):
    with pytest.raises(ConfigError, match=shown):
        make_windows([example("who", "kite")], fixed_tokenizer("wordpiece"), WindowSettings(**changes))


def test_the_tightest_settings_work():
    windows = make_windows(
        [example("who who who", "the red kite " * 5)], fixed_tokenizer("wordpiece"), WindowSettings(8, 1, 3)
    )
    assert [window["context_mask"].sum() for window in windows] == [2] * 14


EXAMPLES = [
    example("who", "the red kite nests in wales " * 6, ("wales", 22)),
    example("where", "a worm", name="r"),
    example("when", "", name="s"),
]


def same(one, other):
    assert np.array_equal(one.windows, other.windows)
    for found, expected in zip(one, other, strict=True):
        assert found.keys() == expected.keys()
        assert all(np.array_equal(found[name], expected[name]) for name in found)


@every_kind
def test_cached_tokens_give_the_same_windows(kind, tmp_path):
    cache = tmp_path / "not" / "there"
    fresh = make_windows(EXAMPLES, tokenizer(kind), TIGHT)
    written = make_windows(EXAMPLES, tokenizer(kind), TIGHT, cache)
    read = make_windows(EXAMPLES, tokenizer(kind), TIGHT, cache)
    same(written, fresh)
    same(read, fresh)
    assert len(list(cache.iterdir())) == 1


def test_a_cache_hit_reads_the_file(tmp_path):
    make_windows(EXAMPLES, tokenizer("bytes"), TIGHT, tmp_path)
    (path,) = tmp_path.iterdir()
    with np.load(path) as stored:
        arrays = dict(stored)
    arrays["ids1"] = arrays["ids1"] + 1
    np.savez(path, **arrays)
    fresh = make_windows(EXAMPLES, tokenizer("bytes"), TIGHT)
    found = make_windows(EXAMPLES, tokenizer("bytes"), TIGHT, tmp_path)
    assert np.array_equal(found.contexts.ids, fresh.contexts.ids + 1)


@every_kind
def test_other_settings_and_an_earlier_use_of_the_tokenizer_hit_the_cache(kind, tmp_path):
    make_windows(EXAMPLES, tokenizer(kind), TIGHT, tmp_path)
    make_windows(EXAMPLES, tokenizer(kind), ROOMY, tmp_path)
    used = tokenizer(kind)
    used("who is it", "the red kite", truncation=True, max_length=5, padding="max_length")
    make_windows(EXAMPLES, used, TIGHT, tmp_path)
    assert len(list(tmp_path.iterdir())) == 1


def test_a_changed_tokenizer_misses_the_cache(tmp_path):
    make_windows(EXAMPLES, word_piece(), TIGHT, tmp_path)
    changed = word_piece(extra=("nests",))
    found = make_windows(EXAMPLES, changed, TIGHT, tmp_path)
    same(found, make_windows(EXAMPLES, changed, TIGHT))
    make_windows(EXAMPLES, byte_level(trim_offsets=False), TIGHT, tmp_path)
    make_windows(EXAMPLES, byte_level(trim_offsets=True), TIGHT, tmp_path)
    assert len(list(tmp_path.iterdir())) == 4


def test_changed_texts_miss_the_cache(tmp_path):
    make_windows(EXAMPLES, tokenizer("bytes"), TIGHT, tmp_path)
    make_windows(EXAMPLES[:2], tokenizer("bytes"), TIGHT, tmp_path)
    # The same texts as question and as context are not the same cache.
    make_windows([example("kite", "who")], tokenizer("bytes"), TIGHT, tmp_path)
    make_windows([example("who", "kite")], tokenizer("bytes"), TIGHT, tmp_path)
    assert len(list(tmp_path.iterdir())) == 4


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path):
    content = bytearray(path.read_bytes())
    content[200] ^= 0xFF  # in the numbers of the first array
    path.write_bytes(content)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(b"no archive at all"),
        lambda path: path.write_bytes(b""),
        cut,
        flip,
        lambda path: np.savez(path, ids0=np.zeros(3)),
        lambda path: np.savez(path, ids0=np.array([{}])),
    ],
    ids=["garbage", "empty", "cut", "flipped", "incomplete", "pickled"],
)
def test_a_corrupt_cache_is_made_anew_with_a_warning(spoil, tmp_path, caplog):
    expected = make_windows(EXAMPLES, tokenizer("bytes"), TIGHT, tmp_path)
    (path,) = tmp_path.iterdir()
    spoil(path)
    with caplog.at_level(logging.WARNING, "blockskim"):
        same(make_windows(EXAMPLES, tokenizer("bytes"), TIGHT, tmp_path), expected)
    assert path.name in caplog.text
    caplog.clear()
    same(make_windows(EXAMPLES, tokenizer("bytes"), TIGHT, tmp_path), expected)
    assert not caplog.records
    assert list(tmp_path.iterdir()) == [path]


def test_the_words_of_these_tests_are_tricky():
    assert any(unicodedata.combining(character) for word in TRICKY for character in word)
    assert any(ord(character) > 0xFFFF for word in TRICKY for character in word)


def test_a_question_of_which_nothing_is_left_is_named_with_its_file_or_read_as_a_stand_in(caplog):
    asked = [example("who ?", "the kite"), Example("nothing", "\x07\u200b", "the kite", source="dev.json")]
    with pytest.raises(DataError, match=r"^dev\.json: question 'nothing' has no character .*leave it out"):
        make_windows(asked, fixed_tokenizer("wordpiece"), TIGHT)
    windows = make_windows(asked, fixed_tokenizer("wordpiece"), TIGHT, stand_in=STAND_IN)
    assert windows.question_ids(1).tolist() == tokens_of("wordpiece", "?")
    assert caplog.messages == ["questions without a character that the tokenizer reads: 1 of 2; read as '?'"]
    assert list(windows.stand_ins) == list(windows.selected({0: np.array([True, True])}, 2).stand_ins) == [1]


def test_questions_that_lose_their_end_are_counted_in_one_warning(caplog):
    asked = [example(question, "the kite") for question in ("who ?", "who " * 9, "the " * 20, "who " * 8)]
    assert make_windows(asked, fixed_tokenizer("wordpiece"), TIGHT).questions_cut == 2
    assert [record.getMessage() for record in caplog.records] == [
        "questions longer than 8 tokens: 2 of 4; the rest of them is not read"
    ]
    caplog.clear()
    make_windows(asked[::3], fixed_tokenizer("wordpiece"), TIGHT)
    make_windows(asked, fixed_tokenizer("wordpiece"), TIGHT, warn=False)
    assert not caplog.records
