import gzip
import json
import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockskim.data.examples import Answer
from blockskim.data.squad import read_squad
from blockskim.errors import DataError

CONTEXT = "The red kite 🪁 nests in Wales. A red kite eats earthworms."


def question(name="q1", answers=(("Wales", 24),), **more):
    texts = [{"text": text, "answer_start": start} for text, start in answers]
    return {"id": name, "question": "Where?", "answers": texts, **more}


def document(*questions, context=CONTEXT, **more):
    return {"data": [{"title": "Kites", "paragraphs": [{"context": context, "qas": list(questions)}]}], **more}


def read(path):
    return list(read_squad(path))


def test_reads_every_field(save):
    examples = read(save(document(question(answers=[("Wales", 24), ("earthworms", 47)]), version="1.1")))
    assert len(examples) == 1
    example = examples[0]
    assert (example.id, example.question, example.context, example.title) == ("q1", "Where?", CONTEXT, "Kites")
    assert example.answers == (Answer("Wales", 24), Answer("earthworms", 47))
    assert example.references == ("Wales", "earthworms")
    assert dict(example.metadata) == {"format": "squad", "version": "1.1"}
    assert example.answerable


def test_offsets_count_characters_and_not_bytes_or_code_units(save):
    example = read(save(document(question(answers=[("🪁 nests", 13)]))))[0]
    assert example.answers == (Answer("🪁 nests", 13),)
    assert example.context[13:20] == "🪁 nests"


def test_keeps_the_order_and_equal_answers_of_several_annotators(save):
    path = save(document(question("b", [("Wales", 24), ("Wales", 24)]), question("a")))
    assert [example.id for example in read(path)] == ["b", "a"]
    assert read(path)[0].references == ("Wales", "Wales")


def test_gzip_is_recognised_by_content(tmp_path):
    path = tmp_path / "named-like-plain.json"
    path.write_bytes(gzip.compress(json.dumps(document(question())).encode()))
    assert read(path)[0].answers == (Answer("Wales", 24),)


def test_byte_order_mark_and_missing_title_are_no_problem(save):
    content = {"data": [{"paragraphs": [{"context": CONTEXT, "qas": [question()]}]}]}
    assert read(save("\ufeff" + json.dumps(content)))[0].title == ""


def test_unanswerable_question_of_squad_2(save):
    impossible = question("q2", [], is_impossible=True, plausible_answers=[{"text": "red kite", "answer_start": 4}])
    examples = read(save(document(question(is_impossible=False), impossible)))
    assert [example.answerable for example in examples] == [True, False]
    assert examples[1].answers == examples[1].references == ()
    assert {dict(example.metadata)["version"] for example in examples} == {"2.0"}


@pytest.mark.parametrize(
    ("content", "version"),
    [
        (document(question(), version="1.1"), "1.1"),
        (document(question()), "1.1"),
        (document(question(), version="1.0"), "1.1"),
        ({"version": "v2.0", **document(question())}, "2.0"),
        ({"version": 2, **document(question())}, "2.0"),
        ({"version": "2024-06-01", **document(question())}, "1.1"),
        ({"version": "20240601", **document(question())}, "1.1"),
        ({"version": "2.0.1-dev of mine", **document(question())}, "1.1"),
        (document(question(is_impossible=False)), "2.0"),
        (document(question(), question("q2", [])), "2.0"),
    ],
)
def test_version_says_which_score_applies(save, content, version):
    assert dict(read(save(content))[0].metadata)["version"] == version


def test_wrong_offset_is_repaired_where_the_text_is_unique(save, caplog):
    example = read(save(document(question(answers=[("Wales", 25), ("nests", -1), ("eats", 9999)]))))[0]
    assert example.answers == (Answer("Wales", 24), Answer("nests", 15), Answer("eats", 42))
    assert "data.json: 3 answers repaired, 0 skipped (offset does not match the text)" in caplog.text


def test_wrong_offset_of_a_repeated_or_absent_text_is_skipped(save, caplog):
    answers = [("red kite", 19), ("Scotland", 0), ("", 0), ("Wales", 24)]
    example = read(save(document(question(answers=answers))))[0]
    assert example.answers == (Answer("Wales", 24),)
    assert example.references == ("red kite", "Scotland", "", "Wales")
    assert "0 answers repaired, 3 skipped" in caplog.text
    assert "left without" not in caplog.text


def test_overlapping_occurrences_are_two(save, caplog):
    assert read(save(document(question(answers=[("ana", 2)]), context="banana")))[0].answers == ()


def test_question_that_loses_all_its_spans_is_kept_for_scoring(save, caplog):
    caplog.set_level(logging.INFO)
    examples = read(save(document(question(answers=[("red kite", 19)]), question("q2"))))
    assert examples[0].answers == ()
    assert examples[0].references == ("red kite",)
    assert examples[0].answerable
    assert len(caplog.records) == 1
    assert "1 question left without an answer span" in caplog.text


