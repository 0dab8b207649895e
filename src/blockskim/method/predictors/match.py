"""The match predictor: block tokens compared with question tokens, and blocks with each other.

Late interaction as retrieval knows it (Khattab and Zaharia, 2020), on what attention gave, in a learned space of few
dimensions. That alone says how well a block fits the question, not whether another one fits better, or whether the
sentence that fits goes on in the next block. So blocks then see their neighbours and a summary of all blocks of their
window, twice.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blockskim.kernels.attention_probabilities import take_rows
from blockskim.kernels.dims import LayerDims, head_channels
from blockskim.method.config import SkimConfig
from blockskim.method.cost import PredictorCost
from blockskim.method.layer_view import LayerView, token_bags
from blockskim.method.predictors.base import PredictorKind

ROUNDS = 2
"""How often blocks look at each other."""

NOTHING = -1e4
"""Similarity with a token that is not there; finite, and far below what is."""


class MatchPredictor(nn.Module):
    """Maps a layer's view to logits (blocks, 2)."""

    def __init__(self, features: int, width: int) -> None:
        """Make the network for attention output of ``features`` and comparisons in ``width`` dimensions."""
        super().__init__()
        self.norm = nn.LayerNorm(features)
        self.block = nn.Linear(features, width)
        self.question = nn.Linear(features, width)
        self.join = nn.Linear(3 * width + 3, width)
        self.rounds = nn.ModuleList(nn.Linear(5 * width, width) for _ in range(ROUNDS))
        self.decide = nn.Linear(width, 2)
        for module in self.modules():
            # Tells transformers to leave PyTorch's weights. Its own are so small that next to nothing gets through
            # five layers in a row, and learning begins late.
            module._is_hf_initialized = True  # type: ignore[assignment]

    def forward(self, view: LayerView) -> Tensor:
        """Logits of "irrelevant" and "relevant" for each block of the view. Shape: (blocks, 2)."""
        states = F.relu(self.join(self._compared(view)))
        around = _around(view)
        for mix in self.rounds:
            states = states + F.relu(mix(_with_others(states, around)))
        logits: Tensor = self.decide(states)
        return logits

    def _compared(self, view: LayerView) -> Tensor:
        """What each block has for itself, and how it fits the question. Shape: (blocks, 3 * width + 3)."""
        dtype = self.norm.weight.dtype  # of a quantised layer the weight is no tensor

        def projected(linear: nn.Module, places: Tensor) -> Tensor:
            rows: Tensor = linear(self.norm(take_rows(view.attn_output, places.reshape(-1)).to(dtype)))
            return rows.view(*places.shape, -1)

        own, asked = projected(self.block, view.tokens), projected(self.question, view.question)
        exists, asked_exists = view.exists[..., None], _of_samples(view.question_exists, view)
        counts = view.exists.sum(1, keepdim=True)
        asked_counts = view.question_exists.sum(1, keepdim=True).clamp_min(1)
        similar = (own @ _of_samples(asked, view).transpose(1, 2)) * own.shape[-1] ** -0.5
        similar = similar.masked_fill(~(exists & asked_exists[:, None]), NOTHING)
        by_question, by_block = similar.amax(1), similar.amax(2)
        fits = (
            (by_question * asked_exists).sum(1, keepdim=True) / _of_samples(asked_counts, view),
            by_question.amax(1, keepdim=True),
            (by_block * view.exists).sum(1, keepdim=True) / counts,
        )
        # After the rectifier nothing is below 0, so 0 stands for a token that is not there in the maximum, too.
        own, asked = F.relu(own) * exists, F.relu(asked) * view.question_exists[..., None]
        asked_means = _of_samples(asked.sum(1) / asked_counts, view).expand(own.shape[0], -1)
        pooled = (own.sum(1) / counts, own.amax(1), asked_means)
        return torch.cat([*pooled, *fits], -1)


def _of_samples(values: Tensor, view: LayerView) -> Tensor:
    """What each block's sample has; of a single sample it stays one row, which goes with every block.

    Shape: (samples, ...) to (blocks, ...)
    """
    return values if view.question.shape[0] == 1 else values[view.samples]


