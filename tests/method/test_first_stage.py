"""What of a long document is worth reading."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockskim.method import first_stage
from blockskim.method.first_stage import DECAY, REACH, block_scores, chosen_blocks

SIZE = 4


def document(blocks=40, **places):
    """Blocks of a filler, with other tokens at some places: ``{name: token}`` with names such as ``at_17``."""
    ids = np.full(blocks * SIZE, 1)
    for name, token in places.items():
        ids[int(name.removeprefix("at_"))] = token
    return ids


def scored(*arguments):
    """The scores alone."""
    return block_scores(*arguments)[0]


def test_the_block_with_the_words_of_the_question_is_best():
    scores = scored(document(at_82=7, at_83=8, at_20=8), np.array([7, 8, 9]), SIZE)
    assert scores.argmax() == 82 // SIZE
    assert scores[20 // SIZE] > scores[0]


def test_rare_words_weigh_more():
    common = {f"at_{place}": 8 for place in range(0, 100, 9)}
    scores = scored(document(at_150=7, **common), np.array([7, 8]), SIZE)
    assert scores.argmax() == 150 // SIZE


def test_words_that_are_everywhere_or_nowhere_weigh_nothing():
    assert scored(document(), np.array([1]), SIZE).tolist() == [0.0] * 40
    assert scored(document(), np.array([5]), SIZE).tolist() == [0.0] * 40


def test_a_document_without_tokens_has_no_blocks():
    nothing = np.zeros(0, dtype=np.int64)
    with np.errstate(all="raise"):
        for embed in (None, lambda ids: np.ones((len(ids), 2), dtype=np.float32)):
            assert scored(nothing, np.array([7, 8]), SIZE, embed).tolist() == []


def test_neighbours_of_a_good_block_are_good_too():
    scores = scored(document(at_80=7), np.array([7]), SIZE)
    best = scores[20]
    for distance in range(1, REACH + 1):
        assert scores[20 - distance] == scores[20 + distance] == pytest.approx(best * DECAY**distance)
    assert scores[20 - REACH - 1] == scores[20 + REACH + 1] == 0


def test_likeness_counts_where_there_are_embeddings():
    generator = np.random.default_rng(0)
    ids = np.arange(100, 260)
    ids[80] = 7
    table = generator.normal(size=(300, 32)).astype(np.float32)
    table[7] = table[5] + 0.1 * table[6]
    question = np.array([5])
    assert scored(ids, question, SIZE).max() == 0
    scores = scored(ids, question, SIZE, table.__getitem__)
    assert scores.argmax() == 80 // SIZE


@given(
    tokens=st.lists(st.integers(0, 30), min_size=1, max_size=120),
    question=st.lists(st.integers(0, 30), min_size=1, max_size=8),
    more=st.integers(0, 3),
)
def test_scores_depend_on_the_sets_of_words_alone(tokens, question, more):
    context, asked = np.array(tokens), np.array(question)
    scores = scored(context, asked, SIZE)
    assert scores.shape == (-(-len(tokens) // SIZE),)
    assert np.isfinite(scores).all()
    assert (scores >= 0).all()
    assert scored(context, np.array(question + question[:more]), SIZE).tolist() == scores.tolist()


@given(scores=st.lists(st.floats(0, 9), min_size=1, max_size=50), threshold=st.floats(0, 1), least=st.integers(0, 60))
def test_the_best_blocks_are_chosen(scores, threshold, least):
    values = np.array(scores)
    chosen = chosen_blocks(values, threshold, least)
    assert chosen.sum() >= min(least, len(scores))
    assert chosen[values >= threshold * values.max()].all()
    if not chosen.all():
        assert values[chosen].min(initial=np.inf) >= values[~chosen].max()


def test_the_arithmetic_is_one_product_of_distinct_tokens():
    context, question = np.array([1, 1, 2, 3]), np.array([4, 4, 5])
    assert block_scores(context, question, SIZE, lambda ids: np.ones((len(ids), 16), np.float32))[1] == 2 * 2 * 3 * 16
    assert block_scores(context, question, SIZE)[1] == 0


@given(st.lists(st.integers(0, 9), min_size=1, max_size=60), st.sampled_from([3, 4, 8]))
def test_a_long_document_is_laid_out_in_pieces(tokens, size):
    rows = np.random.default_rng(0).normal(size=(10, 6)).astype(np.float32)
    question = np.arange(5)
    whole, _ = block_scores(np.array(tokens), question, size, lambda ids: rows[ids])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(first_stage, "MOST_TOKENS", 10)
        pieces, _ = block_scores(np.array(tokens), question, size, lambda ids: rows[ids])
    assert (whole == pieces).all()
