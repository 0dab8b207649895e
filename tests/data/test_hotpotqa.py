import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockskim.data.examples import Answer
from blockskim.data.hotpotqa import read_hotpotqa, read_hotpotqa_pseudo
from blockskim.errors import DataError

PARAGRAPHS = [
    ["Ada Lane", ["Ada Lane is a painter.", " She lives in Bath.", ""]],
    ["Bath", ["Bath is a city.", "It is old. ", "Bathers like Bath."]],
]
LAID_OUT = (
    "yes no Ada Lane. Ada Lane is a painter. She lives in Bath. Bath. Bath is a city. It is old. Bathers like Bath."
)


def record(name="h1", answer="painter", facts=(("Ada Lane", 0),), context=PARAGRAPHS, **more):
    return {
        "_id": name,
        "question": "Who?",
        "answer": answer,
        "type": "bridge",
        "level": "hard",
        "supporting_facts": [list(fact) for fact in facts],
        "context": context,
        **more,
    }


def pseudo(answer="painter", name="p1", **more):
    paragraphs = [
        {"text": "A painter is no party animal.", "is_supporting": False},
        {"text": "Ada is a painter. Art is her life.", "is_supporting": True},
    ]
    return {
        "_id": name,
        "question": "Who?",
        "answer": answer,
        "type": "bridge",
        "level": "easy",
        "paragraphs": paragraphs,
    } | more


def read(path):
    return list(read_hotpotqa(path))


def test_lays_out_prefix_titles_and_sentences(save):
    example = read(save([record()]))[0]
    assert example.context == LAID_OUT
    assert (example.id, example.question, example.title, example.references) == ("h1", "Who?", "", ("painter",))


def test_sentence_table_and_evidence(save):
    facts = (("Bath", 1), ("Ada Lane", 0))
    example = read(save([record(facts=facts)]))[0]
    metadata = dict(example.metadata)
    assert metadata["format"] == "hotpotqa"
    assert metadata["type"] == "bridge"
    assert metadata["level"] == "hard"
    assert metadata["supporting_facts"] == facts
    table = [(example.context[start:end], title, index) for (start, end), title, index in metadata["sentences"]]
    assert table == [
        ("Ada Lane is a painter.", "Ada Lane", 0),
        ("She lives in Bath.", "Ada Lane", 1),
        ("", "Ada Lane", 2),
        ("Bath is a city.", "Bath", 0),
        ("It is old.", "Bath", 1),
        ("Bathers like Bath.", "Bath", 2),
    ]
    assert [example.context[start:end] for start, end in example.evidence] == ["Ada Lane is a painter.", "It is old."]


@pytest.mark.parametrize(
    ("answer", "facts", "starts"),
    [
        # in a supporting sentence: neither the titles nor the other sentences count
        ("Bath", [("Bath", 0)], [65]),
        ("Bath", [("Ada Lane", 1), ("Bath", 2)], [53, 105]),
        # in no supporting sentence: everywhere, titles included, but not within "Bathers"
        ("Bath", [("Ada Lane", 0)], [53, 59, 65, 105]),
        ("Ada Lane", [("Bath", 1)], [7, 17]),
        # nowhere as a word, but within one
        ("Bather", [("Bath", 2)], [92]),
        # spaces around the annotated text are no part of the span
        (" old ", [("Bath", 1)], [87]),
        # neither "yes" nor "no" of the prefix is an answer to anything else
        ("yes no", [("Bath", 1)], []),
        ("Cairo", [("Bath", 1)], []),
    ],
)
def test_spans_of_the_answer(save, answer, facts, starts):
    example = read(save([record(answer=answer, facts=facts)]))[0]
    assert [found.start for found in example.answers] == starts
    for found in example.answers:
        assert example.context[found.start : found.end] == found.text == answer.strip()
    assert example.references == (answer,)


@pytest.mark.parametrize(
    ("answer", "span"), [("yes", Answer("yes", 0)), ("no", Answer("no", 4)), ("Yes", Answer("yes", 0))]
)
def test_yes_and_no_are_spans_of_the_prefix(save, answer, span):
    example = read(save([record(answer=answer)]))[0]
    assert example.answers == (span,)
    assert example.context[span.start : span.end] == span.text
    assert example.references == (answer,)


