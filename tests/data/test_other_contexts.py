"""Questions that are asked of a text without their answer."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockskim.data import other_contexts as elsewhere
from blockskim.data.examples import Answer, Example
from blockskim.data.other_contexts import asked_elsewhere, other_contexts
from blockskim.data.splitting import place
from blockskim.errors import ConfigError

HARBOUR = "The harbour of Lindow opened in 1820 and closed again after two storms."
PIER = "The pier of Lindow was built of larch; the harbour master lived beside it."
MARKET = "A market is held on Fridays."
REPEATED = "Everybody remembers the harbour that opened in 1820."


def asked(name, question, context, answer, title="Lindow"):
    place = context.index(answer)
    return Example(name, question, context, (Answer(answer, place),), (answer,), title, source="a.json")


EXAMPLES = [
    asked("1", "When was the harbour opened?", HARBOUR, "1820"),
    asked("2", "What was the pier built of?", PIER, "larch"),
    asked("3", "When is the market held?", MARKET, "Fridays"),
    asked("4", "What is remembered?", REPEATED, "the harbour"),
]


def test_the_context_that_shares_most_words_is_taken_if_no_answer_stands_in_it():
    made = {example.id: example for example in asked_elsewhere(EXAMPLES, 1.0)}
    # It stands in the repeated context, too, which shares more words.
    assert made["1-elsewhere"].context == PIER
    assert made["2-elsewhere"].context == HARBOUR
    assert all(example.context != made[f"{example.id}-elsewhere"].context for example in EXAMPLES)
    for example in made.values():
        assert (example.answers, example.references, example.answerable) == ((), (), False)
        assert example.title == "Lindow"


def test_what_has_no_other_context_is_left_out(caplog):
    alone = asked("1", "When?", HARBOUR, "1820", "Another")
    unanswerable = Example("u", "Why?", HARBOUR, title="Lindow", source="a.json")
    assert asked_elsewhere([unanswerable, *EXAMPLES[1:3]], 0.0) == []
    assert not caplog.records
    made = asked_elsewhere([unanswerable, alone, *EXAMPLES[1:3]], 1.0)
    # The file has articles, and one of them has a single text.
    assert [example.id for example in made] == ["2-elsewhere", "3-elsewhere"]
    assert [record.getMessage() for record in caplog.records] == [
        "3 questions were to be asked once more of another text of their article or file, but 2 are; of the others "
        "no text without their answer is known"
    ]
    caplog.clear()
    assert asked_elsewhere([alone, replace(alone, id="2", source="b.json", title="Else")], 1.0) == []
    assert "but none is; of" in caplog.text


@pytest.mark.parametrize("titles", [("", "", ""), ("a", "b", "c"), ("", "a", "b")])
def test_where_titles_name_no_articles_texts_of_the_same_file_are_taken(titles, caplog):
    examples = [replace(one, title=title) for one, title in zip(EXAMPLES[:3], titles, strict=True)]
    articles = [replace(one, source="b.json") for one in EXAMPLES]
    made = {example.id: example for example in asked_elsewhere(examples, 1.0)}
    assert {name: example.context for name, example in made.items()} == {
        "1-elsewhere": PIER,
        "2-elsewhere": HARBOUR,
        "3-elsewhere": HARBOUR,
    }
    # Another file changes nothing in it, nor it in another file.
    pairs = other_contexts([*articles, *examples], 1.0)
    assert [pair for pair in pairs if pair[0] < 4] == other_contexts(articles, 1.0)
    assert [pair for pair in pairs if pair[0] >= 4] == [(4, 5), (5, 4), (6, 4)]
    assert not caplog.records


@pytest.mark.parametrize(("others", "made"), [(2, 2), (3, 5)])
def test_a_title_that_happens_to_stand_over_two_texts_makes_no_articles_of_a_file(others, made):
    examples = [
        *EXAMPLES[1:3],
        *(
            asked(f"n{n}", "When was the harbour opened?", f"{n} {HARBOUR}", str(n), str(n))
            for n in range(30, 30 + others)
        ),
    ]
    found = other_contexts(examples, 1.0)
    assert len(found) == made
    assert found[:2] == [(0, 1), (1, 0)]


def test_what_is_known_of_a_context_is_not_said_of_another():
    known = (("format", "hotpotqa"), ("supporting_facts", (("Lindow", 0),)), ("sentences", (((0, 9), "Lindow", 0),)))
    examples = [replace(one, evidence=((0, 9),), metadata=(*known, ("level", "hard"))) for one in EXAMPLES[1:3]]
    for made in asked_elsewhere(examples, 1.0):
        assert (made.evidence, made.metadata) == ((), (("format", "hotpotqa"), ("level", "hard")))


def test_a_large_file_without_articles_is_looked_at_in_parts(monkeypatch):
    monkeypatch.setattr(elsewhere, "LARGEST_PART", 3)
    examples = [asked(str(n), "When was the harbour opened?", f"{n} {HARBOUR}", str(n), "") for n in range(30, 37)]
    pairs = dict(other_contexts([*examples, *examples], 1.0))
    assert len(pairs) == 14
    assert {number: other // 3 if other < 3 else (other - 3) // 2 + 1 for number, other in pairs.items()} == {
        number: [0, 0, 0, 1, 1, 2, 2][number % 7] for number in range(14)
    }


@given(share=st.floats(0, 1), seed=st.integers(0, 3))
def test_a_share_is_chosen_by_names_alone(share, seed):
    many = [
        asked(str(number), "When?", f"{number} in {name}", str(number)) for number in range(200) for name in ("a", "b")
    ]
    made = asked_elsewhere(many, share, seed)
    part = asked_elsewhere(many[:200], share, seed)
    assert [example.id for example in made][: len(part)] == [example.id for example in part]
    assert abs(len(made) / len(many) - share) < 0.15


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan"), "much"])
def test_impossible_shares_are_refused(share):
    with pytest.raises(ConfigError, match="share"):
        asked_elsewhere(EXAMPLES, share)


TEXTS = [HARBOUR, PIER, MARKET, REPEATED, "A market beside the harbour.", "The larch was built in 1820."]
questions = st.tuples(
    st.sampled_from(["", "Lindow", "Other"]), st.sampled_from(TEXTS), st.sampled_from(TEXTS), st.booleans()
)


@given(st.lists(questions, max_size=12), st.sampled_from([0.4, 1.0]), st.integers(0, 3))
def test_of_an_article_the_first_context_of_those_that_share_most_is_taken(asked_questions, share, seed):
    examples = [
        Example(str(number), question, context, references=("1820",) if answerable else (), title=title)
        for number, (title, context, question, answerable) in enumerate(asked_questions)
    ]
    expected = []
    for example in examples:
        others = {one.context for one in examples if group(one, examples) == group(example, examples)}
        others -= {example.context}
        without = [text for text in dict.fromkeys(one.context for one in examples) if text in others]
        without = [text for text in without if not any(answer in text for answer in example.references)]
        if example.references and place(example.id, seed) < share and without:
            shared = [len(words(example.question) & words(text)) for text in without]
            expected.append((example.id, without[shared.index(max(shared))]))
    made = asked_elsewhere(examples, share, seed)
    assert [(one.id.removesuffix("-elsewhere"), one.context) for one in made] == expected
    pairs = other_contexts(examples, share, seed)
    assert [(examples[one].id, examples[other].context) for one, other in pairs] == expected


def group(example, examples):
    """What an example's context may stand for another's in: an article, or the rest of a file."""
    contexts = {title: {one.context for one in examples if one.title == title} for title in ("Lindow", "Other")}
    several = {title for title, texts in contexts.items() if len(texts) > 1}
    articles = 2 * sum(one.title in several for one in examples) >= len(examples)
    return example.title if example.title in several or (several and articles) else ""


def words(text):
    return set(re.findall(r"\w{4,}", text.lower()))


def test_contexts_of_one_title_are_not_looked_at_for_every_question():
    looked = []

    class Text(str):
        __slots__ = ()

        def lower(self):
            looked.append(self)
            return super().lower()

    examples = [asked(str(n), "When was the harbour opened?", Text(f"{n} {HARBOUR}"), str(n)) for n in range(30, 80)]
    assert len(other_contexts(examples, 1.0)) == len(examples)
    assert len(looked) <= 2 * len(examples)
