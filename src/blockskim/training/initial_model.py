"""The model that a training run starts from."""

from pathlib import Path
from typing import Protocol

import torch

from blockskim.encoders.config_names import ATTENTION_DROPOUTS, HIDDEN_DROPOUTS
from blockskim.errors import ConfigError, ModelError
from blockskim.model.checkpoints import has_qa_head, is_block_skim, read_config
from blockskim.model.modeling import BlockSkimForQuestionAnswering
from blockskim.training.recipe import Recipe


class Announces(Protocol):
    """Something that prints a line, as a console of rich does."""

    def print(self, line: str, /) -> None:
        """Print it."""


def initial_model(base: str | Path, recipe: Recipe, console: Announces | None = None) -> BlockSkimForQuestionAnswering:
    """The model to train, with the dropout of the recipe.

    Args:
        base: directory or hub id of an encoder or a QA model, which gets new predictors, or of a Block-Skim model,
            which keeps its own unless the recipe calls for others.
        recipe: blocks and predictors, dropout, and whether the predictors alone are trained.
        console: where to say that a Block-Skim model gets new predictors; None for nowhere.

    Raises:
        ModelError: the predictors alone are to be trained, and the base has no QA head.
        ConfigError: the predictors alone are to be trained, and nothing would teach new ones what is relevant.
    """
    if is_block_skim(base):
        model = _with_fitting_predictors(base, recipe, console)
    else:
        if recipe.predictors_only and not has_qa_head(read_config(base)):
            raise ModelError(
                f"{base} has no question-answering head, and predictors_only would leave a new one untrained; take a "
                "question-answering checkpoint (with its name among the architectures in config.json), or a recipe "
                "that trains all, such as default"
            )
        model = BlockSkimForQuestionAnswering.from_backbone(base, recipe.skim, dtype=torch.float32)
    if recipe.predictors_only:
        if not (recipe.skim.has_skim_loss or model.has_trained_predictors):
            raise ConfigError(
                f"skim.skim_factor is {recipe.skim.skim_factor} and the predictors of {base} are new; "
                "skim.teaching_factor draws all to the last one, which would learn nothing: set skim.skim_factor, too"
            )
        model.requires_grad_(False)
        model.predictors.requires_grad_(True)
    # It was that of other weights.
    model.confidence = None
    set_dropout(model, recipe.hidden_dropout, recipe.attention_dropout)
    return model


def set_dropout(model: BlockSkimForQuestionAnswering, hidden: float, attention: float) -> None:
    """Set dropout on hidden states and on attention probabilities, in the modules and in the encoder's config."""
    for layer in model.modules():
        if isinstance(layer, torch.nn.Dropout):
            layer.p = hidden
    config = model.config.encoder_config
    for names, value in ((HIDDEN_DROPOUTS, hidden), (ATTENTION_DROPOUTS, attention)):
        for name in names:
            if hasattr(config, name):
                setattr(config, name, value)
    for part in model.adapter.layers(model.encoder):
        model.adapter.set_attention_dropout(part, attention)


def _with_fitting_predictors(
    base: str | Path, recipe: Recipe, console: Announces | None
) -> BlockSkimForQuestionAnswering:
    model = BlockSkimForQuestionAnswering.from_pretrained(base, dtype=torch.float32)
    others = model.settings_needing_new_predictors(recipe.skim)
    if not others:
        # A copy: the recipe says what a run began with, whatever becomes of the model's settings.
        model.skim_config = recipe.skim.replace()
        return model
    if console is not None:
        console.print(f"new predictors, since the recipe has another {', '.join(others)}")
    return BlockSkimForQuestionAnswering.from_backbone(model, recipe.skim)
