"""Parts of data, held out or chosen at random; without any state: the same files give the same part anywhere."""

import hashlib
from array import array
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from blockskim.data.examples import Example
from blockskim.errors import ConfigError

_MIXED = np.uint64(0x9E3779B97F4A7C15)
"""An odd number whose multiples are spread over all numbers of 64 bits."""


LARGEST_ARTICLE = 100
LARGEST_SHARE = 0.1
"""A title over more contexts than both, the share being of its file's, names a data set and not an article."""


def split_by_article(
    examples: Iterable[Example], fraction: float, seed: int = 0
) -> tuple[list[Example], list[Example]]:
    """Hold out about ``fraction`` of the articles, so that no held-out context is trained on.

    An example's article is its title, or its context where its file has a single title or none, or the title is over
    too many of the file's contexts for an article (``LARGEST_ARTICLE``, ``LARGEST_SHARE``). So articles are chosen file
    by file. Then every example goes whose context is held out anywhere. What is held out of a file alone is held out of
    it beside other files, too, and so may be what has a context in common with these; a larger fraction holds out what
    a smaller one does, and more.

    Args:
        examples: of one or several files, which are told apart by ``source``.
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
        examples: of one or several files, which are told apart by ``source``. They are read once.
        fraction: of the articles to hold out, from 0 to below 1.
        seed: another seed gives another split.

    Returns:
        Shape: (examples,)

    Raises:
        ConfigError: the fraction is impossible.
    """
    if not 0.0 <= fraction < 1.0:
        raise ConfigError(f"the held-out fraction is {fraction}; it must be at least 0 and below 1")
    numbers: dict[str, int] = {}
    of_file, titles, contexts, titled = array("q"), array("Q"), array("Q"), array("b")
    for example in examples:
        of_file.append(numbers.setdefault(example.source, len(numbers)))
        titles.append(_number(example.title, seed))
        contexts.append(_number(example.context, seed))
        titled.append(bool(example.title))
    files, title, context = np.array(of_file, dtype=np.int64), _numbers(titles), _numbers(contexts)
    named = np.array(titled, dtype=bool) & _is_article(files, title, context)
    places = np.where(named, title, context).astype(np.float64) / 2.0**64
    # A text may stand in several files, or under several titles.
    return np.isin(context, context[places < fraction])


def _is_article(
    files: NDArray[np.int64], titles: NDArray[np.uint64], contexts: NDArray[np.uint64]
) -> NDArray[np.bool_]:
    """Whether the title of each example names an article of its file and not the whole, or much, of a data set.

    Args:
        files: number of each example's file, from 0.
        titles: number of its title.
        contexts: number of its context.

    Returns:
        Shape: (examples,)
    """
    # Names are told apart by their numbers, of which two are the same by chance once in many billion names; so are
    # titles of two files, once the file's number has a part in them.
    keys = titles ^ (files.astype(np.uint64) * _MIXED)
    pairs, at = np.unique(np.stack([keys, contexts], 1), axis=0, return_index=True)
    found, first, sizes = np.unique(pairs[:, 0], return_index=True, return_counts=True)
    contexts_of_file, titles_of_file = np.bincount(files[at]), np.bincount(files[at][first])
    most = np.maximum(LARGEST_ARTICLE, LARGEST_SHARE * contexts_of_file)
    single = titles_of_file[files] == 1
    small: NDArray[np.bool_] = sizes[np.searchsorted(found, keys)] <= most[files]
    return small & ~single


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
