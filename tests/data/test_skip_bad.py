import gzip
import json
import logging

import pytest

from blockskim.data.reading import read_examples
from blockskim.errors import DataError

TEXT = "Ada was born in London."


def squad(*names, **changes):
    questions = [
        {"id": name, "question": "Who?", "answers": [{"text": "Ada", "answer_start": 0}]} | changes.get(name, {})
        for name in names
    ]
    return {"title": names[0], "paragraphs": [{"context": TEXT, "qas": questions}]}


def mrqa(name, **changes):
    answer = {"text": "Ada", "char_spans": [[0, 2]]}
    question = {"qid": name, "question": "Who?", "answers": ["Ada"], "detected_answers": [answer]}
    return {"context": TEXT, "qas": [question | changes]}


def hotpot(name, **changes):
    record = {"_id": name, "question": "Who?", "answer": "Ada", "supporting_facts": [["T", 0]]}
    return record | {"context": [["T", [TEXT]]]} | changes


FILES = {
    "squad": json.dumps(
        {
            "data": [
                squad("a", "b", "c", b={"answers": 7}),
                {"title": 3, "paragraphs": []},
                {"title": "x", "paragraphs": [{"qas": []}, squad("d")["paragraphs"][0]]},
            ]
        }
    ),
    "mrqa": "\n".join(
        [
            '{"header": {}}',
            json.dumps(mrqa("a")),
            "{oops",
            json.dumps(mrqa("b", answers=7)),
            "[]",
            json.dumps({"context": "", "qas": []}),
            json.dumps(mrqa("c")),
            json.dumps(mrqa("d")),
        ]
    ),
    "hotpotqa": json.dumps([hotpot("a"), hotpot("b", answer=7), 7, hotpot("c"), {"_id": "x"}, hotpot("d")]),
}
LEFT_OUT = {"squad": 3, "mrqa": 4, "hotpotqa": 3}


@pytest.mark.parametrize("name", FILES)
def test_wrong_records_are_left_out_and_counted(tmp_path, caplog, name):
    path = tmp_path / "data.json"
    path.write_text(FILES[name])
    with pytest.raises(DataError, match=r"data\.json"):
        list(read_examples(path))
    with caplog.at_level(logging.WARNING):
        found = list(read_examples(path, skip_bad=True))
    assert [example.id for example in found] == ["a", *(["c", "d"])]
    assert f"{LEFT_OUT[name]} wrong records left out, first: " in caplog.text
    assert {example.source for example in found} == {"data.json"}


def test_the_error_names_file_line_and_key(tmp_path):
    path = tmp_path / "train.jsonl"
    lines = [json.dumps(mrqa(str(number))) for number in range(20)]
    path.write_text("\n".join([*lines[:16], lines[16][:-9], *lines[17:]]))
    with pytest.raises(DataError, match=r"train\.jsonl: is not JSON: .* at line 17, column \d+"):
        list(read_examples(path))
    path.write_text(json.dumps([hotpot("a"), {"_id": "b", "context": []}], indent=1))
    line = path.read_text().split("\n").index(" {", 2) + 1
    with pytest.raises(DataError, match=rf"train\.jsonl: line {line}, record 2 \('b'\): 'context' is empty"):
        list(read_examples(path))


@pytest.mark.parametrize("name", FILES)
def test_of_a_cut_off_file_what_can_be_read_is_read(tmp_path, caplog, name):
    text = {
        "squad": json.dumps({"data": [squad(f"q{number}") for number in range(9000)]}),
        "mrqa": "\n".join(json.dumps(mrqa(f"q{number}")) for number in range(9000)),
        "hotpotqa": json.dumps([hotpot(f"q{number}") for number in range(9000)]),
    }[name]
    path = tmp_path / "data.gz"
    whole = gzip.compress(text.encode())
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="damaged or cut-off gzip file"):
        list(read_examples(path, format=name))
    with caplog.at_level(logging.WARNING):
        found = list(read_examples(path, format=name, skip_bad=True))
    assert 0 < len(found) < 9000
    assert [example.id for example in found] == [f"q{number}" for number in range(len(found))]
    assert "1 wrong record left out, first: " in caplog.text


