"""The score is that of the model's own weights where it has some."""

import pytest

from blockskim.errors import ConfigError
from blockskim.evidence.scoring import evidence_model
from blockskim.method.config import SkimConfig
from blockskim.method.evidence import UNCALIBRATED, EvidenceModel
from light_answerers import light_answerer

TEXTS = {"a": "The kite nests. It is red. A man counted them in Wales, and left.", "b": "It rains."}


def test_weights_of_the_config_are_used_and_kept():
    model = EvidenceModel((2, 0, -1, 0, 0, 0, 0), 0.8)
    config = SkimConfig(evidence=model)
    assert evidence_model(config) == model
    assert SkimConfig.from_dict(config.to_dict()) == config
    assert config.replace(thresholds=0.3).evidence == model
    assert evidence_model(SkimConfig()) == UNCALIBRATED


def test_their_threshold_holds_where_nothing_is_said():
    qa = light_answerer(evidence=EvidenceModel((2, 0, -1, 0, 0, 0, 0), 0.8))
    scores = {round(each["score"], 4) for each in qa.highlight("Where?", TEXTS, threshold=0.0)}
    # The sigmoids of 2, read to the end, and of 1.
    assert scores <= {0.8808, 0.7311}
    assert {round(each["score"], 4) for each in qa.highlight("Where?", TEXTS)} <= {0.8808}
    assert len(qa.highlight("Where?", TEXTS, top_k=9)) == len(qa.highlight("Where?", TEXTS, threshold=0.0)) == 4


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (7, "evidence is 7; it must be a mapping"),
        ({}, "evidence is {}; it must be a mapping"),
        ({"weights": "abcd"}, "evidence: weights is 'abcd'"),
        ({"weights": [1, 2, 3]}, "evidence: weights is"),
        ({"weights": [1, 2, 3, 4, 5, 6, 7], "threshold": -1}, "evidence: threshold is -1"),
        ({"weights": [1, 2, 3, 4, 5, 6, 7], "bias": 1}, "unknown evidence setting 'bias'"),
    ],
)
def test_impossible_weights_are_refused(values, message):
    with pytest.raises(ConfigError) as caught:
        EvidenceModel.from_dict(values)
    assert str(caught.value).startswith(message)


def test_what_was_written_is_read():
    assert EvidenceModel.from_dict(UNCALIBRATED.to_dict()) == UNCALIBRATED
