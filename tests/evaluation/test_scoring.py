"""Scores by the rules of the format, and of several files."""

import math
from dataclasses import replace

import pytest

from blockskim.data.examples import Example
from blockskim.data.reading import READERS
from blockskim.errors import DataError
from blockskim.evaluation.scoring import (
    OFFICIAL,
    f1_by_example,
    mean_scores,
    official_predictions,
    score,
    scores_by_source,
)
from blockskim.inference.answers import Candidate, ExampleAnswers
from blockskim.metrics.squad import score_squad2

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


def test_f1_of_each_example_is_what_the_official_score_is_the_mean_of():
    """With declined questions, questions without an answer, and HotpotQA's yes and no."""
    found, none = (ExampleAnswers((Candidate(value, 2, 10, 0),), 3.0, 6.0) for value in (5.0, 1.0))
    first = [
        example(str(n), TEXTS[0], references, "2.0", "new") for n, references in enumerate([("kite",), (), ("a",)] * 2)
    ]
    second = [example(f"o{n}", TEXTS[0], ("a kite", "red kite it"), source="old") for n in range(2)]
    hotpot = [replace(example(f"h{n}", "no. yes", ("yes it is",), source="h")) for n in range(2)]
    hotpot = [replace(one, metadata=(("format", "hotpotqa"),)) for one in hotpot]
    yes = ExampleAnswers((Candidate(5.0, 4, 7, 0),), 1.0, 6.0)
    answers = [found, none, found, none, found, none, found, none, yes, yes]
    each = f1_by_example([*first, *second, *hotpot], answers)
    assert each.shape == (10,)
    files = scores_by_source([*first, *second, *hotpot], answers)
    assert files["new"]["f1"] == pytest.approx(each[:6].mean()) != 0
    assert files["old"]["f1"] == pytest.approx(each[6:8].mean()) != 0
    assert files["h"]["f1"] == each[8:].mean() == 0
    assert each[1] == 100 and each[3] == each[4] == 0 and each[6] == each[7]


def test_official_predictions_score_by_the_official_rule_as_the_score_says():
    found, none, equal = (ExampleAnswers((Candidate(value, 2, 10, 0),), 3.0, 6.0) for value in (5.0, 1.0, 3.0))
    answers = [found, none, equal, ExampleAnswers((), 1.0, 6.0), none, found]
    references = (("red kite",), ("red kite",), ("red kite",), (), (), ())
    examples = [example(str(n), TEXTS[0], texts, "2.0") for n, texts in enumerate(references)]
    predictions = official_predictions(examples, answers)
    assert list(predictions.values()) == ["red kite", "", "red kite", "", "", "red kite"]
    (scores,) = scores_by_source(examples, answers).values()
    by_the_script = score_squad2(predictions, examples)
    for name in ("exact_match", "f1", "HasAns_f1", "NoAns_f1", "total"):
        assert scores[name] == pytest.approx(by_the_script[name])


def test_an_answer_is_never_empty_where_questions_have_answers():
    none = ExampleAnswers((Candidate(1.0, 2, 10, 0),), 3.0, 6.0)
    examples = [example("a", TEXTS[0], version="2.0", source="x"), example("b", TEXTS[0], ("kite",), source="y")]
    assert official_predictions(examples, [none, none]) == {"a": "", "b": "red kite"}


@pytest.mark.parametrize("metadata", [(), (("format", "mrqa"),), (("format", "hotpotqa"),)])
def test_a_question_without_an_answer_that_a_caller_made_is_scored(metadata):
    start = TEXTS[0].index("wales")
    found, none = (ExampleAnswers((Candidate(value, start, start + 5, 0),), 3.0, 6.0) for value in (5.0, 1.0))
    examples = [
        Example("a", "where ?", TEXTS[0], (), references, metadata=metadata) for references in (("wales",), (), ())
    ]
    examples = [replace(one, id=str(number)) for number, one in enumerate(examples)]
    answers = [found, none, found]
    (scores,) = scores_by_source(examples, answers).values()
    assert scores["f1"] == pytest.approx(200 / 3)
    assert f1_by_example(examples, answers).tolist() == [100.0, 100.0, 0.0]
    assert official_predictions(examples, answers) == {"0": "wales", "1": "", "2": "wales"}


def test_answers_are_not_told_by_an_id_that_two_questions_have():
    none = ExampleAnswers((), 1.0, 6.0)
    same = [example("record-1", TEXTS[0], source=source) for source in ("x", "y")]
    with pytest.raises(DataError, match=r"two questions have the id 'record-1' \(of x and of y\)"):
        official_predictions(same, [none, none])
    with pytest.raises(DataError, match=r"\(of no file\)"):
        official_predictions([example("a", TEXTS[0])] * 2, [none, none])


def test_files_that_were_taken_for_one_are_not_scored():
    none = ExampleAnswers((), 1.0, 6.0)
    same = [example("0", text, ("wales",), source="dev.json") for text in TEXTS]
    with pytest.raises(DataError, match=r"^dev\.json: two questions of id '0' can't be scored as one file; read files"):
        scores_by_source(same, [none, none])
    with pytest.raises(DataError, match=r"^the data: two questions of id '0'"):
        scores_by_source([replace(one, source="") for one in same], [none, none])
    mixed = [same[0], replace(same[1], id="1", metadata=(("format", "hotpotqa"),))]
    with pytest.raises(DataError, match=r"^dev\.json: questions of squad and of hotpotqa can't be scored as one file"):
        scores_by_source(mixed, [none, none])
    assert len(scores_by_source([same[0], replace(same[1], source="b/dev.json")], [none, none])) == 2


def test_files_without_answers_are_not_scored():
    start = TEXTS[0].index("wales")
    right = ExampleAnswers((Candidate(5.0, start, start + 5, 0),), 1.0, 6.0)
    bare = [replace(example(name, TEXTS[0], source="y"), annotated=False) for name in "bc"]
    files = scores_by_source([example("a", TEXTS[0], ("wales",), source="x"), *bare], [right] * 3)
    assert files["x"]["f1"] == 100.0
    assert math.isnan(files["y"]["f1"]) and math.isnan(files["y"]["exact_match"])
    assert files["y"]["total"] == 2
    assert mean_scores(files) == {"exact_match": 100.0, "f1": 100.0, "total": 1, "missing": 0}
    assert math.isnan(mean_scores({"y": files["y"]})["f1"])


def test_answers_alone_are_scored_where_no_facts_are_told():
    metadata = (("format", "hotpotqa"), ("sentences", (((0, 5), "T", 0),)))
    bare = Example("h", "where ?", TEXTS[0], (), ("wales",), metadata=metadata)
    right = ExampleAnswers((Candidate(5.0, TEXTS[0].index("wales"), TEXTS[0].index("wales") + 5, 0),), 1.0, 6.0)
    facts = {"h": (("T", 0),), "k": (("T", 0),)}
    names = {"exact_match", "f1", "precision", "recall", "total", "missing"}
    assert set(score([bare], {"h": "wales"}, [right], facts)) == names
    told = replace(bare, id="k", metadata=(*metadata, ("supporting_facts", (("T", 0),))))
    assert score([told], {"k": "wales"}, [right], facts)["joint_f1"] == 100.0


def test_every_format_that_is_read_has_its_rules():
    assert set(OFFICIAL) == set(READERS)


def test_examples_that_a_caller_made_are_scored_as_squad_is():
    example = Example(id="7", question="?", context="kite", references=("kite",), metadata=(("format", "tabular"),))
    assert score([example], {"7": "the kite"}, [])["exact_match"] == 100.0
