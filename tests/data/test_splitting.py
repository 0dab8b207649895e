"""Held-out splits: by article, stateless, and complete."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockskim.data.examples import Example
from blockskim.data.splitting import held_out, place, sample_examples, split_by_article
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
    train, chosen = split_by_article(examples, fraction, seed)
    assert sorted(item.id for item in train + chosen) == sorted(item.id for item in examples)
    assert not {item.title for item in train} & {item.title for item in chosen}


def test_the_split_of_an_article_does_not_depend_on_what_else_is_read():
    whole, part = articles(200), articles(120)
    chosen = {item.id for item in split_by_article(whole, 0.3)[1]}
    assert {item.id for item in split_by_article(part, 0.3)[1]} == {item.id for item in part} & chosen
    assert 0.2 < len(chosen) / len(whole) < 0.4


@pytest.mark.parametrize("count", [20, 400])
def test_one_title_for_all_splits_by_context(count):
    train, chosen = split_by_article(articles(count, title="reddit"), 0.5)
    assert train
    assert chosen
    assert not {item.context for item in train} & {item.context for item in chosen}


def test_what_is_held_out_of_a_file_does_not_depend_on_files_with_other_texts_beside_it():
    own = [replace(item, source="own.json") for item in articles(150, title="my data")]
    large = [
        replace(item, id=f"large-{item.id}", context=f"large {item.context}", source="large.json")
        for item in articles(9000)
    ]
    together = {item.id for item in split_by_article(own + large, 0.1)[1]}
    for file in (own, large):
        assert {item.id for item in split_by_article(file, 0.1)[1]} == {item.id for item in file} & together


def test_a_text_of_two_files_is_held_out_of_both():
    by_title = [replace(item, source="titled.json") for item in articles(150)]
    # The same texts in files that are split by context, the one for its single title and the other for none.
    others = {
        "same.json": [replace(item, id=f"same {item.id}", title="data", source="same.json") for item in by_title],
        "none.json": [replace(item, id=f"none {item.id}", title="", source="none.json") for item in by_title[:90]],
    }
    train, chosen = split_by_article([*by_title, *others["same.json"], *others["none.json"]], 0.2)
    assert train
    assert not {item.context for item in train} & {item.context for item in chosen}
    together = {item.id for item in chosen}
    for file in (by_title, *others.values()):
        assert {item.id for item in split_by_article(file, 0.2)[1]} <= together


def test_a_text_under_two_titles_of_a_file_is_held_out_with_either():
    examples = [Example(f"{n} {m}", "?", f"text {n}", title=f"{n} {m}") for n in range(100) for m in range(2)]
    train, chosen = split_by_article(examples, 0.2)
    assert train and chosen
    assert not {item.context for item in train} & {item.context for item in chosen}


def test_an_article_that_is_a_few_percent_of_a_large_file_stays_whole():
    long = [Example(f"long {number}", "?", f"paragraph {number}", title="Long") for number in range(150)]
    held = [item.title == "Long" for item in split_by_article(articles(1500) + long, 0.5)[1]]
    assert sum(held) in (0, len(long))


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


def plainly_held_out(examples, fraction, seed):
    """The rule, in as few words as possible, with everything in memory."""
    contexts = {}
    for example in examples:
        contexts.setdefault(example.source, {}).setdefault(example.title, set()).add(example.context)

    def article(example):
        titles = contexts[example.source]
        most = max(100, 0.1 * sum(map(len, titles.values())))
        named = example.title and len(titles) > 1 and len(titles[example.title]) <= most
        return example.title if named else example.context

    out = {example.context for example in examples if place(article(example), seed) < fraction}
    return [example.context in out for example in examples]


@given(
    sizes=st.lists(
        st.tuples(st.sampled_from(["", "x", "y"]), st.sampled_from(["", "a", "b"]), st.integers(1, 260)), max_size=4
    ),
    fraction=st.floats(0, 0.95),
    seed=st.integers(0, 3),
)
def test_what_is_held_out_follows_the_rule(sizes, fraction, seed):
    examples = [
        Example(f"{number}", "?", f"context {title} {number // 2}", title=title, source=source)
        for source, title, count in sizes
        for number in range(count)
    ]
    assert held_out(iter(examples), fraction, seed).tolist() == plainly_held_out(examples, fraction, seed)


def test_halves_of_surrogate_pairs_are_no_hindrance():
    examples = [Example("1", "?", "\ud800 kite", title="\udc00")]
    assert held_out(examples, 0.0).tolist() == [False]