def test_facts_outside_of_the_context_are_kept_for_the_score_and_counted(save, caplog):
    facts = [("Ada Lane", 0), ("Ada Lane", 9), ("Cairo", 0)]
    example = read(save([record(facts=facts)]))[0]
    assert dict(example.metadata)["supporting_facts"] == tuple(facts)
    assert [example.context[start:end] for start, end in example.evidence] == ["Ada Lane is a painter."]
    assert "data.json: 2 supporting facts outside of the context" in caplog.text


def test_answer_that_occurs_nowhere_is_counted(save, caplog):
    assert read(save([record(answer="Cairo")]))[0].answerable
    assert "1 question left without an answer span" in caplog.text


def test_records_without_id_get_one(save):
    path = save([record(None), record("x"), {key: value for key, value in record().items() if key != "_id"}])
    assert [example.id for example in read(path)] == ["record-1", "x", "record-3"]


def flat(**changes):
    context = {"title": [pair[0] for pair in PARAGRAPHS], "sentences": [pair[1] for pair in PARAGRAPHS]}
    facts = {"title": ["Bath", "Ada Lane"], "sent_id": [1, 0]}
    return {**record(), "context": context, "supporting_facts": facts} | changes


def test_flat_records_are_the_same_records(save):
    facts = (("Bath", 1), ("Ada Lane", 0))
    native = read(save([record(facts=facts)]))
    assert read(save([flat()])) == native
    objects = [{"title": title, "sentences": sentences} for title, sentences in PARAGRAPHS]
    pairs = [{"title": title, "sent_id": float(number)} for title, number in facts]
    assert read(save([flat(context=objects, supporting_facts=pairs)])) == native


def test_what_a_test_file_says_is_null(save, caplog):
    nothing = {"answer": None, "type": None, "level": None, "supporting_facts": {"title": [], "sent_id": []}}
    example = read(save([flat(**nothing)]))[0]
    assert (example.annotated, example.references, example.evidence) == (False, (), ())
    assert dict(example.metadata)["level"] == ""
    assert not caplog.records


def test_without_facts_there_are_answers_and_sentences(save):
    bare = {key: value for key, value in record(answer="Bath").items() if key != "supporting_facts"}
    example = read(save([bare]))[0]
    assert "supporting_facts" not in dict(example.metadata)
    assert len(dict(example.metadata)["sentences"]) == 6
    assert [answer.start for answer in example.answers] == [53, 59, 65, 105]
    assert example.evidence == ()


def test_id_without_underscore_and_null_ids(save):
    records = [record(None, id=4), record(None, id=None), record("x", id="y")]
    assert [example.id for example in read(save(records))] == ["4", "record-2", "x"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"context": {"title": ["a"], "sentences": []}}, "'context' has 1 of 'title' and 0 of 'sentences'"),
        ({"context": {"title": ["a"]}}, "'context': has no 'sentences' (must be a list)"),
        ({"context": {"title": ["a"], "sentences": ["b"]}}, "paragraph 1: what follows the title must be a list"),
        ({"context": {"title": [], "sentences": []}}, "'context' is empty"),
        ({"context": "Ada Lane is a painter."}, "'context' must be a list, is a string"),
        ({"supporting_facts": {"title": ["Bath"], "sent_id": []}}, "'supporting_facts' has 1 of 'title'"),
        ({"supporting_facts": {"title": ["Bath"], "sent_id": [1.5]}}, "must be a whole number, is a number"),
        (
            {"supporting_facts": [["x" * 100_000]]},
            "each of 'supporting_facts' must be [title, sentence number], is ['xx",
        ),
    ],
)
def test_lists_that_do_not_fit_together_are_refused(save, changes, words):
    with pytest.raises(DataError) as error:
        read(save([flat(**changes)]))
    assert "data.json: line 1, record 1 ('h1')" in str(error.value)
    assert words in str(error.value)
    assert len(str(error.value)) < 600


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({}, ["is not a HotpotQA file", "a list of records"]),
        ([], ["holds no questions"]),
        ([3], ["record 1 must be an object"]),
        ([record(), record()], ["record 2", "question id 'h1' occurs twice"]),
        ([record(7.5)], ["record 1", "'_id' must be a string or a whole number, is the number 7.5"]),
        ([record(answer=7)], ["record 1 ('h1')", "'answer' must be a string, is a whole number"]),
        ([record(context=[])], ["'context' is empty"]),
        ([record(context=[["T", ["a"], 3]])], ["paragraph 1 must be [title, [sentences]], is a list of 3"]),
        ([record(context=[["T", "a"]])], ["paragraph 1: what follows the title must be a list, is a string"]),
        ([record(context=[["T", [None]]])], ["paragraph 1: each sentence must be a string, is null"]),
        ([record(context=[[None, []]])], ["paragraph 1: the title must be a string"]),
        ([record(facts=[("T", "0")])], ["each of 'supporting_facts' must be [title, sentence number], is ['T', '0']"]),
        (
            [record(), record("h9", supporting_facts=None)],
            ["('h9')", "has no 'supporting_facts'", "all must have them"],
        ),
        ("[{]", ["is not JSON", "line 1, column 3"]),
    ],
)
def test_wrong_file_names_the_file_the_record_and_what_is_wrong(save, content, words):
    with pytest.raises(DataError) as error:
        read(save(content))
    for word in ["data.json", *words]:
        assert word in str(error.value)


