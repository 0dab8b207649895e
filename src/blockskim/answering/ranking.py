"""From candidates in tokens to answers in a caller's text: each span of characters once, best first, on one scale."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NotRequired, TypedDict

import numpy as np

from blockskim.answering.request import AnswerOptions
from blockskim.answering.trace import AnswerTrace
from blockskim.answering.word_boundaries import align_to_words, trim_blanks
from blockskim.data.windows import WindowSet
from blockskim.inference.answers import AnswerCollector, Candidate, ExampleAnswers, PartialAnswers
from blockskim.inference.no_answer import NoAnswerRule
from blockskim.inference.runner import WindowBatch
from blockskim.method.confidence import ConfidenceModel


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

    Several spans of tokens may become one answer. So more are looked at than asked for, and more yet as long as an
    example is short of answers although it has spans that were not looked at.
    """
    count = 2 * options.top_k + 8 if options.align_to_words else options.top_k
    examples = sorted({int(example) for batch in batches for example in windows.examples_of(batch.indices)})
    spans: dict[int, int] | None = None
    while True:
        collector = AnswerCollector(windows, options.max_answer_len, count)
        for batch in batches:
            collector.add(batch)
        answers = {
            example: _distinct(collector.part(example), windows.examples[example].context, options)
            for example in examples
        }
        short = [example for example in examples if len(answers[example].candidates) < options.top_k]
        if short and spans is None:
            spans = _span_counts(batches, windows, options.max_answer_len)
        if spans is None or not any(spans[example] > count for example in short):
            return answers
        count *= 8


def scored_spans(answers: ExampleAnswers) -> list[tuple[int, int, float]]:
    """First character, one past the last, and probability of each answer, best first."""
    return [(candidate.start, candidate.end, answers.probability(candidate.score)) for candidate in answers.candidates]


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
        return []
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


def _found(
    answers: ExampleAnswers, log_normalizer: float, context: str, confidence: ConfidenceModel | None
) -> list[FoundAnswer]:
    """The answers of a text, best first; their scores are on the scale of a normaliser."""
    found = []
    for start, end, score in scored_spans(replace(answers, log_normalizer=log_normalizer)):
        found.append(FoundAnswer(score=score, start=start, end=end, answer=context[start:end]))
    if confidence is not None:
        for answer, candidate in zip(found, answers.candidates, strict=True):
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


def _distinct(answers: PartialAnswers, context: str, options: AnswerOptions) -> PartialAnswers:
    """Candidates as answers in the text, each span of characters once, with the best of its scores."""
    distinct: dict[tuple[int, int], Candidate] = {}
    for candidate in answers.candidates:
        start, end = trim_blanks(context, candidate.start, candidate.end)
        if start == end:
            continue
        span = align_to_words(context, start, end) if options.align_to_words else (start, end)
        distinct.setdefault(span, Candidate(candidate.score, *span, candidate.window))
    return replace(answers, candidates=tuple(distinct.values())[: options.top_k])


def _span_counts(batches: Sequence[WindowBatch], windows: WindowSet, max_length: int) -> dict[int, int]:
    """How many spans of surviving tokens each example has, over all its windows."""
    counts: Counter[int] = Counter()
    for batch in batches:
        alive = (np.isfinite(batch.scores.start_logits) & batch.context_mask).astype(np.int64)
        tokens = alive.shape[1]
        # Ends at most reach - 1 behind each start.
        reach = min(max_length, tokens)
        sums = np.pad(alive, ((0, 0), (1, reach - 1))).cumsum(-1)
        spans = (alive * (sums[:, reach : reach + tokens] - sums[:, :tokens])).sum(-1).tolist()
        for example, number in zip(windows.examples_of(batch.indices).tolist(), spans, strict=True):
            counts[example] += number
    return counts