def test_a_good_file_is_read_in_silence(save, caplog):
    read(save(document(question())))
    assert not caplog.records


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", ["the file is empty"]),
        ('{"data": [\n  {"title": }]}', ["is not JSON", "line 2, column 13"]),
        ([], ["holds no questions"]),
        ([{"a": 1}], ["is not a SQuAD file", "'data'"]),
        ({"data": {}}, ["is not a SQuAD file", "a list 'data'"]),
        ({"data": []}, ["holds no questions"]),
        (document(), ["holds no questions"]),
        ({"data": [7]}, ["article 1", "must be an object, is a whole number"]),
        ({"data": [{"title": "T"}]}, ["article 1 ('T')", "has no 'paragraphs' (must be a list)", "it has 'title'"]),
        ({"data": [{"title": 3, "paragraphs": []}]}, ["article 1: 'title' must be a string"]),
        ({"data": [{"paragraphs": [{"qas": []}]}]}, ["paragraph 1", "has no 'context'"]),
        (document(question(), context="  "), ["paragraph 1", "the context is empty"]),
        (document({"question": "?", "answers": []}), ["paragraph 1", "has no 'id'", "'question', 'answers'"]),
        (document({**question(), "id": 5.5}), ["'id' must be a string or a whole number, is the number 5.5"]),
        (document(question(), {"id": "q7", "question": "?"}), ["question 'q7'", "says nothing of answers"]),
        (document({"id": "q7", "answers": []}), ["question 'q7'", "has no 'question'"]),
        (document({**question("q7"), "answers": {"text": []}}), ["question 'q7'", "'answers': has no 'answer_start'"]),
        (document({**question("q7"), "answers": 7}), ["question 'q7'", "'answers' must be a list, is a whole number"]),
        (document({**question("q7"), "answers": ["x"]}), ["question 'q7'", "each of 'answers' must be an object"]),
        (
            document({**question("q7"), "answers": [{"text": "x"}]}),
            ["question 'q7'", "answer 'x'", "has no 'answer_start' (must be a whole number)"],
        ),
        (
            document({**question("q7"), "answers": [{"text": "x", "answer_start": True}]}),
            ["question 'q7'", "'answer_start' must be a whole number, is true or false"],
        ),
        (
            document({**question("q7"), "answers": [{"text": "x", "answer_start": None}]}),
            ["'answer_start' must be a whole number, is null"],
        ),
        (document(question("q7", is_impossible=True)), ["question 'q7'", "'is_impossible' is true", "answers"]),
        (document(question("q7", is_impossible="no")), ["question 'q7'", "'is_impossible' must be true or false"]),
        (document(question("q7"), question("q7")), ["question id 'q7' occurs twice"]),
        (document(question("q7"), context="half \ud83d of one"), ["'context'", "half of a surrogate pair"]),
    ],
)
def test_wrong_file_names_the_file_the_record_and_what_is_wrong(save, content, words):
    with pytest.raises(DataError) as error:
        read(save(content))
    for word in ["data.json", *words]:
        assert word in str(error.value)


ANSWERS = [
    [{"text": "Wales", "answer_start": 24}],
    {"text": ["Wales"], "answer_start": [24]},
    {"answer_start": [24.0], "text": ["Wales"], "answer_end": [29]},
    {"text": "Wales", "answer_start": 24},
    [{"text": "Wales", "answer_start": "24", "answer_id": 5}],
]


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("answers", ANSWERS, ids=str)
def test_answers_in_every_form(save, caplog, answers, flat):
    item = {"id": 4, "question": "Where?", "answers": answers}
    example = read(save([{**item, "context": CONTEXT}] if flat else document(item)))[0]
    assert example.answers == (Answer("Wales", 24),)
    assert example.references == ("Wales",)
    assert not caplog.records


def test_annotation_tools_write_ids_and_numbers_of_their_own(save, caplog):
    answer = {"answer_id": 9, "document_id": 7, "question_id": 8, "text": "Wales", "answer_start": 24, "answer_end": 29}
    item = {"question": "Where?", "id": 8, "answers": [answer], "is_impossible": False}
    other = {"question": "Who?", "question_id": 3, "answers": [], "is_impossible": True}
    content = {"data": [{"paragraphs": [{"qas": [item, other], "context": CONTEXT, "document_id": 7}]}]}
    examples = read(save(content))
    assert [(example.id, example.answers) for example in examples] == [("8", (Answer("Wales", 24),)), ("3", ())]
    assert not caplog.records


@pytest.mark.parametrize("said", [True, 1, 1.0, "true", "True"])
@pytest.mark.parametrize("answers", [[], {"text": [], "answer_start": []}, None])
def test_a_question_that_is_impossible_is_unanswerable_and_annotated(save, caplog, said, answers):
    examples = read(
        save(document(question(is_impossible=not said), {**question("q2"), "answers": answers, "is_impossible": said}))
    )
    assert [(example.annotated, example.answerable) for example in examples] == [(True, True), (True, False)]
    assert {dict(example.metadata)["version"] for example in examples} == {"2.0"}
    assert not caplog.records