def test_whole_paragraphs_as_evidence(save):
    example = next(read_hotpotqa_pseudo(save([pseudo()])))
    assert example.context == "yes no A painter is no party animal. Ada is a painter. Art is her life."
    assert [example.context[start:end] for start, end in example.evidence] == ["Ada is a painter. Art is her life."]
    assert example.answers == (Answer("painter", 46),)
    assert dict(example.metadata) == {"format": "hotpotqa-pseudo", "type": "bridge", "level": "easy"}


def test_pseudo_yes_and_wrong_records(save):
    assert next(read_hotpotqa_pseudo(save([pseudo("yes")]))).answers == (Answer("yes", 0),)
    for more, words in [
        ({"paragraphs": []}, "'paragraphs' is empty"),
        ({"paragraphs": [{"text": "x"}]}, "paragraph 1: has no 'is_supporting' (must be true or false)"),
        ({"paragraphs": [{"text": "x", "is_supporting": 1}]}, "'is_supporting' must be true or false"),
    ]:
        with pytest.raises(DataError) as error:
            list(read_hotpotqa_pseudo(save([pseudo(**more)])))
        assert "record 1 ('p1')" in str(error.value)
        assert words in str(error.value)


texts = st.text(max_size=12)


@given(
    paragraphs=st.lists(st.tuples(texts, st.lists(texts, max_size=4)), min_size=1, max_size=4),
    answer=texts,
    data=st.data(),
)
def test_layout_holds_every_sentence_in_any_unicode(tmp_path_factory, paragraphs, answer, data):
    pairs = [(title, index) for title, sentences in paragraphs for index in range(len(sentences))] or [("?", 0)]
    facts = data.draw(st.lists(st.sampled_from(pairs), max_size=3))
    path = tmp_path_factory.mktemp("hotpot") / "x.json"
    path.write_text(json.dumps([record(answer=answer, facts=facts, context=paragraphs)]), encoding="utf-8")
    example = read(path)[0]
    table = dict(example.metadata)["sentences"]
    assert [example.context[start:end] for (start, end), _, _ in table] == [
        sentence.strip() for _, sentences in paragraphs for sentence in sentences
    ]
    assert all(0 <= start < end <= len(example.context) for start, end in example.evidence)
    for found in example.answers:
        assert example.context[found.start : found.end] == found.text


def test_shared_files(shared_data: Path, caplog):
    folder = shared_data / "hotpotqa"
    for name, reader, count in [
        ("hotpot_dev_goldcomplete.json", read_hotpotqa, 715),
        ("hotpot_train100.json", read_hotpotqa, 100),
        ("hotpot_train_pseudo_distractor.json", read_hotpotqa_pseudo, 1_024),
    ]:
        examples = list(reader(folder / name))
        assert len(examples) == len({example.id for example in examples}) == count
        for example in examples:
            assert example.answers
            assert len(example.evidence) >= 2
            assert all(example.context[a.start : a.end] == a.text for a in example.answers)
    assert not caplog.records
