"""Records however a file lays them out, and questions that say nothing of answers."""

import gzip
import json
import logging

import pytest

from blockskim.data.reading import detect_format, read_examples
from blockskim.errors import DataError

TEXT = "Ada Lane was born in Bath in 1742."


def article(name, **changes):
    question = {"id": name, "question": "When?", "answers": [{"text": "1742", "answer_start": 29}]}
    return {"title": "Ada", "paragraphs": [{"context": TEXT, "qas": [question | changes]}]}


def paragraph(name, **changes):
    return article(name, **changes)["paragraphs"][0]


def flat(name, **changes):
    answers = {"text": ["1742"], "answer_start": [29]}
    return {"id": name, "title": "Ada", "context": TEXT, "question": "When?", "answers": answers} | changes


def mrqa(name, **changes):
    detected = [{"text": "1742", "char_spans": [[29, 32]]}]
    question = {"qid": name, "question": "When?", "answers": ["1742"], "detected_answers": detected}
    return {"id": "", "context": TEXT, "qas": [question | changes]}


def flat_mrqa(name, **changes):
    detected = {"text": ["1742"], "char_spans": [{"start": [29], "end": [32]}], "token_spans": [{"start": [8]}]}
    record = {"subset": "NewsQA", "context": TEXT, "qid": name, "question": "When?", "answers": ["1742"]}
    return record | {"detected_answers": detected} | changes


def hotpot(name, **changes):
    record = {"_id": name, "question": "When?", "answer": "1742", "supporting_facts": [["Ada", 0]], "level": "easy"}
    return record | {"context": [["Ada", [TEXT]], ["Bath", ["Bath is old."]]]} | changes


def flat_hotpot(name, **changes):
    facts = {"title": ["Ada"], "sent_id": [0]}
    context = {"title": ["Ada", "Bath"], "sentences": [[TEXT], ["Bath is old."]]}
    return {"id": name, "question": "When?", "answer": "1742", "supporting_facts": facts, "context": context} | changes


def pseudo(name, **changes):
    paragraphs = [{"text": TEXT, "is_supporting": True}]
    return {"_id": name, "question": "When?", "answer": "1742", "paragraphs": paragraphs} | changes


RECORDS = {
    "article": (article, "squad"),
    "paragraph": (paragraph, "squad"),
    "flat": (flat, "squad"),
    "mrqa": (mrqa, "mrqa"),
    "flat-mrqa": (flat_mrqa, "mrqa"),
    "hotpot": (hotpot, "hotpotqa"),
    "flat-hotpot": (flat_hotpot, "hotpotqa"),
    "pseudo": (pseudo, "hotpotqa-pseudo"),
}
ANSWERS = {"hotpot": "answer", "flat-hotpot": "answer", "pseudo": "answer"}

