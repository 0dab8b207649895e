"""Signals of sentences against what a plain loop over tokens and blocks gives."""

from itertools import product

import numpy as np
import pytest

from blockskim.answering.request import AnswerOptions, TextPair
from blockskim.evidence.sentences import split_sentences
from blockskim.evidence.signals import SignalCollector
from blockskim.method.evidence import SPAN_TOKENS
from blockskim.method.skim_trace import Asking
from light_answerers import light_answerer

TEXT = (
    "The red kite nests in Wales. It eats worms! In 2024 there were 2,500 nests. Who counted them? A man, and a kite. "
)
LONG = TEXT * 3 + "東京は赤い。\x01 The end."


def run(backend_settings, batch_size, limit=15, texts=(TEXT, LONG), **way):
    """The signals, and the batches and windows of one run over texts."""
    qa = light_answerer(**backend_settings)
    pairs = [TextPair("Where is it?", text) for text in texts]
    options = AnswerOptions(batch_size=batch_size, doc_stride=16, **way)
    reading = qa.reader.read(pairs, options, asking=Asking(all_layers=True))
    sentences = [split_sentences(pair.context) for pair in pairs]
    collector = SignalCollector(reading.windows, sentences, qa.model.skim_layers, limit)
    groups = list(reading.groups(qa.model))
    for group, windows in groups:
        collector.add(group, windows)
    return collector.signals, groups


def by_hand(groups, example, span, limit):
    """Best span in characters and its score, and keep probabilities, of one sentence; each group is one batch."""
    best, keep, read = (-np.inf, None), [np.nan, np.nan], False
    rows = [(batch, windows, row) for (batch,), windows in groups for row in range(len(batch.indices))]
    rows = [(batch, windows, row) for batch, windows, row in rows if windows.example_of(batch.indices[row]) == example]
    best_rank = max((batch.ranks[row] for batch, _, row in rows), default=None)
    for batch, windows, row in rows:
        # What a group kept for want of a better block is gone where another one had better ones.
        gone = batch.ranks[row].layer if batch.ranks[row] < best_rank else np.inf
        index, scores, trace = int(batch.indices[row]), batch.scores, batch.scores.trace
        _, first, end = windows.windows[index]
        begin, offsets = windows.context_start(index), windows.contexts.offsets_of(int(windows.context_of[example]))
        passages = windows.passages(np.array([index]), batch.context_mask.shape[1])
        passage_of = np.zeros(batch.context_mask.shape[1]) if passages is None else passages[0]
        inside = [
            token
            for token in range(first, end)
            if span[0] <= offsets[token, 1] - 1 < span[1] and offsets[token, 1] > offsets[token, 0]
        ]
        read |= bool(inside)
        # Of equals the shortest, then the first.
        for one, other in sorted(product(inside, inside), key=lambda pair: pair[1] - pair[0]):
            start, stop = begin + one - first, begin + other - first
            if gone == np.inf and one <= other < one + limit and passage_of[start] == passage_of[stop]:
                score = float(scores.start_logits[row, start]) + float(scores.end_logits[row, stop])
                if score > best[0]:
                    best = score, (offsets[one, 0], offsets[other, 1])
        for block in np.flatnonzero(trace.layout.droppable[row]):
            start = trace.layout.starts[row, block] - begin + first
            if set(range(start, start + trace.layout.lengths[row, block])) & set(inside):
                for place, layer in enumerate(each for each in trace.layers if each <= gone):
                    keep[layer - 1] = np.fmax(keep[layer - 1], trace.probabilities[place, row, block])
    return best, keep, read


def check_by_hand(signals, groups, limit):
    for example, own in enumerate(signals):
        for number, span in enumerate(own.spans.tolist()):
            (best, place), keep, read = by_hand(groups, example, span, limit)
            assert own.answer_scores[number] == pytest.approx(best)
            # What scores are made of does not depend on how long an answer may be.
            assert own.best[number] == pytest.approx(by_hand(groups, example, span, SPAN_TOKENS)[0][0])
            assert np.allclose(own.keep[:, number], keep, equal_nan=True)
            assert own.read[number] == read
            if place is not None:
                assert own.answers[number].tolist() == list(place)


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("limit", [1, 3, 15, 20])
def test_signals_are_those_of_a_plain_loop(dense, limit):
    signals, groups = run({}, 64, limit, dense=dense)
    assert len(groups) == 1
    check_by_hand(signals, groups, limit)


