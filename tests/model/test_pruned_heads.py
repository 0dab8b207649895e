"""The account of removed heads: original numbering, nothing twice, never a layer's last."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockskim.errors import ConfigError
from blockskim.model.pruned_heads import add_pruned_heads, heads_left, read_pruned_heads


def test_json_has_layers_as_text():
    assert read_pruned_heads({"3": [2, 1], 1: (4,), "2": []}) == {1: (4,), 3: (1, 2)}
    assert read_pruned_heads(None) == {}


@pytest.mark.parametrize("values", [[1], "1", {"one": [1]}, {1: 2}, {1: "2"}, {1: [True]}, {1: [1.5]}, {True: [1]}])
def test_what_is_no_mapping_of_layers_to_heads_is_refused(values):
    with pytest.raises(ConfigError, match="pruned_heads"):
        read_pruned_heads(values)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({4: (1,)}, "no layer 4 to prune; the model has layers 1 to 3"),
        ({0: (1,)}, "no layer 0"),
        ({1: (5,)}, "layer 1 has no head 5; its heads were 1 to 4"),
        ({2: (1,)}, "head 1 of layer 2 is pruned already"),
        ({2: (2, 3, 4)}, "layer 2 would lose all of its 4 heads"),
    ],
)
def test_impossible_removals_are_refused(more, message):
    with pytest.raises(ConfigError, match=message):
        add_pruned_heads({2: (1,)}, more, layers=3, heads=4)


heads = st.dictionaries(st.integers(1, 3), st.frozensets(st.integers(1, 6), min_size=1, max_size=5).map(tuple))


@given(heads, heads)
def test_two_removals_are_one_of_all_heads(first, second):
    second = {
        layer: tuple(head for head in numbers if head not in first.get(layer, ())) for layer, numbers in second.items()
    }
    together = {layer: {*first.get(layer, ()), *second.get(layer, ())} for layer in {*first, *second}}
    if any(len(numbers) == 6 for numbers in together.values()):
        with pytest.raises(ConfigError, match="one has to stay"):
            add_pruned_heads(read_pruned_heads(first), read_pruned_heads(second), 3, 6)
        return
    merged = add_pruned_heads(read_pruned_heads(first), read_pruned_heads(second), 3, 6)
    assert merged == {layer: tuple(sorted(numbers)) for layer, numbers in sorted(together.items()) if numbers}
    for layer in range(1, 4):
        assert sorted((*heads_left(merged, layer, 6), *merged.get(layer, ()))) == [1, 2, 3, 4, 5, 6]