@pytest.mark.parametrize("count", [5, 3000])
def test_all_lines_before_a_damaged_place_are_read(tmp_path, caplog, count):
    lines = [json.dumps(mrqa(f"q{number}")).encode() for number in range(count)]
    path = tmp_path / "data.jsonl"
    path.write_bytes(b"\n".join([*lines[:-1], b"\xff", lines[-1]]))
    assert len(list(read_examples(path, skip_bad=True))) == count - 1
    assert "1 wrong record left out, first: " in caplog.text
    packed = gzip.compress(b"\n".join(lines))[:-6]  # in the checksum, behind all of the text
    path.write_bytes(packed)
    assert len(list(read_examples(path, skip_bad=True))) == count
    with pytest.raises(DataError, match="damaged or cut-off gzip file"):
        list(read_examples(path))


def test_a_file_of_nothing_but_wrong_records_is_an_error(tmp_path):
    path = tmp_path / "data.json"
    path.write_text(json.dumps([{"_id": "x"}]))
    with pytest.raises(DataError, match=r"holds no questions; 1 wrong record left out, first: .*record 1"):
        list(read_examples(path, format="hotpotqa", skip_bad=True))


@pytest.mark.parametrize("wrong", [{"answers": 7}, {"question": " "}])
def test_a_corrected_record_may_follow_the_wrong_one(tmp_path, caplog, wrong):
    path = tmp_path / "data.json"
    records = [squad("a"), squad("b", b=wrong), squad("b"), squad("a"), squad("c", c={"id": None}), squad("b")]
    path.write_text(json.dumps({"data": records}))
    found = list(read_examples(path, skip_bad=True))
    assert [(example.id, example.title) for example in found] == [("a", "a"), ("b", "b")]
    # The second "a" and "b" are wrong by their ids alone, which belong to those before them.
    assert "4 wrong records left out" in caplog.text


def test_a_corrected_record_may_follow_one_that_says_nothing_of_answers(tmp_path, caplog):
    path = tmp_path / "data.json"
    silent = squad("b")
    del silent["paragraphs"][0]["qas"][0]["answers"]
    path.write_text(json.dumps({"data": [squad("a"), silent, squad("b")]}))
    assert [example.id for example in read_examples(path, skip_bad=True)] == ["a", "b"]
    assert "1 wrong record left out" in caplog.text


def test_a_corrected_record_may_follow_the_first_ones_that_say_nothing_of_answers(tmp_path, caplog):
    path = tmp_path / "data.json"
    silent = squad("a")
    del silent["paragraphs"][0]["qas"][0]["answers"]
    path.write_text(json.dumps({"data": [silent, squad("b"), squad("a")]}))
    assert [example.id for example in read_examples(path, skip_bad=True)] == ["b", "a"]
    assert "1 wrong record left out" in caplog.text


def test_reading_that_stops_early_tells_what_it_met(tmp_path, caplog):
    path = tmp_path / "data.json"
    moved = {"answers": [{"text": "Ada", "answer_start": 5}]}
    unmarked = {"answers": [], "is_impossible": False}
    records = [squad("a", a=moved), squad("b", b={"id": 7.5}), squad("c", c=unmarked), squad("d")]
    path.write_text(json.dumps({"data": records}))
    with caplog.at_level(logging.WARNING):
        examples = read_examples(path, skip_bad=True)
        assert [next(examples).id, next(examples).id] == ["a", "c"]
        assert not caplog.messages
        examples.close()
    (told,) = caplog.messages
    assert "1 wrong record left out" in told
    assert "1 answer repaired" in told
    assert "1 question without answers though" in told


def test_a_file_of_which_unanswerable_questions_were_read_alone_may_hold_others(tmp_path, caplog):
    path = tmp_path / "data.json"
    path.write_text(json.dumps({"data": [squad("a", a={"answers": []}), squad("b")]}))
    examples = read_examples(path)
    next(examples)
    examples.close()
    assert not caplog.messages
