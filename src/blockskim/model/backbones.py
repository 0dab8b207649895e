"""The parts of a Block-Skim model: encoder and QA head, new or of a transformers checkpoint, and new predictors."""

import copy
from collections.abc import Sequence

import transformers
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from blockskim.encoders import EncoderAdapter, QaHead
from blockskim.errors import ModelError
from blockskim.method.config import SkimConfig
from blockskim.method.predictors.predictor import SkimPredictor
from blockskim.model.config import BlockSkimConfig
from blockskim.model.load_errors import ONE_AT_A_TIME


def encoder_from_config(config: PreTrainedConfig) -> PreTrainedModel:
    """The bare encoder with random weights, without the pooling layer that QA never uses."""
    encoder: PreTrainedModel
    with ONE_AT_A_TIME:
        try:
            encoder = transformers.AutoModel.from_config(copy.deepcopy(config), add_pooling_layer=False)
        except TypeError:
            encoder = transformers.AutoModel.from_config(copy.deepcopy(config))
    return encoder


def predictor_layers(config: SkimConfig, adapter: EncoderAdapter, layers: Sequence[nn.Module]) -> tuple[int, ...]:
    """Numbers of the layers of an encoder that have a predictor, from 1.

    Raises:
        ConfigError: a layer that the config names does not exist or is the last one, or no layer can have one.
    """
    window = adapter.sliding_window
    if window is None:
        return config.resolve_layers(len(layers))
    # A layer that sees its neighbours alone has found out little about the question.
    everywhere = [number for number, layer in enumerate(layers, start=1) if window(layer) is None]
    return config.resolve_layers(len(layers), everywhere)


def new_predictors(config: SkimConfig, adapter: EncoderAdapter, layers: Sequence[nn.Module]) -> nn.ModuleDict:
    """New predictors for the layers of an encoder, by layer number.

    Raises:
        ConfigError: the config doesn't fit the encoder.
    """
    numbers = predictor_layers(config, adapter, layers)
    config.check_counts(numbers)
    return nn.ModuleDict({str(number): SkimPredictor(config, adapter.dims(layers[number - 1])) for number in numbers})


def copy_encoder(source: PreTrainedModel, encoder: PreTrainedModel) -> None:
    """Copy the weights of a model's encoder, those that QA uses.

    Raises:
        ModelError: one of them is missing.
    """
    weights = source.base_model.state_dict()
    expected = encoder.state_dict()
    missing = [name for name in expected if name not in weights]
    if missing:
        raise ModelError(f"the checkpoint has no weight {missing[0]!r} for its encoder")
    encoder.load_state_dict({name: weights[name] for name in expected})


def copy_qa_head(source: PreTrainedModel, head: QaHead, outputs: nn.Linear, transform: nn.Module | None) -> None:
    """Copy the QA head of a model that has one; otherwise leave the new one as it is.

    Args:
        source: a model of transformers or a Block-Skim model.
        head: where transformers' QA models of the family have their head.
        outputs: the linear layer with the logits, to copy to.
        transform: the module between encoder and that layer, to copy to; None for none.
    """
    if "QuestionAnswering" not in type(source).__name__:
        return
    if isinstance(source.config, BlockSkimConfig):
        head = QaHead(transform="qa_transform")
    its_outputs, its_transform = (getattr(source, name or "", None) for name in (head.outputs, head.transform))
    if isinstance(its_outputs, nn.Linear) and its_outputs.out_features == outputs.out_features:
        outputs.load_state_dict(its_outputs.state_dict())
        if transform is not None and its_transform is not None:
            transform.load_state_dict(its_transform.state_dict())
