"""A batch of several jobs gives each what it would have got alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockskim.data.examples import Example
from blockskim.data.packed_inputs import join_packed
from blockskim.data.windows import WindowSettings, make_windows
from blockskim.inference.first_stage import Phase
from blockskim.serving.batch import run_batch
from blockskim.serving.fair_queue import Turn
from served import CountingBackend, plain_tokenizer

TOKENIZER = plain_tokenizer()
TEXT = "the kite, the nest and wales: 2,500 worms. " * 12


def turn(length, question="where is it?", start=0):
    """A turn over all windows of a text."""
    examples = [Example("0", question, TEXT[start : start + length])]
    windows = make_windows(examples, TOKENIZER, WindowSettings(60, 10, 20))
    return Turn(Phase(windows), 0, np.arange(len(windows)), int(windows.lengths.sum()))


def turns():
    texts = st.tuples(st.integers(1, 300), st.sampled_from(["who?", "where is the nest?"]), st.integers(0, 40))
    return st.lists(texts.map(lambda one: turn(*one)), min_size=1, max_size=5)


@given(turns(), st.sampled_from([None, 0.0, 0.3, 0.8]))
def test_each_gets_what_it_gets_alone(asked, thresholds):
    backend = CountingBackend()
    together, report = run_batch(backend, asked, thresholds)
    for one, result in zip(asked, together, strict=True):
        (alone,), _ = run_batch(backend, [one], thresholds)
        left, right = result.batch, alone.batch
        assert np.array_equal(left.indices, right.indices)
        assert np.array_equal(left.context_mask, right.context_mask)
        assert np.array_equal(left.scores.start_logits, right.scores.start_logits)
        assert np.array_equal(left.scores.end_logits, right.scores.end_logits)
        assert left.ranks == right.ranks
        for name in ("flops", "dense_flops", "tokens"):
            assert np.array_equal(getattr(left.scores.trace, name), getattr(right.scores.trace, name))
    assert report.jobs == len(asked)
    assert report.tokens == sum(one.tokens for one in asked)
    assert report.windows == sum(len(one.indices) for one in asked)
    seconds = sum(result.seconds for result in together)
    assert 0 < seconds <= report.seconds + 1e-9


@given(turns())
def test_joined_inputs_are_those_of_their_parts(asked):
    parts = [one.phase.windows.pack(one.indices) for one in asked]
    joined = join_packed(parts)
    assert joined.ids.tolist() == [number for part in parts for number in part.ids.tolist()]
    assert joined.lengths.tolist() == [number for part in parts for number in part.lengths.tolist()]
    row = first = 0
    documents = set()
    for part in parts:
        own = joined.documents[row : row + len(part.lengths)]
        assert not documents & set(own.tolist())
        documents |= set(own.tolist())
        for number in range(len(part.lengths)):
            asked_in = joined.questions[row][joined.question_exists[row]]
            assert asked_in.tolist() == part.questions[number][part.question_exists[number]].tolist()
            row += 1
        first += len(part.ids)
    assert joined.types is not None and first == len(joined.types)


def test_what_each_layer_dropped_is_counted():
    one = turn(300)
    backend = CountingBackend()
    _, report = run_batch(backend, [one], 0.5)
    scores = backend.score_windows(one.phase.windows.pack(one.indices), 0.5)
    context = int((scores.trace.layout.lengths * scores.trace.layout.droppable).sum())
    assert sum(report.dropped.values()) + report.kept == context
    assert set(report.dropped) == {1, 2}
    assert min(report.dropped.values()) > 0
    _, dense = run_batch(backend, [one], 0.0)
    assert (dense.dropped, dense.kept) == ({}, context)


def test_what_fails_together_runs_alone():
    backend = CountingBackend()
    asked = [turn(100), turn(3), turn(120)]
    backend.broken_length = int(asked[1].phase.windows.lengths[0])
    results, report = run_batch(backend, asked, None)
    assert [result.batch is not None for result in results] == [True, False, True]
    with pytest.raises(RuntimeError, match="broken"):
        raise results[1].error
    assert report.jobs == 3
    assert report.windows == sum(len(one.indices) for one in asked)
