"""From candidates in tokens to answers in a caller's text: each span of characters once, best first, on one scale."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NotRequired, TypedDict

import numpy as np
from numpy.typing import NDArray

from blockskim.answering.request import AnswerOptions
from blockskim.answering.trace import AnswerTrace
from blockskim.answering.word_boundaries import Boundaries
from blockskim.data.windows import WindowSet
from blockskim.inference.answers import AnswerCollector, Candidate, ExampleAnswers, PartialAnswers
from blockskim.inference.no_answer import NoAnswerRule
from blockskim.inference.runner import WindowBatch
from blockskim.inference.spans import best_spans
from blockskim.method.confidence import ConfidenceModel

_NOTHING = ExampleAnswers((), 0.0, 0.0)
"""Of a text in which nothing can be read."""


class FoundAnswer(TypedDict):
    """An answer; ``start`` and ``end`` are character offsets into the context, both 0 for "no answer".

    ``confidence`` is the probability that it is right, if the model was calibrated for that.
    """

    score: float
    confidence: NotRequired[float]
    start: int
    end: int
    answer: str
    document: NotRequired[str]
    trace: NotRequired[AnswerTrace]


def collect_answers(
    batches: Sequence[WindowBatch], windows: WindowSet, options: AnswerOptions
) -> dict[int, PartialAnswers]:
    """The best ``top_k`` distinct answers of each example that the batches are of, by the example's number.

    Several spans of tokens may become one answer. So more are looked at than asked for, and all of them where an
    example still is short of answers.
    """
    count = 2 * options.top_k + 8 if options.align_to_words else options.top_k
    collector = AnswerCollector(windows, options.max_answer_len, count)
    for batch in batches:
        collector.add(batch)
    answers = {}
    for example in sorted({int(example) for batch in batches for example in windows.examples_of(batch.indices)}):
        part = collector.part(example)
        boundaries = Boundaries(windows.examples[example].context)
        candidates = _as_shown(part.candidates, boundaries, options)
        if len(candidates) < options.top_k:
            candidates = _as_shown(_all_distinct(batches, windows, example, boundaries, options), boundaries, options)
        answers[example] = replace(part, candidates=candidates)
    return answers


def answers_in_text(
    answers: ExampleAnswers, context: str, options: AnswerOptions, confidence: ConfidenceModel | None = None
) -> list[FoundAnswer]:
    """The best ``top_k`` answers from one text, "no answer" among them if that is allowed or there is no other.

    Args:
        answers: of the text.
        context: the text.
        options: how to answer.
        confidence: that of the model; None where it was not calibrated.
    """
    rule = NoAnswerRule(confidence, options.no_answer_threshold)
    found = _found(answers, answers.log_normalizer, context, confidence)
    if options.handle_impossible_answer or not found:
        none = _none(answers.probability(answers.null_score), rule, rule.chance(answers))
        found = _with_none(found, none, rule.declines(answers))
    return found[: options.top_k]


def answers_over_documents(
    answers: Sequence[ExampleAnswers],
    documents: Mapping[str, str],
    options: AnswerOptions,
    confidence: ConfidenceModel | None = None,
) -> list[FoundAnswer]:
    """The best ``top_k`` answers of all documents: both ends of an answer are in the same document.

    Of no document at all there is none, but "no answer" if that is allowed.

    Scores are probabilities over all documents. Confidence is that of an answer from its document alone, so it does
    not depend on what else was read; where a model has it, answers are ranked by it. "No answer" over all documents is
    as likely as in that one which is likeliest to hold an answer.

    Args:
        answers: those of each document, in the order of the documents.
        documents: text by name.
        options: how to answer.
        confidence: that of the model; None where it was not calibrated.
    """
    if not answers:
        return answers_in_text(_NOTHING, "", options, confidence) if options.handle_impossible_answer else []
    log_normalizer = float(np.logaddexp.reduce([each.log_normalizer for each in answers]))
    found = []
    for each, (name, text) in zip(answers, documents.items(), strict=True):
        for answer in _found(each, log_normalizer, text, confidence):
            answer["document"] = name
            found.append(answer)
    found.sort(key=lambda answer: -answer.get("confidence", answer["score"]))
    if options.handle_impossible_answer:
        rule = NoAnswerRule(confidence, options.no_answer_threshold)
        surest = min(answers, key=rule.chance)
        null_score = min(each.null_score for each in answers)
        score = replace(surest, log_normalizer=log_normalizer).probability(null_score)
        found = _with_none(found, _none(score, rule, rule.chance(surest)), rule.declines(surest))
    return found[: options.top_k]


def with_answers(trace: AnswerTrace, found: Sequence[FoundAnswer], document: object = None) -> AnswerTrace:
    """A trace with the answers that were given of its text, and with "no answer", which is of no text alone.

    Args:
        trace: what was read.
        found: all answers to the question, best first.
        document: name of the text; None where answers name none.
    """
    own = [(rank, answer) for rank, answer in enumerate(found, start=1) if answer.get("document", document) == document]
    spans = tuple((answer["start"], answer["end"], answer["score"]) for _, answer in own)
    return replace(trace, spans=spans, ranks=tuple(rank for rank, _ in own))


def _found(
    answers: ExampleAnswers, log_normalizer: float, context: str, confidence: ConfidenceModel | None
) -> list[FoundAnswer]:
    """The answers of a text, best first; their scores are on the scale of a normaliser."""
    found, scaled = [], replace(answers, log_normalizer=log_normalizer)
    for candidate in answers.candidates:
        score, text = scaled.probability(candidate.score), candidate.text(context)
        answer = FoundAnswer(score=score, start=candidate.start, end=candidate.end, answer=text)
        found.append(answer)
        if confidence is not None:
            answer["confidence"] = confidence.of_answer(candidate.score, answers.null_score, answers.log_normalizer)
    return found


def _none(score: float, rule: NoAnswerRule, chance: float) -> FoundAnswer:
    """An answer which says that there is none."""
    none = FoundAnswer(score=score, start=0, end=0, answer="")
    if rule.confidence is not None:
        none["confidence"] = chance
    return none


def _with_none(found: list[FoundAnswer], none: FoundAnswer, declines: bool) -> list[FoundAnswer]:
    """Answers with "no answer" among them: first if it is to be given, else behind the best of them at least."""
    if declines or not found:
        return [none, *found]
    own = none.get("confidence", none["score"])
    better = [answer for answer in found[1:] if answer.get("confidence", answer["score"]) >= own]
    return [found[0], *better, none, *found[1 + len(better) :]]


def _as_shown(candidates: Sequence[Candidate], boundaries: Boundaries, options: AnswerOptions) -> tuple[Candidate, ...]:
    """The best of some candidates as they stand in the text, each span once, with the best of its scores."""
    distinct: dict[tuple[int, int], Candidate] = {}
    for candidate in candidates:
        start, end = boundaries.trim(candidate.start, candidate.end)
        if start == end:
            continue
        span = boundaries.align(start, end) if options.align_to_words else (start, end)
        distinct.setdefault(span, Candidate(candidate.score, *span, candidate.window))
    return tuple(distinct.values())[: options.top_k]


def _all_distinct(
    batches: Sequence[WindowBatch], windows: WindowSet, example: int, boundaries: Boundaries, options: AnswerOptions
) -> list[Candidate]:
    """The best ``top_k`` candidates of each window of an example that are different answers, best first.

    All spans of a text of one long word are one answer. So they are compared as numbers, and few become candidates.
    """
    rows = [
        (batch, row)
        for batch in batches
        for row in np.flatnonzero(windows.examples_of(batch.indices) == example).tolist()
    ]
    best = max(batch.ranks[row] for batch, row in rows)
    offsets = windows.contexts.offsets_of(int(windows.context_of[example]))
    candidates = []
    for batch, row in rows:
        if batch.ranks[row] != best:
            continue
        indices, mask = batch.indices[[row]], batch.context_mask[[row]]
        starts, ends = batch.scores.start_logits[[row]], batch.scores.end_logits[[row]]
        every, passages = starts.size * options.max_answer_len, windows.passages(indices, starts.shape[1])
        spans = best_spans(starts, ends, mask, options.max_answer_len, every, passages)
        count, window = int(np.isfinite(spans.scores[0]).sum()), int(indices[0])
        shift = windows.context_offset(window)
        firsts = offsets[spans.starts[0, :count] + shift, 0]
        lasts = offsets[spans.ends[0, :count] + shift, 1]
        chosen = _first_of_each(firsts, lasts, boundaries, options.align_to_words)[: options.top_k]
        scores = spans.scores[0, chosen].tolist()
        for score, first, last in zip(scores, firsts[chosen].tolist(), lasts[chosen].tolist(), strict=True):
            candidates.append(Candidate(score, first, last, window))
    return sorted(candidates, key=lambda one: (-one.score, one.start, one.end))


def _first_of_each(
    firsts: NDArray[np.integer], lasts: NDArray[np.integer], boundaries: Boundaries, whole_words: bool
) -> NDArray[np.int64]:
    """Which spans are the first that stand where they do in the text; blank ones are left out.

    Shape: (spans,) each to (different spans,)
    """
    starts, ends = _each(boundaries.behind_blanks, firsts), _each(boundaries.before_blanks, lasts)
    there = np.flatnonzero(starts < ends)
    starts, ends = starts[there], ends[there]
    if whole_words:
        starts, ends = _each(boundaries.begin_of_word, starts), _each(boundaries.end_of_word, ends)
    return np.sort(there[np.unique(np.stack([starts, ends], axis=1), axis=0, return_index=True)[1]])


def _each(place: Callable[[int], int], positions: NDArray[np.integer]) -> NDArray[np.int64]:
    """Where each position is brought to. Shape: (positions,) to (positions,)."""
    different, which = np.unique(positions, return_inverse=True)
    return np.array([place(position) for position in different.tolist()], dtype=np.int64)[which]
