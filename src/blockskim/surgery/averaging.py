"""One model whose weights are the average of several that went on from the same one.

Models that were trained on from one start lie close enough together that a point between them is a model, too, and
often a better one than each (Wortsman et al., ICML 2022 and CVPR 2022): what one has learned comes in and less of what
the other knew is lost. It answers as fast as one.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from blockskim.atomic import check_new, new_directory
from blockskim.checks import check_items, check_number
from blockskim.errors import ConfigError, ModelError
from blockskim.inference.loading import load_tokenizer
from blockskim.method.config import PREDICTOR_SETTINGS
from blockskim.model.checkpoints import base_name, is_block_skim
from blockskim.model.data_record import DATA_FILE, data_records, records_text
from blockskim.model.modeling import BlockSkimForQuestionAnswering
from blockskim.surgery.shapes import different_parameter, different_setting

AVERAGE_FILE = "average.json"


def average_models(
    models: Sequence[str | Path], output: str | Path, weights: Sequence[float] | None = None
) -> tuple[float, ...]:
    """Write the weighted average of Block-Skim models: of encoders, QA heads and predictors.

    Thresholds belong to predictors as they were, so the average has none: it reads everything until it is calibrated.
    ``average.json`` says what it was made of, ``data.json`` what any of the models learned from.

    Args:
        models: directories or hub ids of two or more models that differ in nothing but weights and thresholds.
        output: directory to make; it appears whole or not at all.
        weights: of each model, brought to a sum of 1; None for all the same.

    Returns:
        The weights as they were used.

    Raises:
        ConfigError: the weights are impossible, there are fewer than two models, or something is at ``output`` already.
        ModelError: a model can't be loaded, or is built otherwise than the first.
    """
    check_new(Path(output))
    shares = _shares(models, weights)
    for name in models:
        if not is_block_skim(name):
            raise ModelError(f"{name} is no Block-Skim model; only those are averaged")
    first, *others = models
    model = BlockSkimForQuestionAnswering.from_pretrained(first, dtype=torch.float32)
    tokenizer = load_tokenizer(first)
    vocabulary = tokenizer.get_vocab()
    sums = {name: value * shares[0] for name, value in _weights(model).items()}
    for share, name in zip(shares[1:], others, strict=True):
        other = BlockSkimForQuestionAnswering.from_pretrained(name, dtype=torch.float32)
        _check_alike(model, other, str(first), str(name))
        if load_tokenizer(name).get_vocab() != vocabulary:
            raise ModelError(f"{name} has another vocabulary than {first}; their embeddings don't belong together")
        for key, value in _weights(other).items():
            sums[key] += value * share
        model.has_trained_predictors = model.has_trained_predictors and other.has_trained_predictors
    model.load_state_dict(sums, strict=False)
    # All of it was fitted to the predictors and logits of one of the models.
    model.skim_config = model.skim_config.replace(thresholds=0.0, points={}, evidence=None)
    model.confidence = None
    records = [record for name in models for record in data_records(name)]
    origin = {"models": [base_name(name) for name in models], "weights": list(shares)}
    with new_directory(Path(output)) as folder:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        (folder / AVERAGE_FILE).write_text(json.dumps(origin) + "\n", encoding="utf-8")
        if records:
            once = [record for number, record in enumerate(records) if record not in records[:number]]
            (folder / DATA_FILE).write_text(records_text(once), encoding="utf-8")
    return shares


def _shares(models: Sequence[str | Path], weights: Sequence[float] | None) -> tuple[float, ...]:
    if len(models) < 2:
        raise ConfigError(f"an average needs two or more models, not {len(models)}")
    given: list[float] = [1.0] * len(models) if weights is None else [*check_items("weights", weights)]
    if len(given) != len(models):
        raise ConfigError(f"there are {len(given)} weights for {len(models)} models; give one for each")
    for weight in given:
        if not 0 <= check_number("weights", weight) <= sys.float_info.max:
            raise ConfigError(f"a weight is {weight!r:.60}; it must be a finite number of at least 0")
    largest = float(max(given))
    if largest == 0:
        raise ConfigError("all weights are 0; one must be more")
    # By the largest first: the sum of large numbers is infinite, and that of tiny ones loses digits.
    scaled = [float(weight) / largest for weight in given]
    return tuple(weight / sum(scaled) for weight in scaled)


def _weights(model: BlockSkimForQuestionAnswering) -> Mapping[str, Tensor]:
    """Everything that is learned; positions and the like are the same anyway."""
    return {name: value for name, value in model.state_dict().items() if value.is_floating_point()}


def _check_alike(
    model: BlockSkimForQuestionAnswering, other: BlockSkimForQuestionAnswering, first: str, name: str
) -> None:
    if other.config.encoder_config.model_type != model.config.encoder_config.model_type:
        raise ModelError(
            f"{name} is of type {other.config.encoder_config.model_type!r}, "
            f"{first} of type {model.config.encoder_config.model_type!r}"
        )
    if other.pruned_heads != model.pruned_heads:
        raise ModelError(f"{name} has lost other attention heads than {first}")
    mine, theirs = (one.skim_config.replace(thresholds=0.0, points={}).to_dict() for one in (model, other))
    for key in PREDICTOR_SETTINGS:
        if mine[key] != theirs[key]:
            raise ModelError(f"{name} has {key} {theirs[key]!r} where {first} has {mine[key]!r}")
    different = different_parameter(model, other)
    if different is not None:
        raise ModelError(f"{name} is built otherwise than {first}: {different} differs")
    setting = different_setting(model.encoder, other.encoder)
    if setting is not None:
        key, value, another = setting
        raise ModelError(
            f"{name} has {key} {another!r} in its encoder_config where {first} has {value!r}; only models that compute "
            "alike are averaged"
        )
