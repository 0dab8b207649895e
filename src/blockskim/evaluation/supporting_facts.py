"""Supporting facts of HotpotQA, read off the blocks that a model kept.

A predictor that was trained with evidence as relevant (see ``label_evidence`` of a recipe) keeps the sentences that
support an answer, so a sentence is predicted as a supporting fact when a block that it lies in was kept to the end
and was likely enough.
"""

from typing import TypeAlias

import numpy as np

from blockskim.data.windows import WindowSet
from blockskim.inference.runner import WindowBatch
from blockskim.inference.survival import NEVER

Fact: TypeAlias = tuple[str, int]
"""Title of a paragraph and number of a sentence in it, from 0."""

FACT_THRESHOLD = 0.5


class FactCollector:
    """Gathers supporting facts of examples whose sentences are known, batch by batch.

    Of an example that is spread over several batches, those count whose answers do (see ``AnswerCollector``).
    """

    def __init__(self, windows: WindowSet, threshold: float = FACT_THRESHOLD) -> None:
        """Collect sentences in blocks of a keep probability of at least ``threshold``, of the last layer asked."""
        self.windows = windows
        self.threshold = threshold
        self._sentences = {
            number: np.array([span for span, _, _ in sentences], dtype=np.int64).reshape(-1, 2)
            for number, example in enumerate(windows.examples)
            if isinstance(sentences := dict(example.metadata).get("sentences"), tuple)
        }
        self._scores = {number: np.full(len(spans), -1.0) for number, spans in self._sentences.items()}
        self._ranks = dict.fromkeys(self._sentences, NEVER)
        self._asked = False

    def add(self, batch: WindowBatch, windows: WindowSet | None = None) -> None:
        """Take in the trace of a batch, of other windows of the same examples if these are given."""
        windows = self.windows if windows is None else windows
        trace = batch.scores.trace
        if not trace.layers or not self._sentences:
            return
        self._asked = True
        kept = trace.kept[-1] & trace.layout.droppable
        probabilities = trace.probabilities[-1]
        starts, lengths = trace.layout.starts, trace.layout.lengths
        for row, index in enumerate(batch.indices.tolist()):
            example = windows.example_of(index)
            if example not in self._sentences:
                continue
            spans, scores = self._sentences[example], self._scores[example]
            if batch.ranks[row] > self._ranks[example]:
                self._ranks[example] = batch.ranks[row]
                scores.fill(-1.0)
            elif batch.ranks[row] < self._ranks[example]:
                continue
            for block in np.flatnonzero(kept[row]).tolist():
                first = int(starts[row, block]) + windows.context_offset(index)
                begin, end = windows.character_span(example, first, first + int(lengths[row, block]) - 1)
                # A blank sentence supports nothing, wherever it lies.
                inside = (spans[:, 0] < end) & (spans[:, 1] > begin) & (spans[:, 0] < spans[:, 1])
                scores[inside] = np.maximum(scores[inside], np.nan_to_num(probabilities[row, block], nan=0.0))

    def results(self) -> dict[int, tuple[Fact, ...]] | None:
        """The facts of each example by its number: at least the likeliest; None if no predictor was asked."""
        if not self._asked:
            return None
        facts: dict[int, tuple[Fact, ...]] = {}
        for number, scores in self._scores.items():
            sentences = dict(self.windows.examples[number].metadata)["sentences"]
            assert isinstance(sentences, tuple)
            best = float(scores.max(initial=0.0))
            likely = np.flatnonzero((scores >= min(self.threshold, best)) & (scores > 0)).tolist()
            facts[number] = tuple((sentences[index][1], sentences[index][2]) for index in likely)
        return facts
