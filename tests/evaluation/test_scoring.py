"""Scores by the rules of the format, and of several files."""

import pytest

from blockskim.data.examples import Example
from blockskim.evaluation.scoring import mean_scores, score, scores_by_source
from blockskim.inference.answers import Candidate, ExampleAnswers

TEXTS = ["a red kite nests in wales when it can", "who eats a worm ? the kite , in 2024 " * 6]


def example(name, text, references=(), version="1.1", source=""):
    metadata = (("format", "squad"), ("version", version))
    return Example(name, "where ?", text, (), references, source=source, metadata=metadata)


def test_squad_2_counts_no_answer_where_its_score_is_higher():
    examples = [
        example("a", TEXTS[0], ("wales",), "2.0"),
        example("b", TEXTS[1], ("2024",), "2.0"),
        example("c", TEXTS[0], (), "2.0"),
    ]
    found = ExampleAnswers((Candidate(5.0, 0, 1, 0),), 1.0, 6.0)
    none = ExampleAnswers((Candidate(1.0, 0, 1, 0),), 5.0, 6.0)
    predictions = {"a": "wales", "b": "2024", "c": "kite"}
    assert score(examples, predictions, [found, found, none])["exact_match"] == 100.0
    wrong = score(examples, predictions, [none, found, found])
    assert wrong["exact_match"] == pytest.approx(100 / 3)


def test_files_are_scored_apart_and_count_by_their_questions():
    start = TEXTS[0].index("wales")
    right = ExampleAnswers((Candidate(5.0, start, start + 5, 0),), 1.0, 6.0)
    wrong = ExampleAnswers((), 1.0, 6.0)
    examples = [example(name, TEXTS[0], ("wales",), source=source) for name, source in zip("abc", "xyx", strict=True)]
    files = scores_by_source(examples, [right, wrong, right])
    assert {name: (scores["f1"], scores["total"]) for name, scores in files.items()} == {"x": (100.0, 2), "y": (0.0, 1)}
    assert mean_scores(files) == {
        "exact_match": pytest.approx(200 / 3),
        "f1": pytest.approx(200 / 3),
        "total": 3,
        "missing": 0,
    }
