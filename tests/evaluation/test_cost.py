from blockskim.evaluation.cost import CostReport, LayerCount, kept_shares


def test_layers_without_a_predictor_keep_what_came_in():
    assert kept_shares({2: 8, 4: 2}, 10, 5) == [1.0, 0.8, 0.8, 0.2, 0.2]
    assert kept_shares({}, 10, 2) == [1.0, 1.0]
    assert kept_shares({1: 0}, 0, 1) == [0.0]


def test_what_was_not_read_is_not_there_after_the_first_layer():
    assert kept_shares({2: 3}, 10, 3, unread=4) == [0.6, 0.3, 0.3]
    assert kept_shares({}, 10, 2, unread=10) == [0.0, 0.0]
    assert CostReport(blocks=4, kept_blocks={1: 1}).kept_by_layer(2) == [0.25, 0.25]


def test_what_can_not_be_divided_is_none():
    assert LayerCount().summary(3) == {"layer": 3, "precision": None, "recall": None, "kept": None}
    assert LayerCount(8, 4, 2, 1).summary(1) == {"layer": 1, "precision": 0.25, "recall": 0.5, "kept": 0.5}


def test_the_speed_up_is_over_the_dense_model():
    assert CostReport(flops=50, dense_flops=100).flops_speedup == 2.0
