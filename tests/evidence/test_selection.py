from itertools import repeat

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockskim.evidence.options import Budget, EvidenceOptions, as_budget
from blockskim.evidence.selection import Room, ScoredText, room_for, select
from blockskim.evidence.sentences import split_sentences
from light_answerers import letters

TEXT = "# Title\nOne one. Two two two. Three. — Four four."
SPANS = [(0, 7), (8, 16), (17, 29), (30, 36), (37, 38), (39, 49)]


def text(*scores):
    return ScoredText(TEXT, SPANS, np.array(scores))


SCORED = text(0.1, 0.9, 0.3, 0.5, 0.99, 0.7)


def chosen(*documents, least=0.0, gap=None, **wishes):
    documents, options = documents or (SCORED,), EvidenceOptions(**wishes)
    return [dict(own) for own in select(documents, options, least, room_for(documents, options, letters(), gap))]


def test_the_best_above_the_threshold_and_no_mere_dash():
    assert chosen(least=0.5) == [{1: "evidence", 3: "evidence", 5: "evidence"}]
    assert chosen(top_k=2) == [{1: "evidence", 5: "evidence"}]
    assert chosen(least=0.95) == [{}]


def test_over_documents_the_best_come_first_and_of_equals_the_first():
    assert chosen(SCORED, text(0, 0.9, 0.95, 0, 0, 0), top_k=2) == [{1: "evidence"}, {2: "evidence"}]
    assert chosen(SCORED, SCORED, top_k=1) == [{1: "evidence"}, {}]


def test_what_does_not_fit_makes_room_for_what_does():
    # The best has 8 characters, the next 10, the one after that 6.
    assert chosen(budget="14 characters") == [{1: "evidence", 3: "evidence"}]
    # The same in tokens, which are letters here.
    assert chosen(budget="13 tokens") == [{1: "evidence", 3: "evidence"}]
    assert chosen(budget="1 characters") == [{}]


def test_context_comes_along_if_it_fits_and_counts():
    assert chosen(top_k=1, context=1) == [{0: "context", 1: "evidence", 2: "context"}]
    assert chosen(top_k=1, context=1, budget="20 characters") == [{1: "evidence"}]
    # What was context becomes evidence, and brings its own.
    found = chosen(text(0, 0.9, 0.8, 0, 0, 0), top_k=2, context=1)
    assert found == [{0: "context", 1: "evidence", 2: "evidence", 3: "context"}]


def test_titles_and_a_wish_of_the_caller():
    assert chosen(top_k=1, keep="titles") == [{0: "kept", 1: "evidence"}]
    assert chosen(top_k=1, keep=lambda sentence: "Two" in sentence) == [{1: "evidence", 2: "kept"}]
    assert chosen(least=0.95, keep="titles") == [{}]
    for line_end in ("\n", "\r\n", " \t\n", "\u2028"):
        plain = two_lines("A kite", line_end)
        assert chosen(plain, top_k=1, keep="titles") == [{0: "kept", 1: "evidence"}]
    for line, line_end in (("A kite.", "\n"), ("A kite", " ")):
        assert chosen(two_lines(line, line_end), top_k=1, keep="titles") == [{1: "evidence"}]


def test_what_looks_like_a_heading_in_code_is_none():
    """Nor is a fence that is the first line."""
    code = "```python\n# Read it\nx = 1\n```"
    indented = "    # Read it\n\t# again"
    for text in (
        f"{code}\nIt is red.\n\n## The kite\n{indented}\nIt is big.",
        "~~~\n# x\n~~~\n  # The kite\nIt is big.",
    ):
        spans = split_sentences(text)
        parts = [text[start:end] for start, end in spans]
        scores = np.array([float(part == "It is big.") for part in parts])
        (found,) = chosen(ScoredText(text, spans, scores), top_k=1, keep="titles")
        kept = {parts[number].lstrip("# "): role for number, role in found.items()}
        assert kept == {"The kite": "kept", "It is big.": "evidence"}


@pytest.mark.parametrize("budget", [None, "100000 characters"])
def test_wide_context_takes_no_longer_than_narrow_one(budget):
    """A time that grew with the square of the sentences would let this test run for many minutes."""
    count = 60_000
    text = ScoredText("A b. " * count, [(5 * n, 5 * n + 4) for n in range(count)], np.arange(count, 0, -1) / count)
    (found,) = chosen(text, context=10**9, budget=budget, gap=" ")
    assert len(found) == (count if budget is None else 20_000)
    assert set(found.values()) == {"evidence"}


def two_lines(first, line_end):
    begin = len(first + line_end)
    spans = [(0, len(first)), (begin, begin + 10)]
    return ScoredText(first + line_end + "It is red.", spans, np.array([0.0, 1.0]))


def test_gaps_and_what_stands_between_count_where_texts_are_joined():
    gap = " ... "
    # 8 characters, a gap of 5, and 6.
    assert chosen(budget="19 characters", gap=gap, least=0.4)[0].keys() == {1, 3}
    assert chosen(budget="18 characters", gap=gap, least=0.4)[0].keys() == {1}
    # Between neighbours one blank: 8, 1, 12.
    near = text(0, 0.9, 0.8, 0, 0, 0)
    assert chosen(near, budget="21 characters", gap=gap, least=0.5)[0].keys() == {1, 2}
    assert chosen(near, budget="20 characters", gap=gap, least=0.5)[0].keys() == {1}


