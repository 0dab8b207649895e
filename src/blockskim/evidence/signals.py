"""What a run of a model says about every sentence of the texts that it read, gathered batch by batch.

Skimming has dropped most tokens by the end. So a sentence has three kinds of signals: the keep probabilities of its
blocks in each layer that scored them, the logits of those of its tokens that were read to the end, and the words of the
question that stand in it, whether or not they were read.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from blockskim.data.windows import WindowSet
from blockskim.evidence.sentences import Spans
from blockskim.inference.runner import WindowBatch
from blockskim.inference.survival import SurvivalRank, last_layer, take_ranks
from blockskim.method.evidence import SPAN_TOKENS, features

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(slots=True)
class SentenceSignals:
    """Of the sentences of one text and one question.

    Attributes:
        spans: first character and one past the last of each. Shape: (sentences, 2)
        keep: highest keep probability of its blocks in each layer that has a predictor; NaN where none was scored.
            Shape: (layers, sentences)
        read: whether a token of it was in a window. Shape: (sentences,)
        best: start plus end logit of the best span inside of it of up to ``SPAN_TOKENS`` tokens; -inf where there is
            none. Shape: (sentences,)
        answer_scores: the same of the best span that may be an answer, of as many tokens as the caller wants.
            Shape: (sentences,)
        answers: first character and one past the last of that. Shape: (sentences, 2)
        total: logarithm of the summed exponentials of start logits and of end logits, of all tokens of the text that
            were read to the end. Shape: (2,)
        nulls: start and end logit of "no answer", of the window where their sum is smallest; infinite where nothing
            tells it. Shape: (2,)
        shared: the share of the question's words that stand in it, by their characters: long words are rare ones.
            Shape: (sentences,)
        tokens: in each. Shape: (sentences,)
    """

    spans: Ints
    keep: Floats
    read: NDArray[np.bool_]
    best: Floats
    answer_scores: Floats
    answers: Ints
    total: Floats
    nulls: Floats
    shared: Floats
    tokens: Ints

    @property
    def features(self) -> Floats:
        """What the score is made of, as ``method.evidence`` knows it. Shape: (sentences, features)."""
        return features(self.keep, self.best, self.shared, self.tokens)

    @property
    def log_normalizers(self) -> Floats:
        """What makes probabilities of start and end logits, "no answer" among them. Shape: (2,)."""
        known = np.isfinite(self.nulls).all()
        sums: Floats = np.logaddexp(self.total, self.nulls) if known else self.total
        return sums


class SignalCollector:
    """Gathers the signals of texts by the number of their example; grouping into batches makes no difference."""

    def __init__(
        self, windows: WindowSet, sentences: Sequence[Spans], skim_layers: Sequence[int], max_answer_length: int = 15
    ) -> None:
        """Gather signals of the sentences of each example.

        Args:
            windows: of the whole texts, of which perhaps passages alone are read.
            sentences: of each, as ``split_sentences`` gives them.
            skim_layers: numbers of the layers that have a predictor.
            max_answer_length: most tokens in an answer; scores don't depend on it.
        """
        self._layers = list(skim_layers)
        self._max_answer_length = max_answer_length
        self._windows = windows
        self._owners: dict[int, Ints] = {}
        self._ranks: dict[int, SurvivalRank] = {}
        self.signals = [_nothing(spans, len(self._layers)) for spans in sentences]
        for example, signals in enumerate(self.signals):
            if len(signals.spans):
                self._owners[example] = _owners(windows, example, signals.spans)
                _compare_words(signals, windows, example, self._owners[example])

    def add(self, group: Sequence[WindowBatch], windows: WindowSet) -> None:
        """Take in a group of batches that holds all windows of its examples that were read at once.

        Args:
            group: the batches.
            windows: that they are of; of an example that comes again they may hold other passages.
        """
        owners = self._owners if windows is self._windows else {}
        ranks = ((windows.examples_of(batch.indices), batch.ranks) for batch in group)
        for example, layer in take_ranks(self._ranks, ranks).items():
            self._forget(self.signals[example], layer)
        for batch in group:
            for row, index in enumerate(batch.indices.tolist()):
                example = windows.example_of(index)
                signals = self.signals[example]
                if not len(signals.spans):
                    continue
                if example not in owners:
                    owners[example] = _owners(windows, example, signals.spans)
                gone = last_layer(batch.ranks[row], self._ranks[example])
                self._add_window(signals, batch, row, windows, index, owners[example], gone)

    def _forget(self, signals: SentenceSignals, layer: float) -> None:
        """Leave nothing of what was kept, for want of a better block, from a layer on."""
        signals.keep[np.array(self._layers) > layer] = np.nan
        signals.best[:] = signals.answer_scores[:] = signals.total[:] = -np.inf
        signals.nulls[:] = np.inf
        signals.answers[:] = 0

    def _add_window(
        self,
        signals: SentenceSignals,
        batch: WindowBatch,
        row: int,
        windows: WindowSet,
        index: int,
        owners: Ints,
        gone: float,
    ) -> None:
        example, first, end = (int(value) for value in windows.windows[index])
        if first == end:
            return
        begin = windows.context_start(index)
        offsets = windows.contexts.offsets_of(int(windows.context_of[example]))[first:end].astype(np.int64)
        owner = owners[first:end]
        signals.read[owner[owner >= 0]] = True
        self._add_blocks(signals, batch, row, begin, owner, gone)
        if np.isfinite(gone):
            return
        scores, inside = batch.scores, slice(begin, begin + end - first)
        logits = scores.start_logits[row, inside].astype(np.float64), scores.end_logits[row, inside].astype(np.float64)
        null = np.array([scores.start_logits[row, 0], scores.end_logits[row, 0]], dtype=np.float64)
        if np.isfinite(null).all() and null.sum() < signals.nulls.sum():
            signals.nulls = null
        for number, values in enumerate(logits):
            signals.total[number] = np.logaddexp(signals.total[number], np.logaddexp.reduce(values))
        passages = windows.passages(np.array([index]), batch.context_mask.shape[1])
        # An answer lies in one sentence, and in one passage where only passages of a text are read.
        runs = owner if passages is None else owner + len(signals.spans) * passages[0, inside]
        self._add_spans(signals, logits, owner, runs, offsets)

    def _add_blocks(
        self, signals: SentenceSignals, batch: WindowBatch, row: int, begin: int, owner: Ints, gone: float
    ) -> None:
        """Keep probabilities of the blocks of a window."""
        trace = batch.scores.trace
        blocks = np.flatnonzero(trace.layout.droppable[row])
        starts, lengths = trace.layout.starts[row, blocks] - begin, trace.layout.lengths[row, blocks]
        block_of = np.repeat(np.arange(len(blocks)), lengths)
        tokens = np.arange(len(block_of)) - np.repeat(np.cumsum(lengths) - lengths, lengths) + starts[block_of]
        sentences = owner[tokens]
        known = sentences >= 0
        for place, layer in enumerate(trace.layers):
            if layer > gone:
                break
            values = trace.probabilities[place, row, blocks].astype(np.float64)[block_of]
            there = known & ~np.isnan(values)
            np.fmax.at(signals.keep[self._layers.index(layer)], sentences[there], values[there])

    def _add_spans(
        self, signals: SentenceSignals, logits: tuple[Floats, Floats], owner: Ints, runs: Ints, offsets: Ints
    ) -> None:
        """The best span inside of each sentence of a window; of equals the shortest, then the first."""
        start_logits, end_logits = logits
        for length in range(min(max(self._max_answer_length, SPAN_TOKENS), len(owner))):
            last = len(owner) - length
            inside = np.flatnonzero((runs[:last] == runs[length:]) & (owner[:last] >= 0))
            scores, sentences = start_logits[inside] + end_logits[inside + length], owner[inside]
            if length < SPAN_TOKENS:
                np.maximum.at(signals.best, sentences, scores)
            if length >= self._max_answer_length:
                continue
            better = np.flatnonzero(scores > signals.answer_scores[sentences])
            # Of each sentence the best comes last, and is what stays.
            order = better[np.lexsort((-inside[better], scores[better]))]
            signals.answer_scores[sentences[order]] = scores[order]
            signals.answers[sentences[order], 0] = offsets[inside[order], 0]
            signals.answers[sentences[order], 1] = offsets[inside[order] + length, 1]


def _nothing(spans: Spans, layers: int) -> SentenceSignals:
    count = len(spans)
    return SentenceSignals(
        spans=np.array(spans, dtype=np.int64).reshape(-1, 2),
        keep=np.full((layers, count), np.nan),
        read=np.zeros(count, dtype=np.bool_),
        best=np.full(count, -np.inf),
        answer_scores=np.full(count, -np.inf),
        answers=np.zeros((count, 2), dtype=np.int64),
        total=np.full(2, -np.inf),
        nulls=np.full(2, np.inf),
        shared=np.zeros(count),
        tokens=np.zeros(count, dtype=np.int64),
    )


def _compare_words(signals: SentenceSignals, windows: WindowSet, example: int, owner: Ints) -> None:
    """How much of a question its sentences repeat, and how long they are, whatever of them is read."""
    inside, count = owner >= 0, len(signals.spans)
    signals.tokens = np.bincount(owner[inside], minlength=count)
    asked = windows.question_ids(example)
    spans = windows.questions.offsets_of(example)[: len(asked)]
    question = windows.examples[example].question.strip()
    # Punctuation says nothing.
    words = [any(letter.isalnum() for letter in question[start:end]) for start, end in spans.tolist()]
    distinct, places = np.unique(asked[words], return_index=True)
    if not len(distinct):
        return
    sizes = np.diff(spans[words], axis=1)[places, 0].astype(np.float64)
    ids = windows.contexts.ids_of(int(windows.context_of[example]))
    found = np.searchsorted(distinct, ids).clip(max=len(distinct) - 1)
    there = inside & (distinct[found] == ids)
    # Each word once for each sentence. A table of all words and sentences would be large, and nearly empty.
    words_found, sentences = np.unique(np.stack([found[there], owner[there]]), axis=1)
    signals.shared = np.bincount(sentences, sizes[words_found], minlength=count) / sizes.sum()


def _owners(windows: WindowSet, example: int, spans: Ints) -> Ints:
    """The sentence that the last character of each token of a context lies in, -1 for none. Shape: (tokens,)."""
    offsets = windows.contexts.offsets_of(int(windows.context_of[example])).astype(np.int64)
    last = offsets[:, 1] - 1
    found = np.searchsorted(spans[:, 1], last, side="right").clip(max=len(spans) - 1)
    inside = (spans[found, 0] <= last) & (last < spans[found, 1]) & (offsets[:, 0] < offsets[:, 1])
    owners: Ints = np.where(inside, found, -1)
    return owners
