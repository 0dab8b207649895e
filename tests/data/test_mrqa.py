import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockskim.data.examples import Answer
from blockskim.data.mrqa import read_mrqa
from blockskim.errors import DataError

HEADER = {"header": {"dataset": "Birds", "split": "dev"}}
CONTEXT = "A wren is small. The wren sings; the Kingfisher\u2028dives."


def question(name="q1", answers=("wren",), detected=(("wren", [[2, 5]]),), **more):
    found = [{"text": text, "char_spans": spans, "token_spans": [[0, 0]]} for text, spans in detected]
    return {"qid": name, "question": "Who?", "answers": list(answers), "detected_answers": found, **more}


def line(*questions, context=CONTEXT, name=""):
    return {"id": name, "context": context, "context_tokens": [["A", 0]], "qas": list(questions)}


@pytest.fixture
def save(tmp_path):
    def write(*records, name="dev.jsonl", ensure_ascii=True):
        path = tmp_path / name
        lines = [r if isinstance(r, str) else json.dumps(r, ensure_ascii=ensure_ascii) for r in records]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="")
        return path

    return write


def read(path):
    return list(read_mrqa(path))


def test_spans_count_the_last_character_in(save):
    example = read(save(HEADER, line(question())))[0]
    assert example.answers == (Answer("wren", 2),)
    assert example.answers[0].end == 6
    assert (example.id, example.question, example.context, example.title) == ("q1", "Who?", CONTEXT, "")
    assert dict(example.metadata) == {"format": "mrqa", "dataset": "Birds"}


def test_every_span_of_every_detected_answer(save):
    detected = [("wren", [[2, 5], [21, 24]]), ("small", [[10, 14]])]
    example = read(save(HEADER, line(question(answers=("wren", "small one"), detected=detected))))[0]
    assert example.answers == (Answer("wren", 2), Answer("wren", 21), Answer("small", 10))
    assert example.references == ("wren", "small one")


def test_span_that_differs_in_case_or_spacing_only_is_trusted(save, caplog):
    detected = [("kingfisher dives", [[37, 52]])]
    example = read(save(HEADER, line(question(detected=detected))))[0]
    assert example.answers == (Answer("Kingfisher\u2028dives", 37),)
    assert not caplog.records


def test_header_may_be_absent_and_blank_lines_are_skipped(save):
    examples = read(save(line(question()), "", line(question("q2"), name="article 4"), "  "))
    assert [example.id for example in examples] == ["q1", "q2"]
    assert [example.title for example in examples] == ["", "article 4"]
    assert dict(examples[0].metadata)["dataset"] == ""


def test_windows_line_ends_and_raw_line_separators_in_strings(save):
    path = save(json.dumps(HEADER) + "\r", json.dumps(line(question()), ensure_ascii=False) + "\r")
    assert read(path)[0].context == CONTEXT


def test_gzip_is_recognised_by_content(tmp_path):
    path = tmp_path / "data"
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, [HEADER, line(question())])).encode()))
    assert read(path)[0].answers == (Answer("wren", 2),)


def test_wrong_offsets_are_repaired_or_skipped_and_counted_once(save, caplog):
    path = save(
        HEADER,
        line(question("q1", detected=[("small", [[0, 4]])]), question("q2", detected=[("wren", [[99, 102]])])),
        line(question("q3", detected=[("sings", [[900, 904]]), ("wren", [[21, 24]])])),
    )
    examples = read(path)
    assert examples[0].answers == (Answer("small", 10),)
    assert examples[1].answers == ()
    assert examples[1].references == ("wren",)
    assert examples[2].answers == (Answer("sings", 26), Answer("wren", 21))
    assert len(caplog.records) == 1
    assert "dev.jsonl: 2 answers repaired, 1 skipped" in caplog.text
    assert "1 question left without an answer span" in caplog.text


def test_detected_answers_stand_in_for_missing_references(save):
    example = read(save(HEADER, line(question(answers=(), detected=[("wren", [[2, 5], [21, 24]])]))))[0]
    assert example.references == ("wren",)
    assert example.answerable


def test_reads_a_line_at_a_time(save):
    path = save(HEADER, line(question()), "this is not JSON")
    examples = read_mrqa(path)
    assert next(examples).id == "q1"
    with pytest.raises(DataError, match=r"dev\.jsonl: is not JSON: .* at line 3, column 1"):
        next(examples)


