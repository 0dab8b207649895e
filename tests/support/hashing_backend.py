"""A backend without a network: logits and keep probabilities are functions of token ids. It needs NumPy alone."""

import numpy as np

from blockskim.method.block_spans import blocks_of_packed, surviving_blocks
from blockskim.method.config import SkimConfig
from blockskim.method.cost import LayerCost, ModelCost, PredictorCost
from blockskim.method.skim_trace import AS_NEEDED, LayerRecord, WindowScores, trace_of
from blockskim.method.thresholds import asked_thresholds

COST = ModelCost((LayerCost(20, 4, 30),) * 3, 5, 2)


class HashingBackend:
    """Three layers, the first two with a predictor."""

    num_layers = 3
    skim_layers = (1, 2)
    has_trained_predictors = True
    position_limit = 60
    number_format = "float32"
    confidence = None
    cost = COST

    def __init__(self, **settings):
        self.skim_config = SkimConfig(**{"block_size": 8, "thresholds": 0.4, **settings})

    has_word_embeddings = False

    def word_embeddings(self, ids):
        raise AssertionError("there are none")

    def predictor_cost(self, layer, question_tokens):
        return PredictorCost(7, 3)

    def score_windows(self, inputs, thresholds=None, asking=AS_NEEDED):
        asked = asked_thresholds(thresholds, self.skim_config.thresholds, self.skim_layers, asking.all_layers)
        layout = blocks_of_packed(inputs, self.skim_config.block_size, "context")
        places = np.arange(inputs.lengths.max(initial=0))
        alive = places < inputs.lengths[:, None]
        ids = np.zeros(alive.shape, dtype=np.int64)
        ids[alive] = inputs.ids
        _, documents = np.unique(inputs.documents, return_inverse=True)
        there, records = layout.droppable, {}
        for number, threshold in asked.items():
            rows, blocks = there.nonzero()
            if not len(rows):
                continue
            firsts = layout.starts[rows, blocks]
            likely = np.full(there.shape, np.nan, dtype=np.float32)
            likely[rows, blocks] = hashed(ids[rows, firsts], firsts, number)
            kept = there.copy()
            kept[rows, blocks] = surviving_blocks(likely[rows, blocks], threshold, documents[rows], len(documents))
            for row, block in zip(*(there & ~kept).nonzero(), strict=True):
                first = layout.starts[row, block]
                alive[row, first : first + layout.lengths[row, block]] = False
            alive[there.any(-1) & ~kept.any(-1)] = False
            records[number] = LayerRecord(kept, likely, there.sum(-1), alive.sum(-1))
            there = kept
        costs = {number: [self.predictor_cost(number, 1)] * len(ids) for number in records}
        trace = trace_of(records, layout, inputs.lengths, asked, costs, COST)
        start, end = (np.where(alive, 8 * hashed(ids, places, seed), -np.inf).astype(np.float32) for seed in (3, 5))
        return WindowScores(start, end, trace)


def hashed(ids, places, seed):
    """Numbers from 0 to 1 that differ from token to token."""
    return ((ids * 7919 + places * 104729 * seed + 15485863 * seed) % 9973) / 9973
