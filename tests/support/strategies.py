"""Hypothesis strategies and parametrisations that the model tests share."""

import itertools
import os

import pytest
from hypothesis import settings
from hypothesis import strategies as st

from tiny_models import ALIGNMENTS, FAMILIES, INPUT_SETS

every_family = pytest.mark.parametrize("family", FAMILIES)
every_input = pytest.mark.parametrize("inputs", INPUT_SETS, ids="+".join)
every_alignment = pytest.mark.parametrize("alignment", ALIGNMENTS)


FEW_STEP = 5
"""Of so many combinations one is run where there is little time; odd, so that both alignments are met."""


def combinations() -> list[tuple[str, tuple[str, ...], str]]:
    """Families, inputs and alignments, so that any two values of two of them meet.

    All three where there is time, and each value of each where there is little.
    """
    profile = os.environ.get("HYPOTHESIS_PROFILE")
    if profile == "search":
        return list(itertools.product(FAMILIES, INPUT_SETS, ALIGNMENTS))
    step = FEW_STEP if profile == "few" else 1
    pairs = itertools.product(enumerate(FAMILIES), enumerate(INPUT_SETS))
    return [
        (family, inputs, ALIGNMENTS[(row + column) % 2])
        for (row, family), (column, inputs) in pairs
        if (row + column) % step == 0
    ]


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
