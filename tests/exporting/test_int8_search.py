"""Which products are quantised: as many as the F1 that may be lost allows."""

import numpy as np
import pytest

from blockskim.errors import ConfigError
from blockskim.exporting import int8_search
from blockskim.exporting.int8_search import search_products

COUNT = 24


@pytest.fixture
def needed(monkeypatch):
    """Says how many of the worst products have to stay in float32 until nothing is lost; the first are the worst."""
    choice = [0]

    def f1(quantised, windows, batch_size):
        worst_in_float32 = min(quantised, default=COUNT)
        return 80.0 if worst_in_float32 >= choice[0] else 70.0

    monkeypatch.setattr(
        int8_search, "_logits", lambda quantised, windows: np.full(1, sum(COUNT - p for p in quantised))
    )
    monkeypatch.setattr(int8_search, "_dense_f1", f1)
    return choice


def searched():
    return search_products(lambda products: products, [(number, 1) for number in range(COUNT)], None)


@pytest.mark.parametrize("count", range(COUNT))
def test_as_few_as_possible_stay_in_float32(needed, count):
    needed[0] = count
    found = searched()
    assert found.products == tuple(range(count, COUNT))
    assert [each.product for each in found.errors] == list(range(COUNT))
    assert found.float32_f1 == 80.0
    assert len({trial.left_out for trial in found.trials}) == len(found.trials) < 12


def test_where_a_single_product_costs_too_much_nothing_is_chosen(needed):
    needed[0] = COUNT
    with pytest.raises(ConfigError, match=r"no choice of int8 products loses at most 0\.3 F1"):
        searched()
