"""The vectorised span search against the obvious loop."""

import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from blockskim.inference.spans import best_spans


def by_loop(starts, ends, context, max_length, n_best):
    """Every allowed span with its score, best first."""
    found = []
    for first in range(len(starts)):
        for last in range(first, min(first + max_length, len(starts))):
            score = starts[first] + ends[last]
            if context[first] and context[last] and math.isfinite(score):
                found.append((score, first, last))
    return sorted(found, reverse=True)[:n_best]


@given(
    tokens=st.integers(1, 25),
    max_length=st.integers(1, 30),
    n_best=st.integers(1, 8),
    seed=st.integers(0, 10_000),
    dropped=st.floats(0, 0.9),
)
def test_the_best_spans_are_those_of_a_loop_over_all(tokens, max_length, n_best, seed, dropped):
    generator = torch.Generator().manual_seed(seed)
    starts, ends = torch.randn(2, 3, tokens, generator=generator)
    gone = torch.rand(3, tokens, generator=generator) < dropped
    starts, ends = starts.masked_fill(gone, -torch.inf), ends.masked_fill(gone, -torch.inf)
    context = torch.rand(3, tokens, generator=generator) < 0.8
    spans = best_spans(starts, ends, context, max_length, n_best)
    for row in range(3):
        expected = by_loop(starts[row].tolist(), ends[row].tolist(), context[row], max_length, n_best)
        found = [
            (score, first, last)
            for score, first, last in zip(
                spans.scores[row].tolist(), spans.starts[row].tolist(), spans.ends[row].tolist(), strict=True
            )
            if math.isfinite(score)
        ]
        assert len(found) == len(expected)
        for (score, first, last), (wanted, *_) in zip(found, expected, strict=True):
            assert math.isclose(score, wanted, abs_tol=1e-5)
            assert math.isclose(float(starts[row, first] + ends[row, last]), score, abs_tol=1e-5)
            assert first <= last < first + max_length
            assert context[row, first] and context[row, last]


def test_dropped_tokens_are_never_candidates_even_when_nothing_else_is_left():
    gone = torch.full((1, 4), -torch.inf)
    spans = best_spans(gone, gone, torch.ones(1, 4), 3, 2)
    assert not spans.scores.isfinite().any()
