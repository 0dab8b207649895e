"""Calibrating the scores of sentences on texts of which it is known what is evidence."""

import logging

import numpy as np
import pytest

from blockskim.data.examples import Answer, Example
from blockskim.errors import ConfigError, DataError
from blockskim.evidence.calibrate import calibrate_evidence, recall_threshold, sentences_holding
from blockskim.evidence.sentences import split_sentences
from blockskim.method.evidence import UNCALIBRATED, EvidenceModel
from light_answerers import light_answerer

PARTS = ("The kite nests.", "It is red.", "A man counted them in Wales.", "It rains.", "He left.")


@pytest.fixture(autouse=True, scope="module")
def silent():
    logging.getLogger("blockskim").setLevel(logging.ERROR)
    yield
    logging.getLogger("blockskim").setLevel(logging.NOTSET)


def by_score(count=40):
    """Examples whose answer stands in the sentence that the model likes best, so that there is something to learn."""
    qa, found = light_answerer(), []
    for number in range(count):
        order = np.random.default_rng(number).permutation(len(PARTS))
        text = " ".join(PARTS[place] for place in order) + f" Number {number} of all."
        best = qa.highlight("Where?", {"a": text}, threshold=0.0, dense=True)[0]
        start, answer = best["start"], best["text"].split()[0]
        found.append(Example(str(number), "Where?", text, (Answer(answer, start),), (answer,)))
    return found


def test_what_is_learned_puts_evidence_first():
    reader = light_answerer().reader
    examples = by_score()
    fitted = calibrate_evidence(reader, examples)
    assert (fitted.sentences, fitted.evidence) == (240, 40)
    assert fitted.recall["highlight-98"] >= 0.98
    assert fitted.recall["highlight-95"] >= 0.95
    assert fitted.model.points["highlight-98"] <= fitted.model.points["highlight-95"] <= 1
    assert list(fitted.kept) == list(fitted.recall) == ["threshold", "highlight-95", "highlight-98"]
    assert fitted.summary()["points"] == fitted.model.points
    # At a point just that much stays: what was counted is what a caller gets.
    qa = light_answerer(evidence=fitted.model)
    stayed = 0
    for example in examples:
        starts = [each["start"] for each in qa.highlight("Where?", {"a": example.context}, threshold="highlight-95")]
        stayed += example.answers[0].start in starts
    assert stayed / len(examples) == fitted.recall["highlight-95"]


def test_supporting_facts_are_each_a_piece_and_answers_are_alternatives():
    text = " ".join(PARTS)
    spans = split_sentences(text)
    facts = Example("a", "Where?", text, (Answer("red", text.index("red")),), ("red",), evidence=(spans[2], spans[4]))
    either = Example(
        "b", "Where?", text, (Answer("red", text.index("red")), Answer("left", text.index("left"))), ("red",)
    )
    nothing = Example("c", "Where?", text)
    reader = light_answerer(evidence=EvidenceModel((2, 0, -1, 0, 0, 0, 0), 0.5)).reader
    fitted = calibrate_evidence(reader, [facts, either, nothing] * 10)
    assert (fitted.sentences, fitted.evidence) == (150, 40)


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        ((0, 4), [0]),
        ((8, 30), [1]),
        ((2, 40), [0, 1]),
        ((8, 13), [0]),
        ((11, 30), [1]),
        ((30, 40), [1]),
        ((50, 60), []),
    ],
)
def test_sentences_that_hold_a_span(span, expected):
    places = np.array([[0, 11], [12, 40]])
    assert sentences_holding(places, *span).tolist() == expected


def test_the_threshold_of_a_recall_is_the_highest_that_keeps_it():
    scores = np.linspace(0.01, 1, 100)
    assert recall_threshold(scores, 0.98) == pytest.approx(0.03)
    assert (scores >= recall_threshold(scores, 0.98)).mean() == 0.98
    assert recall_threshold(scores, 1.0) == pytest.approx(0.01)


def test_there_must_be_text_and_evidence():
    reader = light_answerer().reader
    with pytest.raises(DataError, match="no text to calibrate on"):
        calibrate_evidence(reader, [Example("a", "Where?", " ")])
    with pytest.raises(DataError, match="at least 20 sentences"):
        calibrate_evidence(reader, by_score(5))


def test_a_point_must_be_one_of_the_model():
    with pytest.raises(ConfigError, match=r"threshold is 'highlight-98'; .* it has no points of evidence"):
        light_answerer().highlight("Where?", ["It rains."], threshold="highlight-98")
    model = EvidenceModel((2, 0, -1, 0, 0, 0, 0), 0.5, {"most": 0.1})
    with pytest.raises(ConfigError, match=r"threshold is 'all'; .* one of its points: most"):
        light_answerer(evidence=model).prune("Where?", ["It rains."], threshold="all")
    assert EvidenceModel.from_dict(model.to_dict()) == model
    assert UNCALIBRATED.points == {}
    for points in ({"a": 2}, {"": 0.5}, [0.5], {3: 0.5}):
        with pytest.raises(ConfigError, match="points"):
            EvidenceModel((2, 0, -1, 0, 0, 0, 0), 0.5, points)
