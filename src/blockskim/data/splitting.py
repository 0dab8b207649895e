"""Parts of data, held out or chosen at random; without any state: the same files give the same part anywhere."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from blockskim.data.examples import Example
from blockskim.errors import ConfigError


def split_by_article(
    examples: Iterable[Example], fraction: float, seed: int = 0
) -> tuple[list[Example], list[Example]]:
    """Hold out about ``fraction`` of the articles, so that no held-out context was trained on.

    An example's article is its title, or its context where the data has one title or none for everything. Whether an
    article is held out depends on its name and the seed alone.

    Args:
        examples: of one or several files; those of one format share titles.
        fraction: of the articles to hold out, from 0 to below 1.
        seed: another seed gives another split.

    Returns:
        The examples to train on, and those held out.

    Raises:
        ConfigError: the fraction is impossible.
    """
    if not 0.0 <= fraction < 1.0:
        raise ConfigError(f"the held-out fraction is {fraction}; it must be at least 0 and below 1")
    known = list(examples)
    contexts: dict[str, set[str]] = {}
    for example in known:
        contexts.setdefault(example.title, set()).add(example.context)
    sizes = Counter({title: len(texts) for title, texts in contexts.items()})
    train: list[Example] = []
    held_out: list[Example] = []
    for example in known:
        # A title over a large share of all contexts names a data set, not an article.
        named = example.title and sizes[example.title] <= max(100, 0.02 * sizes.total())
        article = example.title if named else example.context
        (held_out if place(article, seed) < fraction else train).append(example)
    return train, held_out


def sample_examples(examples: Sequence[Example], count: int | None, seed: int) -> list[Example]:
    """At most ``count`` examples, chosen at random from all, in their order; all when it is None."""
    if count is None or count >= len(examples):
        return list(examples)
    chosen = np.random.default_rng(seed).choice(len(examples), count, replace=False)
    return [examples[index] for index in sorted(chosen.tolist())]


def place(name: str, seed: int) -> float:
    """A number from 0 to 1 that depends on the name and the seed alone, to choose a share of many names by."""
    digest = hashlib.sha256(f"{seed}\n{name}".encode()).digest()
    return int.from_bytes(digest[:8]) / 2.0**64
