"""The best answers of examples, gathered over batches of windows."""

import math
import random

import pytest

from blockskim.data.examples import Example
from blockskim.data.windows import WindowSettings, make_windows
from blockskim.inference.answers import (
    AnswerCollector,
    Candidate,
    ExampleAnswers,
    PartialAnswers,
    answer_texts,
    best_text,
    merge_answers,
)
from blockskim.inference.runner import run_windows
from blockskim.inference.survival import NEVER
from tiny_answerers import TEXT, new_model
from tiny_tokenizers import fixed_tokenizer

SIZES = (40, 90, 210, 30)


@pytest.fixture(scope="module")
def windows():
    """Examples of one to several windows each."""
    examples = [Example(f"q{number}", "where is the nest ?", TEXT[:size]) for number, size in enumerate(SIZES)]
    return make_windows(examples, fixed_tokenizer("wordpiece"), WindowSettings(40, 8, 10))


def collected(batches, windows, **settings):
    """Answers from batches in the order they are given in."""
    collector = AnswerCollector(windows, **settings)
    for batch in batches:
        collector.add(batch)
    return collector.results()


def spans(answers):
    return [(candidate.start, candidate.end) for candidate in answers.candidates]


@pytest.mark.parametrize("thresholds", [0.0, 0.4, 1.0])
def test_the_order_of_the_batches_makes_no_difference(windows, thresholds):
    batches = list(run_windows(new_model(), windows, batch_size=2, thresholds=thresholds))
    assert len(batches) > len(SIZES) > 1
    expected = collected(batches, windows, n_best=5)
    shuffled = list(batches)
    for seed in range(5):
        random.Random(seed).shuffle(shuffled)
        for ours, theirs in zip(collected(shuffled, windows, n_best=5), expected, strict=True):
            assert spans(ours) == spans(theirs)
            assert ours.null_score == theirs.null_score
            assert ours.log_normalizer == pytest.approx(theirs.log_normalizer, rel=1e-6)


def test_parts_of_a_text_are_on_the_scale_of_the_whole(windows):
    """However it was split: in it "no answer" counts once, and a span may begin and end in different parts."""
    batches = list(run_windows(new_model(), windows, batch_size=1, thresholds=0.0))
    for number, whole in enumerate(collected(batches, windows, n_best=5)):
        parts = []
        for batch in batches:
            if windows.example_of(int(batch.indices[0])) == number:
                collector = AnswerCollector(windows, n_best=5)
                collector.add(batch)
                parts.append(collector.part(number))
        merged = merge_answers(parts, 5)
        assert (spans(merged), merged.null_score) == (spans(whole), whole.null_score)
        assert merged.log_normalizer == pytest.approx(whole.log_normalizer, rel=1e-6)
        assert merge_answers(parts[::-1], 5).log_normalizer == pytest.approx(whole.log_normalizer, rel=1e-6)
    assert len(batches) > 2 * len(SIZES)


def test_no_answer_is_not_known_where_no_part_tells_it():
    found = Candidate(2.0, 0, 3, 0)
    silent = PartialAnswers((found,), (1.0, 2.0), (math.inf, math.inf))
    telling = PartialAnswers((), (-math.inf, -math.inf), (0.5, 0.25))
    alone = merge_answers([silent, silent], 1)
    assert alone.null_score == math.inf and alone.log_normalizer == pytest.approx(3.0 + 2 * math.log(2))
    assert merge_answers([telling], 1) == ExampleAnswers((), 0.75, 0.75)
    both = merge_answers([silent, telling], 1)
    assert both.candidates == (found,) and both.null_score == 0.75


def test_parts_in_which_nothing_passed_count_only_where_it_passed_in_none(windows):
    """As batches of windows that are read at once do, whatever part they are in."""
    differing = []
    for threshold in (0.5, 1.0):
        batches = list(run_windows(new_model(), windows, batch_size=2, thresholds=threshold))
        for number, whole in enumerate(collected(batches, windows, n_best=5)):
            parts = []
            for batch in batches:
                collector = AnswerCollector(windows, n_best=5)
                collector.add(batch)
                parts.append(collector.part(number))
            differing.append(len({part.rank for part in parts} - {NEVER}))
            merged = merge_answers(parts, 5)
            assert (spans(merged), merged.null_score) == (spans(whole), whole.null_score)
            assert merged.log_normalizer == pytest.approx(whole.log_normalizer, rel=1e-6)
    assert max(differing) > 1


def test_candidates_are_distinct_best_first_and_as_many_as_asked_for(windows):
    batches = list(run_windows(new_model(), windows, batch_size=64, thresholds=0.0))
    for answers in collected(batches, windows, n_best=20):
        scores = [candidate.score for candidate in answers.candidates]
        assert len(scores) == 20
        assert scores == sorted(scores, reverse=True)
        assert len(set(spans(answers))) == 20


def test_every_candidate_stands_in_the_context_and_in_its_window(windows):
    batches = list(run_windows(new_model(), windows, batch_size=64, thresholds=0.4))
    for number, answers in enumerate(collected(batches, windows, n_best=5)):
        for candidate in answers.candidates:
            assert windows.example_of(candidate.window) == number
            _, first, end = windows.windows[candidate.window].tolist()
            start, stop = windows.character_span(number, first, end - 1)
            assert start <= candidate.start < candidate.end <= stop <= SIZES[number]


def test_texts_are_those_of_the_context(windows):
    batches = list(run_windows(new_model(), windows, batch_size=64, thresholds=0.4))
    answers = collected(batches, windows)
    texts = answer_texts(windows.examples, answers)
    assert list(texts) == ["q0", "q1", "q2", "q3"]
    for example, answer in zip(windows.examples, answers, strict=True):
        assert texts[example.id] == best_text(example, answer) == answer.candidates[0].text(example.context) != ""
    assert best_text(windows.examples[0], ExampleAnswers((), 0.0, 0.0)) == ""


def test_a_candidate_is_cut_from_the_context():
    assert Candidate(1.0, 4, 12, 0).text("the red kite nests") == "red kite"


@pytest.mark.parametrize(
    ("score", "log_normalizer", "expected"),
    [(0.0, 0.0, 1.0), (1.0, 3.0, math.exp(-2.0)), (3.0, 1.0, 1.0), (-math.inf, 0.0, 0.0)],
)
def test_scores_become_probabilities(score, log_normalizer, expected):
    assert ExampleAnswers((), 0.0, log_normalizer).probability(score) == pytest.approx(expected)
