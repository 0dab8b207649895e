"""An encoder with all that is needed to run it layer by layer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedModel

from blockskim.encoders.adapter import EncoderAdapter
from blockskim.kernels.dims import LayerDims


@dataclass(frozen=True, slots=True)
class Backbone:
    """An encoder, the adapter of its family, its layers, and what pruning left of their heads.

    Attributes:
        encoder: the transformers encoder.
        adapter: of its family.
        layers: the encoder's layers, first to last; a module that runs as several layers stands there several times.
        heads: places of the heads that pruned layers still have, counted from 0, by layer number; layers count from 1.
            It is needed where there is a position bias, which is made for all heads.
    """

    encoder: PreTrainedModel
    adapter: EncoderAdapter
    layers: Sequence[nn.Module]
    heads: Mapping[int, Sequence[int]]

    @property
    def device(self) -> torch.device:
        """Where the encoder is."""
        return self.encoder.device

    def dims(self, number: int) -> LayerDims:
        """Dimensions of a layer; layers count from 1."""
        return self.adapter.dims(self.layers[number - 1])
