"""Hypothesis strategies and parametrisations that the model tests share."""

import itertools
import os
from collections.abc import Sequence
from typing import TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st

from tiny_models import ALIGNMENTS, FAMILIES, INPUT_SETS

T, U = TypeVar("T"), TypeVar("U")

every_family = pytest.mark.parametrize("family", FAMILIES)
every_input = pytest.mark.parametrize("inputs", INPUT_SETS, ids="+".join)
every_alignment = pytest.mark.parametrize("alignment", ALIGNMENTS)


FEW_STEP = 5
"""Of so many pairs one is run where there is little time; odd, so that both alignments are met."""


def pairs(first: Sequence[T], second: Sequence[U]) -> list[tuple[T, U]]:
    """Each value of one with each of another; where there is little time each value of both in some pair."""
    step = FEW_STEP if os.environ.get("HYPOTHESIS_PROFILE") == "few" else 1
    every = itertools.product(enumerate(first), enumerate(second))
    return [(one, other) for (row, one), (column, other) in every if (row + column) % step == 0]


def combinations() -> list[tuple[str, tuple[str, ...], str]]:
    """Families, inputs and alignments, so that any two values of two of them meet.

    All three where there is time, and each value of each where there is little.
    """
    if os.environ.get("HYPOTHESIS_PROFILE") == "search":
        return list(itertools.product(FAMILIES, INPUT_SETS, ALIGNMENTS))
    families = list(FAMILIES)
    return [
        (family, inputs, ALIGNMENTS[(families.index(family) + INPUT_SETS.index(inputs)) % 2])
        for family, inputs in pairs(families, INPUT_SETS)
    ]


def with_each_input(families: Sequence[str]) -> pytest.MarkDecorator:
    """Runs a test for pairs of a family and inputs."""
    chosen = pairs(families, INPUT_SETS)
    return pytest.mark.parametrize(
        ("family", "inputs"), [pytest.param(*pair, id="-".join([pair[0], "+".join(pair[1])])) for pair in chosen]
    )


every_family_and_input = with_each_input(list(FAMILIES))

# What a family does with attention, what a predictor sees and where blocks begin are three modules: what goes wrong
# between them goes wrong between two.
every_combination = pytest.mark.parametrize(
    ("family", "inputs", "alignment"),
    [pytest.param(*values, id="-".join([values[0], "+".join(values[1]), values[2]])) for values in combinations()],
)

# The models' properties are run for every family, input and alignment, so a few examples of each will do.
few = settings(max_examples=max(3, settings.default.max_examples // 16))

sample_sizes = st.tuples(st.integers(0, 6), st.integers(0, 44))
batches = st.lists(sample_sizes, min_size=1, max_size=4)
seeds = st.integers(0, 10_000)
thresholds = st.floats(0.01, 1.0) | st.lists(st.floats(0.01, 1.0), min_size=2, max_size=2)
