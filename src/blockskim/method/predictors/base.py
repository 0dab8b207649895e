"""What a kind of skim predictor has to tell: its features, its network, what both cost, and how inference runs it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from blockskim.kernels.dims import LayerDims
from blockskim.method.config import SkimConfig
from blockskim.method.cost import PredictorCost
from blockskim.method.layer_view import LayerView


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictorKind:
    """One of the inputs that a predictor can have, with the network that reads it.

    Attributes:
        name: its name among the ``inputs`` of the settings, and of its weights in a saved model.
        features: (view of a layer) -> what the network takes.
        network: (settings, dims of the layer) -> a new network. It maps features to logits of "irrelevant" and
            "relevant". Shape of these: (blocks, 2)
        cost: (settings, dims of the layer, question tokens of the sample) -> operations of features and network.
        channels_of_heads: (settings, dims of the layer, heads counted from 0) -> which channels of the network stay
            when the layer is left with these heads only, by how many channels there were.
        margin: (network) -> the same network for inference, a function from features to "relevant" minus "irrelevant"
            of each block. Shape of these: (blocks,), float32
        modules: the classes that the network is made of, its own among them. One with anything else in it, such as a
            layer with an adapter around it, is called as it is, and ``margin`` is not.
        wants_attention: whether its features look at attention probabilities.
    """

    name: str
    features: Callable[[LayerView], Any]
    network: Callable[[SkimConfig, LayerDims], nn.Module]
    cost: Callable[[SkimConfig, LayerDims, int], PredictorCost]
    channels_of_heads: Callable[[SkimConfig, LayerDims, Sequence[int]], Mapping[int, Sequence[int]]]
    margin: Callable[[Any], Callable[[Any], Tensor]]
    modules: frozenset[type[nn.Module]]
    wants_attention: bool = False
