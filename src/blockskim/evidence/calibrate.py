"""Calibrating the scores of sentences on data sets: which of their sentences hold an answer or support it is known."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blockskim.answering.reading import TextReader, WindowCount
from blockskim.answering.request import AnswerOptions
from blockskim.data.examples import Example, check_annotated
from blockskim.errors import DataError
from blockskim.evidence.finding import Query, start_evidence
from blockskim.evidence.fitting import fit_evidence
from blockskim.evidence.scoring import sentence_scores
from blockskim.evidence.sentences import Splitter, split_sentences
from blockskim.evidence.signals import SentenceSignals
from blockskim.method.evidence import EvidenceModel

RECALLS = {"highlight-95": 0.95, "highlight-98": 0.98}
"""Points that are chosen: the share of the evidence that stays at each."""

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class EvidenceFit:
    """A fitted model of evidence, and what it was fitted on.

    Attributes:
        model: the fit.
        sentences: number of sentences of all texts.
        evidence: number of those that are evidence.
        kept: share of the characters of the texts that is kept at the threshold and at each point.
        recall: share of the pieces of evidence that is kept at the threshold and at each point.
    """

    model: EvidenceModel
    sentences: int
    evidence: int
    kept: dict[str, float]
    recall: dict[str, float]

    def summary(self) -> dict[str, Any]:
        """Values as JSON knows them."""
        counts = {"sentences": self.sentences, "evidence": self.evidence}
        return {**self.model.to_dict(), **counts, "kept": self.kept, "recall": self.recall}


def calibrate_evidence(
    reader: TextReader,
    examples: Sequence[Example],
    options: AnswerOptions | None = None,
    splitter: Splitter = split_sentences,
    progress: WindowCount | None = None,
) -> EvidenceFit:
    """Fit what scores sentences, and choose thresholds: that with the best F1 of sentences, and those of ``RECALLS``.

    Evidence are the supporting facts of an example, each of them, or where it has none the sentence of an answer, of
    any annotator's. All is read twice, skimmed and whole, so that the scores and the threshold hold for both; the
    points of ``RECALLS`` are chosen on what was skimmed.

    Args:
        reader: what texts are read with.
        examples: that were neither trained on nor will be reported on; unanswerable ones have no evidence.
        options: how to read.
        splitter: finds the sentences of a text.
        progress: called after each batch, of two readings.

    Raises:
        ConfigError: an option is impossible for the model, or the splitter gives no spans.
        DataError: the answers to a question are not known, or there are too few sentences of a kind.
    """
    check_annotated(examples)
    chosen = options or AnswerOptions()
    readable = [example for example in examples if example.context.strip()]
    if not readable:
        raise DataError("there is no text to calibrate on")
    skimmed = _signals(reader, readable, chosen, splitter, progress)
    dense = replace(chosen, dense=True, threshold=None, point=None)
    whole = _signals(reader, readable, dense, splitter, progress)
    pieces = [_pieces(example, each.spans) for example, each in zip(readable, skimmed, strict=True)]
    labels = np.concatenate([_labels(len(each.spans), own) for each, own in zip(skimmed, pieces, strict=True)])
    known = np.concatenate([each.features for each in (*skimmed, *whole)])
    read = np.concatenate([each.read for each in (*skimmed, *whole)])
    fitted = fit_evidence(known[read], np.concatenate([labels, labels])[read])
    scores = [sentence_scores(each, fitted) for each in skimmed]
    best = np.array([_score(piece, own) for found, own in zip(pieces, scores, strict=True) for piece in found])
    points = {name: recall_threshold(best, share) for name, share in RECALLS.items()}
    model = EvidenceModel(fitted.weights, fitted.threshold, points)
    lengths = np.concatenate([np.diff(each.spans, axis=1)[:, 0] for each in skimmed])
    flat, levels = np.concatenate(scores), {"threshold": model.threshold, **points}
    kept = {name: float(lengths[flat >= level].sum() / max(1, lengths.sum())) for name, level in levels.items()}
    recall = {name: float((best >= level).mean()) for name, level in levels.items()}
    return EvidenceFit(model, len(labels), int(labels.sum()), kept, recall)


def recall_threshold(scores: NDArray[np.float64], share: float) -> float:
    """The highest threshold that keeps a share of the pieces of evidence with these scores. Shape: (pieces,)."""
    return float(np.sort(scores)[int((1.0 - share) * len(scores) + 1e-9)])


def sentences_holding(places: Ints, start: int, end: int) -> Ints:
    """Numbers of the sentences that hold at least half of a span, or lie in it by half; any that touch it if none do.

    Args:
        places: first character and one past the last of each sentence. Shape: (sentences, 2)
        start: first character of the span.
        end: one past its last.
    """
    shared = np.minimum(places[:, 1], end) - np.maximum(places[:, 0], start)
    sizes = places[:, 1] - places[:, 0]
    good = np.flatnonzero((shared > 0) & ((2 * shared >= end - start) | (2 * shared >= sizes)))
    return good if len(good) else np.flatnonzero(shared > 0)


def _pieces(example: Example, places: Ints) -> list[list[Ints]]:
    """Pieces of evidence, each with the groups of sentences of which one has to stay, whole."""
    if example.evidence:
        found = [sentences_holding(places, start, end) for start, end in example.evidence]
        return [[group] for group in found if len(group)]
    groups = [sentences_holding(places, answer.start, answer.end) for answer in example.answers]
    return [groups] if (groups := [group for group in groups if len(group)]) else []


def _labels(count: int, pieces: Sequence[Sequence[Ints]]) -> NDArray[np.bool_]:
    labels = np.zeros(count, dtype=np.bool_)
    for groups in pieces:
        for group in groups:
            labels[group] = True
    return labels


def _score(groups: Sequence[Ints], scores: NDArray[np.float64]) -> float:
    """The highest threshold at which a piece of evidence stays."""
    return max(float(scores[group].min()) for group in groups)


def _signals(
    reader: TextReader,
    examples: Sequence[Example],
    options: AnswerOptions,
    splitter: Splitter,
    progress: WindowCount | None,
) -> list[SentenceSignals]:
    queries = [Query(example.question, {example.id: example.context}) for example in examples]
    reading = start_evidence(reader, queries, options, splitter, progress, trace=False)
    reading.read()
    return reading.signals
