import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockskim.evidence.options import Budget, EvidenceOptions, as_budget
from blockskim.evidence.selection import Joining, ScoredText, select, select_counted

TEXT = "# Title\nOne one. Two two two. Three. — Four four."
SPANS = [(0, 7), (8, 16), (17, 29), (30, 36), (37, 38), (39, 49)]
ENDS = np.array([1, 7, 11, 16, 20, 24, 29, 36, 38, 43, 49])


def text(*scores):
    return ScoredText(TEXT, SPANS, np.array(scores), ENDS)


SCORED = text(0.1, 0.9, 0.3, 0.5, 0.99, 0.7)


def chosen(*documents, least=0.0, joining=None, **wishes):
    return [dict(own) for own in select(documents or (SCORED,), EvidenceOptions(**wishes), least, joining)]


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
    assert chosen(budget="3 tokens", top_k=2) == [{1: "evidence", 3: "evidence"}]
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


def two_lines(first, line_end):
    begin = len(first + line_end)
    spans = [(0, len(first)), (begin, begin + 10)]
    return ScoredText(first + line_end + "It is red.", spans, np.array([0.0, 1.0]), np.array([1]))


def test_gaps_and_what_stands_between_count_where_texts_are_joined():
    joining = Joining(characters=5, tokens=1)
    # 8 characters, a gap of 5, and 6.
    assert chosen(budget="19 characters", joining=joining, least=0.4)[0].keys() == {1, 3}
    assert chosen(budget="18 characters", joining=joining, least=0.4)[0].keys() == {1}
    # Between neighbours one blank: 8, 1, 12.
    near = text(0, 0.9, 0.8, 0, 0, 0)
    assert chosen(near, budget="21 characters", joining=joining, least=0.5)[0].keys() == {1, 2}
    assert chosen(near, budget="20 characters", joining=joining, least=0.5)[0].keys() == {1}


def test_a_gap_stands_for_what_a_splitter_left_out():
    joining = Joining(characters=5, tokens=1)
    menu = ScoredText("One. <nav> Two.", [(0, 4), (11, 15)], np.array([0.9, 0.8]), np.array([4, 10, 15]))
    # 4, a gap of 5, and 4: not the 7 characters that were left out.
    assert chosen(menu, budget="13 characters", joining=joining)[0].keys() == {0, 1}
    assert chosen(menu, budget="12 characters", joining=joining)[0].keys() == {0}


def test_tokens_that_begin_at_the_blank_before_a_word_count_to_its_sentence():
    # As some tokenizers have it: "▁One." from 0 to 4, "▁Two" from 4 to 8, "▁two." from 8 to 13.
    document = ScoredText("One. Two two.", [(0, 4), (5, 13)], np.array([0.5, 0.9]), np.array([4, 8, 13]))
    assert document.sizes(in_tokens=True) == ([1, 2], [0])
    assert chosen(document, budget="1 tokens") == [{0: "evidence"}]


def test_what_is_over_a_budget_of_tokens_as_it_is_given_makes_room_for_what_fits():
    counted = []

    def count(chosen, more):
        counted.append(sum(SCORED.sizes(in_tokens=True)[0][number] + more for own in chosen for number in own))
        return counted[-1]

    def selected(budget, more):
        options = EvidenceOptions(budget=budget)
        return select_counted([SCORED], options, 0.0, lambda chosen: count(chosen, more))[0].keys()

    # The best two take 2 tokens each, the next 1.
    assert selected("4 tokens", 0) == {1, 5}
    # Each takes one more by itself: the best, and none of 2, but the one of 1.
    assert selected("5 tokens", 1) == {1, 3}
    assert counted[-1] <= 5
    # Nothing fits, however often it is tried.
    counted.clear()
    assert selected("1000 tokens", 1000) == set()
    assert len(counted) < 20


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
    ends = sorted(draw(st.sets(st.integers(1, max(1, len(joined))), max_size=12)))
    return ScoredText(joined, spans, np.array(scores), np.array(ends, dtype=np.int64))


def size(document, numbers, in_tokens, gap):
    """What some sentences of a document take when they are put together, counted from the beginning."""

    def count(start, end):
        return sum(start < token <= end for token in document.token_ends.tolist()) if in_tokens else end - start

    total, before = 0, None
    for number in sorted(numbers):
        start, end = document.spans[number]
        total += count(start, end)
        if before is not None and gap is not None:
            between = document.text[document.spans[before][1] : start]
            near = number == before + 1 and not between.strip()
            total += count(document.spans[before][1], start) if near else gap
        before = number
    return total


def by_hand(several, options, least, joining):
    """The rule of ``select`` word for word, counting everything anew each time."""
    in_tokens = options.limit is not None and options.limit.unit == "tokens"
    gap = None if joining is None else joining.tokens if in_tokens else joining.characters
    limit = np.inf if options.limit is None else options.limit.limit(sum(len(each.text) for each in several))
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
            used = sum(size(one, numbers, in_tokens, gap) for one, numbers in zip(several, every, strict=True))
            if used <= limit:
                kept[place] = tried
                taken += 1
                break
    return [dict(sorted(own.items())) for own in kept]


WISHES = st.fixed_dictionaries(
    {"context": st.integers(0, 2), "keep": st.sampled_from([None, lambda sentence: sentence == "# Four"])},
    optional={
        "top_k": st.integers(1, 6),
        "budget": st.integers(1, 60).map("{} characters".format) | st.integers(1, 12).map("{} tokens".format),
    },
)
JOININGS = st.none() | st.builds(Joining, st.integers(0, 12), st.integers(0, 4))


@given(st.lists(documents(), min_size=1, max_size=3), WISHES, st.sampled_from([0.0, 0.2, 0.6]), JOININGS)
def test_what_is_chosen_is_what_counting_anew_each_time_gives(several, wishes, least, joining):
    options = EvidenceOptions(**wishes)
    assert select(several, options, least, joining) == by_hand(several, options, least, joining)


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