LAYOUTS = {
    "list": lambda records: json.dumps(records),
    "pretty list": lambda records: json.dumps(records, indent=1),
    "data": lambda records: json.dumps({"data": records}),
    "version and data": lambda records: json.dumps(
        {"version": "0.1.0", "data": records, "more": {"data": [1]}}, indent=2
    ),
    "lines": lambda records: "\n".join(map(json.dumps, records)) + "\n",
    "CR LF and blank lines": lambda records: "\r\n\r\n \r\n".join(map(json.dumps, records)),
    "one after the other": lambda records: "\n".join(json.dumps(record, indent=2) for record in records),
    "list of documents": lambda records: json.dumps([{"data": [record]} for record in records]),
    "lines of documents": lambda records: "\n".join(json.dumps({"version": "1.1", "data": [x]}) for x in records),
    "byte-order mark": lambda records: "\ufeff" + json.dumps(records),
    "text as it is": lambda records: json.dumps(records, ensure_ascii=False),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", RECORDS)
def test_every_record_is_read_in_every_layout(save, caplog, kind, layout):
    make, format = RECORDS[kind]
    content = LAYOUTS[layout]([make("a"), make(7), make("ü")])
    for path in (save(content), save(content, "data.jsonl"), save(gzip.compress(content.encode()), "data")):
        assert detect_format(path) == format
        found = list(read_examples(path))
        assert found == list(read_examples(path, format))  # the same with the format named
        assert [example.id for example in found] == ["a", "7", "ü"]
        for example in found:
            assert [example.context[answer.start : answer.end] for answer in example.answers] == ["1742"]
            assert (example.question, example.references, example.annotated) == ("When?", ("1742",), True)
            assert dict(example.metadata)["format"] == format
    assert not caplog.records


def test_answers_that_are_plain_texts_are_references(save, caplog):
    record = {"id": 5, "title": "Ada", "question": "When?", "context": TEXT, "answers": ["1742", "in 1742"]}
    (example,) = read_examples(save(json.dumps(record)))
    assert (example.id, example.references, example.answers) == ("5", ("1742", "in 1742"), ())
    assert dict(example.metadata)["format"] == "mrqa"
    assert "1 question left without an answer span (usable for scores, not for training)" in caplog.text


@pytest.mark.parametrize("kind", RECORDS)
def test_a_single_record_is_a_file(save, kind):
    make, format = RECORDS[kind]
    for content in (make("a"), [make("a")], {"data": make("a")}, {"version": "1.1", "data": [make("a")]}):
        path = save(json.dumps(content, indent=3))
        assert detect_format(path) == format
        assert [example.id for example in read_examples(path)] == ["a"]


@pytest.mark.parametrize("kind", RECORDS)
def test_ids_that_are_the_same_text_are_one_id(save, kind):
    make = RECORDS[kind][0]
    for twice in (3, 3.0, "3"):
        with pytest.raises(DataError, match=r"(line|record|paragraph|article) 2.*: question id '3' occurs twice"):
            list(read_examples(save(json.dumps([make(3), make(twice)], indent=1))))


@pytest.mark.parametrize("kind", RECORDS)
@pytest.mark.parametrize("name", [True, 3.5, 1e300, [], {"$oid": "a"}])
def test_other_ids_are_refused(save, kind, name):
    with pytest.raises(DataError, match=r"data\.json: line 1.*'_?q?id' must be a string or a whole number, is "):
        list(read_examples(save(json.dumps([RECORDS[kind][0](name)]))))


@pytest.mark.parametrize("question", ["", " \n"])
@pytest.mark.parametrize("kind", RECORDS)
def test_an_empty_question_is_found_by_the_reader(save, caplog, kind, question):
    make = RECORDS[kind][0]
    wrong = make("b", question=question)
    path = save("\n".join(json.dumps(record) for record in (make("a"), wrong, make("c"))))
    with pytest.raises(DataError, match=r"data\.json: line 2.*'b'.*: the question is empty"):
        list(read_examples(path))
    assert [example.id for example in read_examples(path, skip_bad=True)] == ["a", "c"]
    assert "1 wrong record left out, first: " in caplog.text


@pytest.mark.parametrize("null", [False, True])
@pytest.mark.parametrize("kind", RECORDS)
def test_a_file_without_answers_is_read_and_not_annotated(save, caplog, kind, null):
    path = save(json.dumps([without_answers(kind, name, null) for name in "ab"]))
    examples = list(read_examples(path))
    assert [example.id for example in examples] == ["a", "b"]
    assert all(not (example.annotated or example.references or example.answers) for example in examples)
    assert all(example.answerable for example in examples)
    assert not caplog.records


def without_answers(kind, name, null=False):
    make = RECORDS[kind][0]
    gone = (ANSWERS.get(kind, "answers"), "detected_answers", "supporting_facts")
    record = make(name)
    question = record
    for key in ("paragraphs", "qas"):
        if kind != "pseudo" and key in question:
            question = question[key][0]
    for key in gone:
        if key in question:
            question[key] = None
            if not null:
                del question[key]
    return record


@pytest.mark.parametrize("kind", RECORDS)
def test_some_with_answers_and_some_without_are_not_taken_for_unanswerable(save, caplog, kind):
    make = RECORDS[kind][0]
    bare, good = without_answers(kind, "bare"), [make(name) for name in "abc"]
    for place in (0, 1, 3):
        records = [*good[:place], bare, *good[place:]]
        if "facts" in json.dumps(bare):
            del bare["supporting_facts"]
        path = save("\n".join(map(json.dumps, records)))
        with pytest.raises(DataError, match=rf"data\.json: line {place + 1}.*says nothing of answers|supporting_facts"):
            list(read_examples(path))
        with caplog.at_level(logging.WARNING):
            found = list(read_examples(path, with_answers=False))
        assert [example.id for example in found] == [record_id(record) for record in records]
        assert not any(example.annotated for example in found)
    if kind not in ("hotpot", "flat-hotpot"):
        for place in (0, 1, 3):
            path = save("\n".join(map(json.dumps, [*good[:place], bare, *good[place:]])))
            assert [example.id for example in read_examples(path, skip_bad=True)] == ["a", "b", "c"]
        assert f"1 wrong record left out, first: {path}: line 4" in caplog.text


def record_id(record):
    for key in ("paragraphs", "qas"):
        if "qas" in json.dumps(record) and key in record:
            record = record[key][0]
    return next(record[key] for key in ("id", "_id", "qid") if key in record)


@pytest.mark.parametrize("kind", RECORDS)
def test_answers_that_are_not_to_be_read_may_be_wrong(save, kind):
    make = RECORDS[kind][0]
    path = save(json.dumps([make("a", **{ANSWERS.get(kind, "answers"): 7}), make("b", detected_answers=7)]))
    with pytest.raises(DataError):
        list(read_examples(path))
    examples = list(read_examples(path, with_answers=False))
    assert [(example.id, example.annotated, example.answers) for example in examples] == [
        ("a", False, ()),
        ("b", False, ()),
    ]


def test_answers_under_another_name_are_not_overlooked(save):
    for kind, other in [("flat", "answer"), ("flat", "answer_start"), ("hotpot", "answers"), ("mrqa", "answer")]:
        record = without_answers(kind, "a")
        (record["qas"][0] if kind == "mrqa" else record)[other] = ["1742"]
        with pytest.raises(DataError, match=f"has {other!r} but no 'answer"):
            list(read_examples(save(json.dumps([record]))))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"question": "?", "data": [article("a")]}, "an object has both 'data' and 'question'"),
        ([[article("a")]], "line 1, article 1 must be an object, is a list"),
        ([article("a"), []], "line 1, article 2 must be an object, is a list"),
        ([article("a"), {"data": [3]}], "line 1, article 2 must be an object, is a whole number"),
        ([article("a"), flat_hotpot("b")], "line 1, record 2: 'context' must be a string, is an object"),
        ([article("a"), {"version": 3}], "line 1, record 2: this is not a SQuAD file"),
    ],
)
def test_what_is_no_record_is_refused(save, content, words):
    with pytest.raises(DataError) as error:
        list(read_examples(save(json.dumps(content)), "squad"))
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"question": {"0": "?"}, "context": {"0": "x"}}, "is a table by columns: its 'question' is an object"),
        ({"id": ["1"], "question": ["?"], "context": ["x"]}, "is a table by columns: its 'question' is a list"),
        ({"train": [flat("a")], "validation": []}, "its first object has 'train', 'validation'"),
        ([{"id": "1", "question": "?", "context": ["x", "y"]}], "its first object has 'id', 'question', 'context'"),
        (
            [{"id": "1", "question": "?", "context": {"contexts": []}}],
            "its first object has 'id', 'question', 'context'",
        ),
        ([["Who?", "Ada"]], "is JSON without records"),
        ({"data": [1, 2]}, "is JSON without records"),
        ({"data": []}, "holds no questions"),
    ],
)
def test_what_no_reader_knows_is_refused(save, content, words):
    with pytest.raises(DataError) as error:
        read_examples(save(json.dumps(content)))
    assert words in str(error.value)


def test_the_first_record_that_tells_a_format_counts(save):
    empty = {"context": TEXT, "qas": []}
    assert detect_format(save("\n".join(map(json.dumps, [empty, empty, paragraph("a")])))) == "squad"
    assert detect_format(save("\n".join(map(json.dumps, [empty, empty, mrqa("a")])))) == "mrqa"
    assert detect_format(save(json.dumps([7, hotpot("a")]))) == "hotpotqa"
    assert detect_format(save("\n".join(["{oops", "{}", json.dumps(flat("a"))]))) == "squad"
