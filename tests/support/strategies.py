"""Hypothesis strategies and parametrisations that the model tests share."""

import itertools
import os
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st

from tiny_models import ALIGNMENTS, FAMILIES, INPUT_SETS

QUICK_FAMILIES = ("bert", "mpnet", "albert")
"""Families that differ most, for when there is little time."""

EACH = 5
"""Of so many pairs of values one is quick; odd, so that both alignments are met."""


def families(names: Iterable[str]) -> pytest.MarkDecorator:
    """Runs a test for each family."""
    return pytest.mark.parametrize(
        "family", [pytest.param(name, marks=quick(name in QUICK_FAMILIES)) for name in names]
    )


def quick(yes: bool) -> tuple[pytest.MarkDecorator, ...]:
    """Marks of what runs in every run, or of what waits for a thorough one."""
    return () if yes else (pytest.mark.slow,)


def pairs(names: tuple[str, str], first: Iterable[Any], second: Iterable[Any]) -> pytest.MarkDecorator:
    """Runs a test for each value of one with each of another; quick are as many that each value is in one of them."""
    every = itertools.product(enumerate(first), enumerate(second))
    return pytest.mark.parametrize(
        names,
        [
            pytest.param(one, other, id=f"{name_of(one)}-{name_of(other)}", marks=quick((row + column) % EACH == 0))
            for (row, one), (column, other) in every
        ],
    )


def name_of(value: Any) -> str:
    """How a value is called in the name of a test."""
    if isinstance(value, tuple):
        return "+".join(value)
    return getattr(value, "__name__", str(value))


def combinations() -> list[Any]:
    """Families, inputs and alignments, so that any two values of two of them meet; all three in a search."""
    if os.environ.get("HYPOTHESIS_PROFILE") == "search":
        return list(itertools.product(FAMILIES, INPUT_SETS, ALIGNMENTS))
    every = itertools.product(enumerate(FAMILIES), enumerate(INPUT_SETS))
    return [
        pytest.param(
            family,
            inputs,
            ALIGNMENTS[(row + column) % 2],
            id="-".join([family, name_of(inputs), ALIGNMENTS[(row + column) % 2]]),
            marks=quick((row + column) % EACH == 0),
        )
        for (row, family), (column, inputs) in every
    ]


every_family = families(FAMILIES)
every_input = pytest.mark.parametrize("inputs", INPUT_SETS, ids="+".join)
every_alignment = pytest.mark.parametrize("alignment", ALIGNMENTS)
every_family_and_input = pairs(("family", "inputs"), FAMILIES, INPUT_SETS)

# What a family does with attention, what a predictor sees and where blocks begin are three modules: what goes wrong
# between them goes wrong between two.
every_combination = pytest.mark.parametrize(("family", "inputs", "alignment"), combinations())

# The models' properties are run for every family, input and alignment, so a few examples of each will do.
few = settings(max_examples=max(3, settings.default.max_examples // 16))

sample_sizes = st.tuples(st.integers(0, 6), st.integers(0, 44))
batches = st.lists(sample_sizes, min_size=1, max_size=4)
seeds = st.integers(0, 10_000)
thresholds = st.floats(0.01, 1.0) | st.lists(st.floats(0.01, 1.0), min_size=2, max_size=2)
