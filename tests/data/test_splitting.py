"""Held-out splits: by article, stateless, and complete."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockskim.data.examples import Example
from blockskim.data.splitting import sample_examples, split_by_article
from blockskim.errors import ConfigError


def articles(count, questions=3, title="article {}"):
    return [
        Example(f"{number}-{question}", "?", f"context {number} {question % 2}", title=title.format(number))
        for number in range(count)
        for question in range(questions)
    ]


@given(fraction=st.floats(0, 0.95), seed=st.integers(0, 5))
def test_a_split_loses_nothing_and_cuts_no_article(fraction, seed):
    examples = articles(150)
    train, held_out = split_by_article(examples, fraction, seed)
    assert sorted(item.id for item in train + held_out) == sorted(item.id for item in examples)
    assert not {item.title for item in train} & {item.title for item in held_out}


def test_the_split_of_an_article_does_not_depend_on_what_else_is_read():
    whole, part = articles(200), articles(120)
    held_out = {item.id for item in split_by_article(whole, 0.3)[1]}
    assert {item.id for item in split_by_article(part, 0.3)[1]} == {item.id for item in part} & held_out
    assert 0.2 < len(held_out) / len(whole) < 0.4


def test_one_title_for_all_splits_by_context():
    train, held_out = split_by_article(articles(400, title="reddit"), 0.5)
    assert train
    assert held_out
    assert not {item.context for item in train} & {item.context for item in held_out}


@pytest.mark.parametrize("fraction", [-0.1, 1.0, 2.0, float("nan")])
def test_impossible_fractions_are_refused(fraction):
    with pytest.raises(ConfigError, match="fraction"):
        split_by_article(articles(3), fraction)


def test_examples_are_chosen_from_the_whole_file():
    everything = articles(20)
    chosen = sample_examples(everything, 5, seed=1)
    assert len(chosen) == 5
    assert chosen == [example for example in everything if example in chosen]
    assert chosen == sample_examples(everything, 5, seed=1)
    assert sample_examples(everything, 500, 0) == sample_examples(everything, None, 0) == everything
