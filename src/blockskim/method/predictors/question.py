"""The predictor over attention between block and question, both ways."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from blockskim.kernels.dims import LayerDims
from blockskim.method.config import SkimConfig
from blockskim.method.cost import PredictorCost
from blockskim.method.layer_view import LayerView, attention_of
from blockskim.method.predictors.base import PredictorKind
from blockskim.method.predictors.pooled import POOLED_MODULES, PooledPredictor, network_flops, pooled_margin

LOG_FLOOR = 1e-4
"""Added to attention masses before their logarithm, so that what is as good as nothing does not dominate."""

FEATURES_PER_HEAD = 6


def question_features(view: LayerView) -> Tensor:
    """Attention between a block and the question: mean and maximum per head, both directions, as logarithms.

    From the block to the question it is the mass that each block token spends on the question, from the question to
    the block the mass that each question token spends on the block; besides the largest single entries. Logarithms are
    scaled to lie from -1 (nothing) to 1 (everything). Shape: (blocks, 6 * heads)
    """
    question = view.question[view.samples]
    exists = view.question_exists[view.samples]
    both = view.exists[:, :, None] & exists[:, None, :]
    attention = attention_of(view)
    to_question = attention.probabilities(view.tokens, question, both)
    from_question = attention.probabilities(question, view.tokens, both.transpose(1, 2))
    features = []
    for entries, rows in ((to_question, view.exists), (from_question, exists)):
        mass = entries.sum(-1)
        count = rows.sum(-1, keepdim=True).clamp_min(1)
        features += [mass.sum(-1) / count, mass.amax(-1), entries.amax((-2, -1))]
    return 1.0 - 2.0 * (torch.cat(features, -1) + LOG_FLOOR).log() / math.log(LOG_FLOOR)


def _num_features(dims: LayerDims) -> int:
    return FEATURES_PER_HEAD * dims.heads


def _network(config: SkimConfig, dims: LayerDims) -> PooledPredictor:
    # Not normalised: the level of attention to the question, the same for all heads, is what tells blocks apart.
    return PooledPredictor(_num_features(dims), config.predictor_width, normalize=False)


def _cost(config: SkimConfig, dims: LayerDims, question_tokens: int) -> PredictorCost:
    scores = 2 * 2 * dims.heads * dims.head_dim * config.block_size * question_tokens
    return PredictorCost(scores + network_flops(_num_features(dims), config.predictor_width), 0)


def _channels_of_heads(_config: SkimConfig, dims: LayerDims, heads: Sequence[int]) -> Mapping[int, Sequence[int]]:
    return {_num_features(dims): [part * dims.heads + head for part in range(FEATURES_PER_HEAD) for head in heads]}


KIND = PredictorKind(
    name="question",
    features=question_features,
    network=_network,
    cost=_cost,
    channels_of_heads=_channels_of_heads,
    margin=pooled_margin,
    modules=POOLED_MODULES,
    wants_attention=True,
)