def test_a_gap_stands_for_what_a_splitter_left_out():
    menu = ScoredText("One. <nav> Two.", [(0, 4), (11, 15)], np.array([0.9, 0.8]))
    # 4, a gap of 5, and 4: not the 7 characters that were left out.
    assert chosen(menu, budget="13 characters", gap=" ... ")[0].keys() == {0, 1}
    assert chosen(menu, budget="12 characters", gap=" ... ")[0].keys() == {0}


def test_the_room_in_tokens_is_that_of_sentences_which_stand_alone():
    texts = [SCORED, ScoredText("Un 鳶鳶. One", [(0, 6), (7, 10)], np.zeros(2))]
    room = room_for(texts, EvidenceOptions(budget="9 tokens"), letters(), " a.")
    assert room == Room(9, [[6, 7, 10, 6, 1, 9], [5, 3]], [[0] * 5, [0]], 2)
    # Of a gap of white space there is no token, and of none at all neither.
    assert [room_for(texts, EvidenceOptions(budget="9 tokens"), letters(), gap).gap for gap in (" ", "")] == [0, 0]
    assert room_for(texts, EvidenceOptions(top_k=1), letters()) is None
    in_characters = room_for(texts, EvidenceOptions(budget=0.5), letters())
    assert in_characters == Room(29, [[7, 8, 12, 6, 1, 10], [6, 3]], [[1] * 5, [1]], None)


def test_a_sentence_of_which_the_tokenizer_leaves_nothing_takes_some_room_too():
    blank = ScoredText("\x07a\x07 \x08", [(0, 3), (4, 5)], np.zeros(2))
    assert room_for([blank], EvidenceOptions(budget="9 tokens"), letters()).sizes == [[1, 1]]


@st.composite
def documents(draw):
    """A document of random sentences, with a title or two and some without a word."""
    sentences = draw(
        st.lists(st.sampled_from(["One.", "Two two.", "Three.", "# Four", "—", "Five five five."]), max_size=8)
    )
    joined, spans = "", []
    for sentence in sentences:
        spans.append((len(joined), len(joined) + len(sentence)))
        joined += sentence + draw(st.sampled_from([" ", "\n\n", "", " <br> "]))
    scores = draw(st.lists(st.sampled_from([0.0, 0.2, 0.5, 0.9]), min_size=len(spans), max_size=len(spans)))
    return ScoredText(joined, spans, np.array(scores))


def size(document, own, between, numbers, gap):
    """What some sentences of a document take when they are put together, counted from the beginning."""
    total, before = 0, None
    for number in sorted(numbers):
        total += own[number]
        if before is not None and gap is not None:
            near = (
                number == before + 1
                and not document.text[document.spans[before][1] : document.spans[number][0]].strip()
            )
            total += between[before] if near else gap
        before = number
    return total


def by_hand(several, options, least, room):
    """The rule of ``select`` word for word, counting everything anew each time."""
    kept = [{} for _ in several]
    ranked = sorted(
        (-each.scores[number], place, number) for place, each in enumerate(several) for number in range(len(each.spans))
    )
    taken = 0
    for score, place, number in ranked:
        document, own = several[place], kept[place]
        words = document.text[slice(*document.spans[number])]
        if -score < least or taken == options.top_k or words == "—":
            continue
        near = range(number - options.context, number + options.context + 1)
        beside = {other: "context" for other in near if 0 <= other < len(document.spans) and other != number}
        if options.keep and "evidence" not in own.values():
            titles = (other for other, span in enumerate(document.spans) if document.text[slice(*span)] == "# Four")
            beside |= {other: "kept" for other in titles if other != number}
        for more in (beside, {}):
            tried = {**{number: "evidence"}, **more, **own, number: "evidence"}
            every = [tried if other is own else other for other in kept]
            if room is None or room.limit >= sum(map(size, several, room.sizes, room.between, every, repeat(room.gap))):
                kept[place] = tried
                taken += 1
                break
    return [dict(sorted(own.items())) for own in kept]


WISHES = st.fixed_dictionaries(
    {
        "context": st.integers(0, 9),
        "keep": st.sampled_from([None, lambda sentence: sentence == "# Four"]),
    },
    optional={
        "top_k": st.integers(1, 6),
        "budget": st.integers(1, 60).map("{} characters".format) | st.integers(1, 30).map("{} tokens".format),
    },
)
GAPS = st.sampled_from([None, "", " ", " [...] "])


@given(st.lists(documents(), min_size=1, max_size=3), WISHES, st.sampled_from([0.0, 0.2, 0.6]), GAPS)
def test_what_is_chosen_is_what_counting_anew_each_time_gives(several, wishes, least, gap):
    options = EvidenceOptions(**wishes)
    room = room_for(several, options, letters(), gap)
    assert select(several, options, least, room) == by_hand(several, options, least, room)


@pytest.mark.parametrize(
    ("budget_given", "amount", "unit"),
    [
        (0.3, 0.3, "share"),
        (1, 1.0, "share"),
        ("0.3", 0.3, "share"),
        (" 30 % ", 0.3, "share"),
        ("500 tokens", 500, "tokens"),
        ("1 token", 1, "tokens"),
        ("7 characters", 7, "characters"),
        ("7chars", 7, "characters"),
    ],
)
def test_amounts(budget_given, amount, unit):
    budget = as_budget(budget_given)
    assert (budget.amount, budget.unit) == (pytest.approx(amount), unit)


def test_a_share_is_of_the_characters():
    assert Budget(0.3, "share").limit(10) == 3
    assert Budget(0.29, "share").limit(100) == 29
    assert Budget(0.3, "share").limit(9) == 2
    assert Budget(7, "tokens").limit(100) == 7