class _Around(NamedTuple):
    """Who stands around each block.

    Attributes:
        samples: the sample of each block; None where there is but one. Shape: (blocks,)
        counts: blocks of each sample, at least 1; None where there is but one. Shape: (samples, 1)
        adjoining: True where a block and the next of the view follow each other in the input. Shape: (blocks - 1, 1)
    """

    samples: Tensor | None
    counts: Tensor | None
    adjoining: Tensor


def _around(view: LayerView) -> _Around:
    samples = view.samples
    adjoining = view.block_numbers[1:] - view.block_numbers[:-1] == 1
    if len(view.question) == 1:
        return _Around(None, None, adjoining[:, None])
    counts = torch.bincount(samples, minlength=len(view.question)).clamp_min(1)[:, None]
    return _Around(samples, counts, (adjoining & (samples[1:] == samples[:-1]))[:, None])


def _with_others(states: Tensor, around: _Around) -> Tensor:
    """Each block's state, its neighbours' (0 where there is none), maximum and mean of its sample's blocks.

    Shape: (blocks, width) to (blocks, 5 * width)
    """
    before = F.pad(states[:-1] * around.adjoining, (0, 0, 1, 0))
    after = F.pad(states[1:] * around.adjoining, (0, 0, 0, 1))
    return torch.cat([states, before, after, _summary(states, around)], -1)


def _summary(states: Tensor, around: _Around) -> Tensor:
    """Maximum and mean of the states of each block's sample. Shape: (blocks, width) to (blocks, 2 * width)."""
    if around.samples is None or around.counts is None:
        return torch.cat([states.amax(0), states.mean(0)]).expand(states.shape[0], -1)
    index = around.samples[:, None].expand_as(states)
    blank = states.new_zeros(len(around.counts), states.shape[1])
    # States are not negative, so 0 takes no part in the maximum.
    largest = blank.scatter_reduce(0, index, states, "amax")
    mean = blank.index_add(0, around.samples, states) / around.counts
    return torch.cat([largest, mean.to(states.dtype)], -1)[around.samples]


def match_margin(network: MatchPredictor) -> Callable[[LayerView], Tensor]:
    """The same network for inference, in float32 and in half as many operations: calls cost more than arithmetic.

    Returns:
        A function from a view to "relevant" minus "irrelevant" of each block. Shape: (blocks,)
    """
    width = network.block.out_features
    scale = width**-0.5
    # The affine part of the norm goes into the weights, and so does the scale of similarities.
    block, block_bias = _folded(network.norm, network.block, 1.0)
    question, question_bias = _folded(network.norm, network.question, scale)
    epsilon = network.norm.eps
    # With it the mean of the question is scaled; this undoes it.
    unscale = block.new_ones(3 * width + 3)
    unscale[2 * width : 3 * width] = 1 / scale
    join, join_bias = (_float(network.join.weight) * unscale).t().contiguous(), _float(network.join.bias)
    rounds = [(_float(mix.weight).t().contiguous(), _float(mix.bias)) for mix in network.rounds]
    decide = _float(network.decide.weight)
    difference, offset = decide[1] - decide[0], float(_float(network.decide.bias).diff())

    def compared(view: LayerView) -> Tensor:
        states = F.layer_norm(view.attn_output.float(), view.attn_output.shape[1:], eps=epsilon)
        blocks, samples = len(view.tokens), len(view.question)
        # Projecting all tokens and then choosing rows moves far less memory than choosing first.
        projected = torch.addmm(block_bias, states, block)
        own = take_rows(projected, view.tokens)
        asked = torch.addmm(question_bias, states.index_select(0, view.question.view(-1)), question)
        asked = asked.view(samples, -1, width)
        bags = token_bags(view)
        means = F.embedding_bag(bags.tokens, projected.relu_(), bags.offsets, mode="mean")[:blocks]
        # In float32 by name: PyTorch's default format is another while a model is loaded in another thread.
        shares = view.exists / view.exists.sum(1, keepdim=True, dtype=torch.float32)
        asked_counts = view.question_exists.sum(1, keepdim=True, dtype=torch.float32)
        asked_shares = view.question_exists / asked_counts.clamp_min(1)
        asked_means = (asked.relu() * asked_shares[..., None]).sum(1)
        # Entries beyond a block's end repeat its first token, which leaves maxima alone.
        if samples == 1 and bool(view.question_exists.all()):
            similar = (own.view(-1, width) @ asked[0].t()).view(blocks, -1, asked.shape[1])
            asked_means = asked_means.expand(blocks, -1)
        else:
            missing = ~view.question_exists[:, None].index_select(0, view.samples)
            similar = torch.bmm(own, asked.index_select(0, view.samples).transpose(1, 2))
            similar.masked_fill_(missing, NOTHING)
            asked_means = asked_means.index_select(0, view.samples)
            asked_shares = asked_shares.index_select(0, view.samples)
        by_question, by_block = similar.amax(1), similar.amax(2)
        fits = (
            (by_question * asked_shares).sum(1, keepdim=True),
            by_question.amax(1, keepdim=True),
            (by_block * shares).sum(1, keepdim=True),
        )
        return torch.cat([means, own.amax(1).relu_(), asked_means, *fits], 1)

    def margin(view: LayerView) -> Tensor:
        states = torch.addmm(join_bias, compared(view), join).relu_()
        beside = _beside(view)
        around = _around(view)
        for weight, bias in rounds:
            neighbours = F.pad(states, (0, 0, 0, 1)).index_select(0, beside).view(len(states), -1)
            mixed = torch.cat([states, neighbours, _summary(states, around)], 1)
            states = states + torch.addmm(bias, mixed, weight).relu_()
        return torch.mv(states, difference).add_(offset)

    return margin


