"""The score of a sentence: how likely it is that it is evidence, from 0 to 1 on one scale for all texts."""

import numpy as np

from blockskim.evidence.options import EvidenceOptions
from blockskim.evidence.signals import Floats, SentenceSignals
from blockskim.inference.backend import Backend
from blockskim.method.config import SkimConfig
from blockskim.method.evidence import UNCALIBRATED, EvidenceModel


def evidence_model(config: SkimConfig) -> EvidenceModel:
    """What a model of these settings scores sentences with."""
    return config.evidence or UNCALIBRATED


def check_threshold(options: EvidenceOptions, model: Backend) -> None:
    """Refuse a threshold that the model does not have.

    Raises:
        ConfigError: it has no point of that name.
    """
    options.least_score(evidence_model(model.skim_config))


def sentence_scores(signals: SentenceSignals, model: EvidenceModel) -> Floats:
    """Scores of the sentences of a text. Shape: (sentences,).

    A sentence of which the model read nothing has 0: of a long document, what fits the question worst is not read, and
    of some characters a tokenizer leaves nothing.
    """
    scores = model.scores(signals.features)
    return np.where(signals.read, scores, 0.0)
