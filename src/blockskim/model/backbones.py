"""What a Block-Skim model takes over from a checkpoint of transformers: its encoder and its QA head."""

import copy

from torch import nn
from transformers import AutoModel, PreTrainedConfig, PreTrainedModel

from blockskim.encoders import QaHead
from blockskim.errors import ModelError
from blockskim.model.config import BlockSkimConfig


def encoder_from_config(config: PreTrainedConfig) -> PreTrainedModel:
    """The bare encoder with random weights, without the pooling layer that QA never uses."""
    encoder: PreTrainedModel
    try:
        encoder = AutoModel.from_config(copy.deepcopy(config), add_pooling_layer=False)
    except TypeError:
        encoder = AutoModel.from_config(copy.deepcopy(config))
    return encoder


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
