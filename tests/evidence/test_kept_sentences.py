"""What more sentences take, against counting all of them anew."""

from hypothesis import given
from hypothesis import strategies as st

from blockskim.evidence.kept_sentences import KeptSentences

COUNT = 12
ROWS = st.tuples(st.integers(0, COUNT - 1), st.integers(1, COUNT)).map(
    lambda row: range(row[0], min(COUNT, row[0] + row[1]))
)


@given(
    st.lists(st.integers(0, 9), min_size=COUNT, max_size=COUNT),
    st.lists(st.integers(0, 3), min_size=COUNT - 1, max_size=COUNT - 1),
    st.integers(0, 5),
    st.lists(ROWS, max_size=5),
)
def test_what_a_row_takes_is_what_all_take_less_what_they_took(sizes, between, gap, rows):
    kept, before = KeptSentences(sizes, between, gap), set()
    for row in rows:
        together = kept.needed_at_first(sorted(before | {*row}))
        assert kept.needed(row) == together - kept.needed_at_first(sorted(before))
        kept.add_row(row, "context")
        before |= {*row}
        assert kept.roles.keys() == before


def test_what_is_kept_stays_what_it_is():
    kept = KeptSentences([1] * 5, [0] * 4, 0)
    kept.add([3, 1], "kept")
    kept.add_row(range(4), "context")
    kept.add([3, 4], "evidence")
    assert kept.roles == {0: "context", 1: "kept", 2: "context", 3: "kept", 4: "evidence"}
    assert kept.needed(range(5)) == 0