def _folded(norm: nn.LayerNorm, linear: nn.Linear, scale: float) -> tuple[Tensor, Tensor]:
    """Weight and bias that do to normed rows what a norm's affine part, a linear layer and a factor do.

    Shapes: (features, width), (width,)
    """
    weight, bias = _float(linear.weight) * scale, _float(linear.bias) * scale
    return (weight * _float(norm.weight)).t().contiguous(), bias + weight @ _float(norm.bias)


def _beside(view: LayerView) -> Tensor:
    """Indices of the blocks before and after each block, in turns, the number of blocks for none.

    Shape: (2 * blocks,)
    """
    # On the host, where few numbers cost least.
    samples, numbers = view.samples.cpu().numpy(), view.block_numbers.cpu().numpy()
    blocks = len(samples)
    indices = np.arange(blocks)
    adjoining = (samples[1:] == samples[:-1]) & (numbers[1:] - numbers[:-1] == 1)
    beside = np.full((blocks, 2), blocks)
    beside[1:, 0] = np.where(adjoining, indices[:-1], blocks)
    beside[:-1, 1] = np.where(adjoining, indices[1:], blocks)
    return torch.from_numpy(beside.reshape(-1)).to(view.samples.device)


def _float(value: Tensor | nn.Module) -> Tensor:
    assert isinstance(value, Tensor)
    return value.detach().float()


def _whole_view(view: LayerView) -> LayerView:
    """The view itself: the network pools in a space that it learns."""
    return view


def _network(config: SkimConfig, dims: LayerDims) -> MatchPredictor:
    return MatchPredictor(dims.heads * dims.head_dim, config.predictor_width)


def _cost(config: SkimConfig, dims: LayerDims, question_tokens: int) -> PredictorCost:
    size, width = config.block_size, config.predictor_width
    token = dims.heads * dims.head_dim * width
    block = (3 * width + 3) * width + ROUNDS * 5 * width * width + 2 * width
    return PredictorCost(2 * (size * token + size * question_tokens * width + block), 2 * question_tokens * token)


def _channels_of_heads(_config: SkimConfig, dims: LayerDims, heads: Sequence[int]) -> Mapping[int, Sequence[int]]:
    return {dims.heads * dims.head_dim: head_channels(heads, dims.head_dim)}


KIND = PredictorKind(
    name="match",
    features=_whole_view,
    network=_network,
    cost=_cost,
    channels_of_heads=_channels_of_heads,
    margin=match_margin,
    modules=frozenset({MatchPredictor, nn.LayerNorm, nn.Linear, nn.ModuleList}),
)
