"""Parts of data, held out or chosen at random; without any state: the same files give the same part anywhere."""

import hashlib
from array import array
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

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
    known = list(examples)
    train: list[Example] = []
    chosen: list[Example] = []
    for example, out in zip(known, held_out(known, fraction, seed).tolist(), strict=True):
        (chosen if out else train).append(example)
    return train, chosen


def held_out(examples: Iterable[Example], fraction: float, seed: int = 0) -> NDArray[np.bool_]:
    """Which examples ``split_by_article`` holds out. Memory holds a few numbers of each.

    Args:
        examples: of one or several files; those of one format share titles. They are read once.
        fraction: of the articles to hold out, from 0 to below 1.
        seed: another seed gives another split.

    Returns:
        Shape: (examples,)

    Raises:
        ConfigError: the fraction is impossible.
    """
    if not 0.0 <= fraction < 1.0:
        raise ConfigError(f"the held-out fraction is {fraction}; it must be at least 0 and below 1")
    titles, contexts, titled = array("Q"), array("Q"), array("b")
    for example in examples:
        titles.append(_number(example.title, seed))
        contexts.append(_number(example.context, seed))
        titled.append(bool(example.title))
    # Names are told apart by their numbers, of which two are the same by chance once in many billion names.
    pairs = np.unique(np.stack([_numbers(titles), _numbers(contexts)], 1), axis=0)
    found, counts = np.unique(pairs[:, 0], return_counts=True)
    sizes = counts[np.searchsorted(found, _numbers(titles))]
    # A title over a large share of all contexts names a data set, not an article.
    named = np.array(titled, dtype=bool) & (sizes <= max(100, 0.02 * len(pairs)))
    places = np.where(named, _numbers(titles), _numbers(contexts)).astype(np.float64) / 2.0**64
    chosen: NDArray[np.bool_] = places < fraction
    return chosen


def sample_examples(examples: Sequence[Example], count: int | None, seed: int) -> list[Example]:
    """At most ``count`` examples, chosen at random from all, in their order; all when it is None."""
    if count is None or count >= len(examples):
        return list(examples)
    chosen = np.random.default_rng(seed).choice(len(examples), count, replace=False)
    return [examples[index] for index in sorted(chosen.tolist())]


def place(name: str, seed: int) -> float:
    """A number from 0 to 1 that depends on the name and the seed alone, to choose a share of many names by."""
    return _number(name, seed) / 2.0**64


def _number(name: str, seed: int) -> int:
    """A number below 2**64 that depends on the name and the seed alone."""
    return int.from_bytes(hashlib.sha256(f"{seed}\n{name}".encode("utf-8", "surrogatepass")).digest()[:8])


def _numbers(values: "array[int]") -> NDArray[np.uint64]:
    return np.array(values, dtype=np.uint64)