@pytest.mark.parametrize("share", [0.4, 0.7, 1.0])
@pytest.mark.parametrize("settings", [{}, {"thresholds": 1.0}])
def test_passages_of_every_phase_are_those_of_their_own_sentences(settings, share):
    """The tokens of a later phase are others than those of the first at the same places."""
    signals, groups = run(settings, 64, texts=(LONG * 4,), max_cost=share)
    assert len(groups) > 1
    ranks = {batch.ranks[0] for (batch,), _ in groups}
    # Where nothing passes the thresholds each phase keeps a block, and those of one of them alone count.
    assert len(ranks) == 1 if not settings else len(ranks) > 1
    check_by_hand(signals, groups, 15)


@pytest.mark.parametrize("way", [{"max_cost": 0.3}, {"threshold": 0.5}])
def test_words_are_those_of_the_whole_text_whatever_is_read(way):
    texts = ("The sea. " * 900 + TEXT,)
    backend = {"document_threshold": 0.7}
    (whole,), (part,) = run(backend, 64, texts=texts, dense=True)[0], run(backend, 64, texts=texts, **way)[0]
    assert np.array_equal(whole.tokens, part.tokens) and np.array_equal(whole.shared, part.shared)
    assert whole.read.all() and not part.read.all()


@pytest.mark.parametrize("thresholds", [0.4, 0.95, 1.0])
@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_batches_make_no_difference(thresholds, batch_size):
    """Not even where nothing passes the thresholds, and each batch keeps a block of its own."""
    together, _ = run({"thresholds": thresholds}, 64)
    apart, _ = run({"thresholds": thresholds}, batch_size)
    for one, other in zip(together, apart, strict=True):
        for name in ("keep", "read", "best", "answer_scores", "answers", "total", "nulls", "shared", "tokens"):
            assert np.array_equal(getattr(one, name), getattr(other, name), equal_nan=name == "keep"), name


def test_words_of_the_question_in_sentences():
    """By their characters, each once; whether or not they were read."""
    qa = light_answerer()
    text = "A nest, a nest? It rains. " * 2 + "Is the red nest there?"
    pair = TextPair("Is the red red nest: the nest here?", text)
    found = []
    for threshold in (0.0, 1.0):
        reading = qa.reader.read([pair], AnswerOptions(threshold=threshold), asking=Asking(all_layers=True))
        collector = SignalCollector(reading.windows, [split_sentences(text)], qa.model.skim_layers)
        for group, windows in reading.groups(qa.model):
            collector.add(group, windows)
        found.append(collector.signals[0])
    dense, skimmed = found
    assert np.array_equal(dense.shared, skimmed.shared)
    assert dense.tokens.sum() == len(qa.reader.tokenizer.backend.encode(text, add_special_tokens=False).ids)
    assert dense.shared[0] == dense.shared[2] > dense.shared[1]
    assert dense.shared.max() == dense.shared[4] < 1.0


def test_a_sentence_that_repeats_the_question_shares_all_of_it():
    qa = light_answerer()
    text = "Where is the nest. Nothing else."
    reading = qa.reader.read([TextPair("Where is the nest?!", text)], AnswerOptions(), asking=Asking(all_layers=True))
    collector = SignalCollector(reading.windows, [split_sentences(text)], qa.model.skim_layers)
    for group, windows in reading.groups(qa.model):
        collector.add(group, windows)
    assert collector.signals[0].shared[0] == 1.0


def test_a_question_of_punctuation_shares_nothing():
    qa = light_answerer()
    reading = qa.reader.read([TextPair("?!", "It rains?! ?!")], AnswerOptions(), asking=Asking(all_layers=True))
    collector = SignalCollector(reading.windows, [split_sentences("It rains?! ?!")], qa.model.skim_layers)
    for group, windows in reading.groups(qa.model):
        collector.add(group, windows)
    assert not collector.signals[0].shared.any()


def test_what_a_tokenizer_leaves_nothing_of_was_not_read():
    qa = light_answerer()
    text = "Kites nest. \x01\x02\x01"
    spans = lambda text: [(0, 11), (12, 15)]  # noqa: E731
    found = qa.highlight("Where?", {"a": text}, threshold=0.0, sentences=spans)
    assert [(each["start"], each["end"]) for each in found] == [(0, 11)]
    windows = qa.reader.read([TextPair("Where?", text)], AnswerOptions()).windows
    signals = SignalCollector(windows, [spans(text)], (1, 2)).signals[0]
    assert not signals.read.any()
