"""The vectorised span search against the obvious loop."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockskim.inference.spans import best_spans


def by_loop(starts, ends, context, max_length, n_best, passages=None):
    """Every allowed span with its score: best first, among equals the first to begin, then the shortest."""
    found = []
    for first in range(len(starts)):
        for last in range(first, min(first + max_length, len(starts))):
            score = starts[first] + ends[last]
            together = passages is None or passages[first] == passages[last]
            if context[first] and context[last] and together and math.isfinite(score):
                found.append((float(score), first, last))
    return sorted(found, key=lambda span: (-span[0], span[1], span[2]))[:n_best]


def found_by(starts, ends, context, max_length, n_best, passages=None):
    """What the search finds in each row."""
    spans = best_spans(starts, ends, context, max_length, n_best, passages)
    rows = zip(spans.scores.tolist(), spans.starts.tolist(), spans.ends.tolist(), strict=True)
    return [[span for span in zip(*row, strict=True) if math.isfinite(span[0])] for row in rows]


@pytest.mark.parametrize("decimals", [0, 8])
@given(
    tokens=st.integers(1, 25),
    max_length=st.integers(1, 30),
    n_best=st.integers(1, 40),
    seed=st.integers(0, 10_000),
    dropped=st.floats(0, 0.9),
)
def test_the_best_spans_are_those_of_a_loop_over_all(decimals, tokens, max_length, n_best, seed, dropped):
    generator = np.random.default_rng(seed)
    # Of whole numbers many spans have the same score.
    starts, ends = generator.standard_normal((2, 3, tokens)).astype(np.float32).round(decimals)
    gone = generator.random((3, tokens)) < dropped
    starts[gone] = ends[gone] = -np.inf
    context = generator.random((3, tokens)) < 0.8
    expected = [by_loop(starts[row], ends[row], context[row], max_length, n_best) for row in range(3)]
    assert found_by(starts, ends, context, max_length, n_best) == expected


def test_dropped_tokens_are_never_candidates_even_when_nothing_else_is_left():
    gone = np.full((1, 4), -np.inf, dtype=np.float32)
    spans = best_spans(gone, gone, np.ones((1, 4), dtype=bool), 3, 2)
    assert not np.isfinite(spans.scores).any()


def test_tokens_outside_of_the_context_may_have_any_logits():
    """Padding that somebody else computed, say."""
    starts = np.array([[np.inf, 1.0, np.nan]], dtype=np.float32)
    assert found_by(starts, starts, np.array([[False, True, False]]), 3, 2) == [[(2.0, 1, 1)]]


@given(tokens=st.integers(1, 25), max_length=st.integers(1, 30), n_best=st.integers(1, 9), seed=st.integers(0, 10_000))
def test_a_span_lies_in_one_passage(tokens, max_length, n_best, seed):
    generator = np.random.default_rng(seed)
    starts, ends = generator.normal(size=(2, 2, tokens)).round(1).astype(np.float32)
    context = generator.random((2, tokens)) < 0.9
    passages = np.cumsum(generator.random((2, tokens)) < 0.2, axis=1)
    found = found_by(starts, ends, context, max_length, n_best, passages)
    for row in range(2):
        wanted = by_loop(starts[row], ends[row], context[row], max_length, n_best, passages[row])
        assert [span[1:] for span in found[row]] == [span[1:] for span in wanted]
        assert [span[0] for span in found[row]] == pytest.approx([span[0] for span in wanted], abs=1e-5)
