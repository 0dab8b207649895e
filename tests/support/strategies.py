"""Hypothesis strategies and parametrisations that the model tests share."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st

from tiny_models import ALIGNMENTS, FAMILIES, INPUT_SETS

every_family = pytest.mark.parametrize("family", FAMILIES)
every_input = pytest.mark.parametrize("inputs", INPUT_SETS, ids="+".join)
every_alignment = pytest.mark.parametrize("alignment", ALIGNMENTS)

# The models' properties are run for every family, input and alignment, so a few examples of each will do.
few = settings(max_examples=max(3, settings.default.max_examples // 16))

sample_sizes = st.tuples(st.integers(0, 6), st.integers(0, 44))
batches = st.lists(sample_sizes, min_size=1, max_size=4)
seeds = st.integers(0, 10_000)
thresholds = st.floats(0.01, 1.0) | st.lists(st.floats(0.01, 1.0), min_size=2, max_size=2)
