"""A Block-Skim model as the QA model that transformers has for its family: what ``from_backbone`` makes, undone."""

import copy
from typing import Any

from transformers import AutoModelForQuestionAnswering, PreTrainedModel

from blockskim.errors import ConfigError
from blockskim.model.head_removal import prune_layer
from blockskim.model.modeling import BlockSkimForQuestionAnswering


def transformers_model(model: BlockSkimForQuestionAnswering, attention: str | None = None) -> PreTrainedModel:
    """The QA model that transformers has for a model's family, sharing its weights.

    Args:
        model: whose encoder and QA head it gets.
        attention: "eager" or "sdpa"; None leaves it to transformers.

    Returns:
        The model in evaluation mode, on the device of the other.

    Raises:
        ConfigError: transformers doesn't have this kind of attention for the family, or no layers with fewer heads.
    """
    # A copy, as transformers writes the kind of attention into the one it is given.
    config: Any = copy.deepcopy(model.encoder.config)
    # The encoder may be of a model for another task.
    config.num_labels = 2
    chosen = {} if attention is None else {"attn_implementation": attention}
    try:
        dense: Any = AutoModelForQuestionAnswering.from_config(config, dtype=model.dtype, **chosen)
    except ValueError as error:
        raise ConfigError(f"transformers has no {attention} attention for {config.model_type} models") from error
    # transformers 5.3 doesn't note it.
    dense.config.dtype = model.dtype
    if model.places_in_bias():
        raise ConfigError(f"transformers has no {config.model_type} models whose layers lost heads")
    for number in model.pruned_heads:
        keep = [head - 1 for head in model.heads_of(number)]
        prune_layer(model.adapter, model.adapter.layers(dense.base_model)[number - 1], keep)
    dense.base_model.load_state_dict(model.encoder.state_dict(), assign=True)
    head = model.adapter.qa_head
    getattr(dense, head.outputs).load_state_dict(model.qa_outputs.state_dict(), assign=True)
    if head.transform is not None and model.qa_transform is not None:
        getattr(dense, head.transform).load_state_dict(model.qa_transform.state_dict(), assign=True)
    result: PreTrainedModel = dense.to(model.device)
    return result.eval()
