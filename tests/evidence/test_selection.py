import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockskim.evidence.options import Budget, EvidenceOptions, as_budget
from blockskim.evidence.selection import Joining, ScoredText, select

TEXT = "# Title\nOne one. Two two two. Three. — Four four."
SPANS = [(0, 7), (8, 16), (17, 29), (30, 36), (37, 38), (39, 49)]
STARTS = np.array([0, 2, 8, 12, 17, 21, 25, 30, 37, 39, 44])


def text(*scores):
    return ScoredText(TEXT, SPANS, np.array(scores), STARTS)


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
    plain = ScoredText("A kite\nIt is red.", [(0, 6), (7, 17)], np.array([0.0, 1.0]), np.array([0]))
    assert chosen(plain, top_k=1, keep="titles") == [{0: "kept", 1: "evidence"}]
    sentence = ScoredText("A kite.\nIt is red.", [(0, 7), (8, 18)], np.array([0.0, 1.0]), np.array([0]))
    assert chosen(sentence, top_k=1, keep="titles") == [{1: "evidence"}]


def test_gaps_and_what_stands_between_count_where_texts_are_joined():
    joining = Joining(characters=5, tokens=1)
    # 8 characters, a gap of 5, and 6.
    assert chosen(budget="19 characters", joining=joining, least=0.4)[0].keys() == {1, 3}
    assert chosen(budget="18 characters", joining=joining, least=0.4)[0].keys() == {1}
    # Between neighbours one blank: 8, 1, 12.
    near = text(0, 0.9, 0.8, 0, 0, 0)
    assert chosen(near, budget="21 characters", joining=joining, least=0.5)[0].keys() == {1, 2}
    assert chosen(near, budget="20 characters", joining=joining, least=0.5)[0].keys() == {1}


@st.composite
def documents(draw):
    """A document of random sentences, with a title or two and some without a word."""
    sentences = draw(
        st.lists(st.sampled_from(["One.", "Two two.", "Three.", "# Four", "—", "Five five five."]), max_size=8)
    )
    joined, spans = "", []
    for sentence in sentences:
        spans.append((len(joined), len(joined) + len(sentence)))
        joined += sentence + draw(st.sampled_from([" ", "\n\n", ""]))
    scores = draw(st.lists(st.sampled_from([0.0, 0.2, 0.5, 0.9]), min_size=len(spans), max_size=len(spans)))
    starts = sorted(draw(st.sets(st.integers(0, max(0, len(joined) - 1)), max_size=12)))
    return ScoredText(joined, spans, np.array(scores), np.array(starts, dtype=np.int64))


def size(document, numbers, in_tokens, gap):
    """What some sentences of a document take when they are put together, counted from the beginning."""

    def count(start, end):
        return sum(start <= token < end for token in document.token_starts.tolist()) if in_tokens else end - start

    total, before = 0, None
    for number in sorted(numbers):
        start, end = document.spans[number]
        total += count(start, end)
        if before is not None and gap is not None:
            total += count(document.spans[before][1], start) if number == before + 1 else gap
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
