import math

import numpy as np

from blockskim.inference.survival import ALWAYS, NEVER, SurvivalRank, best_ranks, last_layer, take_ranks

DOUBTFUL, DOUBTED = SurvivalRank(3, 0.4, -50, -1), SurvivalRank(3, 0.2, 0, 0)


def test_the_best_of_all_batches_counts():
    batches = [(np.array([0, 1]), [DOUBTED, ALWAYS]), (np.array([0, 2]), [DOUBTFUL, NEVER])]
    assert best_ranks(batches) == {0: DOUBTFUL, 1: ALWAYS, 2: NEVER}


def test_blocks_of_batches_that_others_are_better_than_are_gone_from_a_layer_on():
    assert last_layer(DOUBTED, DOUBTFUL) == 3
    assert last_layer(DOUBTFUL, DOUBTFUL) == last_layer(ALWAYS, ALWAYS) == math.inf


def test_what_comes_later_takes_the_place_of_what_was_worse():
    best = {}
    assert take_ranks(best, [(np.array([0, 1]), [DOUBTED, DOUBTFUL])]) == {}
    assert take_ranks(best, [(np.array([0]), [DOUBTFUL]), (np.array([1, 2]), [DOUBTED, ALWAYS])]) == {0: 3}
    assert best == {0: DOUBTFUL, 1: DOUBTFUL, 2: ALWAYS}
