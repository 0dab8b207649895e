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
from blockskim.inference.answers import AnswerCollector, Candidate, ExampleAnswers
from blockskim.inference.runner import WindowBatch


class FoundAnswer(TypedDict):
    """An answer; ``start`` and ``end`` are character offsets into the context."""

    score: float
    start: int
    end: int
    answer: str
    document: NotRequired[str]
    trace: NotRequired[AnswerTrace]


def collect_answers(
    batches: Sequence[WindowBatch], windows: WindowSet, options: AnswerOptions
) -> dict[int, ExampleAnswers]:
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
            example: _distinct(collector.result(example), windows.examples[example].context, options)
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


def answers_in_text(answers: ExampleAnswers, context: str, options: AnswerOptions) -> list[FoundAnswer]:
    """The best ``top_k`` answers from one text, "no answer" among them if that is allowed or there is no other."""
    found = [
        FoundAnswer(score=score, start=start, end=end, answer=context[start:end])
        for start, end, score in scored_spans(answers)
    ]
    if options.handle_impossible_answer or not found:
        found.append(FoundAnswer(score=answers.probability(answers.null_score), start=0, end=0, answer=""))
        found.sort(key=lambda answer: -answer["score"])
    return found[: options.top_k]


def answers_over_documents(
    answers: Sequence[ExampleAnswers], documents: Mapping[str, str], top_k: int
) -> list[FoundAnswer]:
    """The best ``top_k`` answers of all documents on one scale: both ends of an answer are in the same document.

    Args:
        answers: those of each document, in the order of the documents.
        documents: text by name.
        top_k: how many answers to give, over all documents.
    """
    log_normalizer = float(np.logaddexp.reduce([each.log_normalizer for each in answers]))
    found = [
        FoundAnswer(score=score, start=start, end=end, answer=text[start:end], document=name)
        for each, (name, text) in zip(answers, documents.items(), strict=True)
        for start, end, score in scored_spans(replace(each, log_normalizer=log_normalizer))
    ]
    return sorted(found, key=lambda answer: -answer["score"])[:top_k]


def _distinct(answers: ExampleAnswers, context: str, options: AnswerOptions) -> ExampleAnswers:
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