@pytest.mark.parametrize(
    ("records", "words"),
    [
        (["[1]"], ["line 1, record 1", "must be an object, is a whole number"]),
        ([HEADER, "[1]"], ["line 2", "must be an object, is a list"]),
        ([HEADER], ["holds no questions"]),
        ([{"header": 4}], ["line 1", "'header' must be an object"]),
        ([HEADER, {"qas": []}], ["line 2", "has no 'context'", "it has 'qas'"]),
        ([HEADER, {"context": "x"}], ["line 2", "has no 'qas' (must be a list)"]),
        ([HEADER, line(question(), context=" \n")], ["line 2", "the context is empty"]),
        ([HEADER, line({**question(), "qid": None})], ["line 2", "'qid' must be a string or a whole number, is null"]),
        ([HEADER, line({**question(), "answers": "wren"})], ["line 2, question 'q1'", "'answers' must be a list"]),
        ([HEADER, line({**question(), "answers": [3]})], ["each of 'answers' must be a string"]),
        (
            [HEADER, line(question(), {"qid": "q9", "question": "?"})],
            ["line 2, question 'q9'", "says nothing of answers"],
        ),
        (
            [HEADER, line(question(detected=[("wren", [[2, "5"]])]))],
            ["answer 'wren'", "must be [first, last character], is [2, '5']"],
        ),
        ([HEADER, line(question(detected=[("wren", [2, 5])]))], ["must be [first, last character], is 2"]),
        ([HEADER, line(question()), line(question())], ["line 3", "question id 'q1' occurs twice"]),
    ],
)
def test_wrong_file_names_the_file_the_line_and_what_is_wrong(save, records, words):
    with pytest.raises(DataError) as error:
        read(save(*records))
    for word in ["dev.jsonl", *words]:
        assert word in str(error.value)


def test_a_question_may_lack_spans_or_references(save, caplog):
    bare, detected = question("q1"), question("q2")
    del bare["detected_answers"], detected["answers"]
    examples = read(save(HEADER, line(bare, detected)))
    assert [(example.references, example.answers) for example in examples] == [
        (("wren",), ()),
        (("wren",), (Answer("wren", 2),)),
    ]
    assert all(example.annotated for example in examples)
    assert "1 question left without an answer span" in caplog.text


def test_a_test_file_has_neither(save, caplog):
    empty = {"qid": 2, "question": "Who?", "answers": [], "detected_answers": []}
    examples = read(save(HEADER, line({"qid": 1, "question": "Who?"}, empty)))
    assert [(example.id, example.annotated) for example in examples] == [("1", False), ("2", False)]
    assert not caplog.records


def test_spans_as_objects(save):
    for spans in ([{"start": 2, "end": 5}], {"start": [2], "end": [5]}, [[2.0, 5.0]]):
        example = read(save(HEADER, line(question(detected=[("wren", spans)]))))[0]
        assert example.answers == (Answer("wren", 2),)


def test_a_header_may_come_again_where_files_were_joined(save):
    other = {"header": {"dataset": "Trees"}}
    examples = read(save(HEADER, line(question("a")), other, line(question("b"))))
    assert [dict(example.metadata)["dataset"] for example in examples] == ["Birds", "Trees"]


def test_a_header_in_a_list_or_beside_it(save):
    for content in ([HEADER, line(question("a"))], {**HEADER, "data": [line(question("a"))]}):
        assert dict(read(save(json.dumps(content)))[0].metadata)["dataset"] == "Birds"


def test_a_numeric_name_of_a_context_is_a_title(save):
    titles = [example.title for example in read(save(line(question("a"), name=4), line(question("b"), name=None)))]
    assert titles == ["4", ""]


def test_the_text_counts_where_it_stands_at_its_offset(save):
    # The span ends behind the blank; the text itself is at its beginning.
    assert read(save(line(question(detected=[("wren", [[2, 6]])]))))[0].answers == (Answer("wren", 2),)


def test_long_values_are_cut_in_messages(save):
    for spans in ([[0] * 100_000], ["x" * 100_000], {"start": [1], "end": []}):
        with pytest.raises(DataError) as error:
            read(save(HEADER, line(question(detected=[("wren", spans)]))))
        assert "line 2, question 'q1': answer 'wren'" in str(error.value)
        assert len(str(error.value)) < 600


@given(before=st.text(), answer=st.text(min_size=1), after=st.text(), shift=st.integers(-2, 2))
def test_answers_stand_where_they_say_in_any_unicode(tmp_path_factory, before, answer, after, shift):
    context = before + answer + after
    if not context.strip():
        return
    path = tmp_path_factory.mktemp("mrqa") / "x.jsonl"
    start = len(before) + shift
    record = line(question(detected=[(answer, [[start, start + len(answer) - 1]])]), context=context)
    path.write_text(json.dumps(record, ensure_ascii=False), encoding="utf-8", newline="")
    example = read(path)[0]
    assert example.context == context
    for found in example.answers:
        assert example.context[found.start : found.end] == found.text
        assert found.text.casefold().split() == answer.casefold().split()
    if shift == 0:
        assert example.answers == (Answer(answer, len(before)),)


def test_shared_news_qa(shared_data: Path, caplog):
    examples = read(shared_data / "mrqa" / "NewsQA-dev.jsonl.gz")
    assert len(examples) == 4_212
    assert len({example.context for example in examples}) == 638
    assert all(e.answers and all(e.context[a.start : a.end] == a.text for a in e.answers) for e in examples)
    assert dict(examples[0].metadata)["dataset"] == "NewsQA"
    assert not caplog.records