def test_an_empty_list_of_answers_in_a_flat_record_is_of_version_2(save):
    records = [{**question(name), "context": CONTEXT} for name in "ab"]
    records[1]["answers"] = {"text": [], "answer_start": []}
    path = save(records)
    versions = [dict(example.metadata)["version"] for example in read(path)]
    assert versions == ["1.1", "2.0"]
    unseen = [dict(example.metadata)["version"] for example in read_squad(path, with_answers=False)]
    assert unseen == ["1.1", "1.1"]


@pytest.mark.parametrize("title", [None, float("nan")])
def test_a_title_may_be_missing(save, title):
    content = document(question())
    content["data"][0]["title"] = title
    assert read(save(content))[0].title == ""
    assert read(save([{**question(), "context": CONTEXT, "title": title}]))[0].title == ""


def test_what_contradicts_itself_is_told(save, caplog):
    read(save(document(question(is_impossible=0), question("q2", [], is_impossible="false"))))
    assert "1 question without answers though 'is_impossible' is false; taken as unanswerable" in caplog.text
    caplog.clear()
    read(save(document(question("q1", []), question("q2", []))))
    assert "no question has an answer, so all of them count as unanswerable" in caplog.text
    caplog.clear()
    read(save(document(question("q1", [], is_impossible=True))))
    assert not caplog.records


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ({"text": ["a", "b"], "answer_start": [1]}, "'answers' has 2 of 'text' and 1 of 'answer_start'"),
        ({"text": ["a"], "answer_start": 1}, "'answers': 'answer_start' must be a list, is a whole number"),
        ({"text": "a", "answer_start": [1]}, "'answers': 'text' must be a list, is a string"),
        ({"text": [1742], "answer_start": [1]}, "an answer: 'text' must be a string, is a whole number"),
        ({"text": ["a"], "answer_start": [1.5]}, "answer 'a': 'answer_start' must be a whole number, is a number"),
        ({}, "an answer: has no 'text'"),
        ("Wales", "'answers' must be a list, is a string"),
        ([None], "each of 'answers' must be an object, is null"),
    ],
)
def test_answers_that_could_mean_several_things_are_refused(save, answers, words):
    with pytest.raises(DataError) as error:
        read(save([{**question("q7"), "context": CONTEXT, "answers": answers}]))
    assert "line 1, record 1, question 'q7'" in str(error.value)
    assert words in str(error.value)


def test_long_values_are_cut_in_messages(save):
    for content in (
        document({**question("i" * 100_000), "answers": 7}),
        document(question(answers=[("t" * 100_000, True)])),
        {"data": [{"title": "t" * 100_000, "paragraphs": 7}]},
        {"data": [{"k" * 100_000: 1, "title": ""}]},
    ):
        with pytest.raises(DataError) as error:
            read(save(content))
        assert len(str(error.value)) < 600


def test_file_that_is_no_readable_text(tmp_path):
    for name, content, words in [
        ("image.json", b"\x89PNG\r\n\x1a\n\x00", "is not UTF-8 text (byte 0x89)"),
        ("latin.json", '{"data": "é"}'.encode("latin-1"), "is not UTF-8 text (byte 0xe9)"),
        ("cut.json.gz", gzip.compress(b'{"data": []}' * 99)[:-9], "damaged or cut-off gzip file"),
        ("bad.json.gz", b"\x1f\x8b" + bytes(30), "damaged or cut-off gzip file"),
    ]:
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(DataError) as error:
            read(path)
        assert name in str(error.value)
        assert words in str(error.value)


def test_missing_file_and_directory(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read(tmp_path / "absent.json")
    with pytest.raises(DataError, match="is a directory"):
        read(tmp_path)


@given(
    before=st.text(),
    answer=st.text(min_size=1),
    after=st.text(),
    shift=st.integers(-3, 3),
    title=st.text(),
)
def test_answers_stand_where_they_say_in_any_unicode(tmp_path_factory, before, answer, after, shift, title):
    context = before + answer + after
    if not context.strip():
        return
    path = tmp_path_factory.mktemp("squad") / "x.json"
    content = document(question(answers=[(answer, len(before) + shift)]), context=context)
    content["data"][0]["title"] = title
    path.write_text(json.dumps(content, ensure_ascii=bool(shift % 2)), encoding="utf-8")
    example = read(path)[0]
    assert example.context == context
    assert example.title == title
    assert example.references == (answer,)
    for found in example.answers:
        assert example.context[found.start : found.end] == found.text == answer
    if shift == 0 or context.count(answer) == 1 == len(answer):
        assert example.answers
    if shift == 0:
        assert example.answers == (Answer(answer, len(before)),)


def test_all_shared_squad_files(shared_data: Path, caplog):
    counts = {
        "squad/dev-v1.1.json": 10_570,
        "squad/train-partial-v1.1.json": 21_206,
        "squadshifts/reddit-v1.0.json": 9_803,
        "other/fairytaleqa-val.json": 501,
    }
    for name, count in counts.items():
        number = 0
        for example in read_squad(shared_data / name):
            number += 1
            assert example.answers
            assert all(example.context[a.start : a.end] == a.text for a in example.answers)
            assert dict(example.metadata)["version"] == "1.1"
        assert number == count
    assert not caplog.records
