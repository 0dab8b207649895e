import gzip
import json
import os
import threading
from pathlib import Path

import pytest

from blockskim.data.reading import READERS, detect_format, read_examples
from blockskim.errors import DataError

QUESTION = {"id": "s1", "question": "Who?", "answers": [{"text": "Ada", "answer_start": 0}]}
SQUAD = {"data": [{"title": "T", "paragraphs": [{"context": "Ada paints.", "qas": [QUESTION]}]}]}
DETECTED = [{"text": "Ada", "char_spans": [[0, 2]]}]
MRQA_LINE = {
    "context": "Ada paints.",
    "qas": [{"qid": "m1", "question": "Who?", "answers": ["Ada"], "detected_answers": DETECTED}],
}
HOTPOT = [
    {
        "question": "Who?",
        "context": [["T", ["Ada paints."]]],
        "supporting_facts": [["T", 0]],
        "answer": "Ada",
        "_id": "h1",
    }
]
PSEUDO = [{"_id": "p1", "question": "Who?", "answer": "Ada", "paragraphs": [{"text": "Ada.", "is_supporting": True}]}]

CONTENTS = {
    "squad": json.dumps(SQUAD),
    "mrqa": json.dumps({"header": {}}) + "\n" + json.dumps(MRQA_LINE),
    "hotpotqa": json.dumps(HOTPOT),
    "hotpotqa-pseudo": json.dumps(PSEUDO),
}


def test_every_format_has_a_reader():
    assert list(CONTENTS) == list(READERS)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", CONTENTS)
def test_recognises_and_reads_every_format_whatever_its_name(save, name, packed):
    content = CONTENTS[name].encode()
    path = save(gzip.compress(content) if packed else content, "misleading.txt")
    assert detect_format(path) == name
    for examples in (read_examples(path), read_examples([str(path)], format=name)):
        (example,) = examples
        assert example.references == ("Ada",)
        assert example.answers[0].text == "Ada"
        assert dict(example.metadata)["format"] == name


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (json.dumps(SQUAD, indent=4), "squad"),
        ("\ufeff\n  " + json.dumps({"version": "v2.0", **SQUAD}), "squad"),
        # keys and brackets inside of strings and of nested objects say nothing
        (json.dumps({"note": 'a "qas": ] } \\', "more": {"qas": [], "header": {}}, **SQUAD}), "squad"),
        (json.dumps(MRQA_LINE), "mrqa"),
        (json.dumps({"data_id": 'x"data":', **MRQA_LINE}), "mrqa"),
        (json.dumps(HOTPOT, indent=1), "hotpotqa"),
        # a first record that is longer than the first look
        (json.dumps([{"context": [["T", ["é" * (1 << 20)]]], "question": "?"}]), "hotpotqa"),
        (json.dumps({"id": "", "context": "{" * (1 << 21), "qas": []}), "mrqa"),
    ],
)
def test_recognises_unusual_files(save, content, name):
    assert detect_format(save(content)) == name


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "the file is empty"),
        (b" \n\n", "the file is empty but for white space"),
        (b"question,answer\nWho?,Ada\n", "is not JSON: Expecting value at line 1, column 1"),
        (b'{"version": "1.1",\n "data" [', "is not JSON"),
        (b'{"a": 1,\n "b": }', "is not JSON: Expecting value at line 2, column 7"),
        (b"q" * (1 << 26), "is not JSON: Expecting value at line 1, column 1"),
        (b"\x00\x01\x02", "is not JSON"),
        (b"\xff\xfe{\x00", "is not UTF-8 text (byte 0xff)"),
        (b"[]", "holds no questions"),
        (b"{}", "holds no questions"),
        (b"42", "is JSON without records"),
        (b"[1, 2]", "is JSON without records"),
        (b"[" * 100_000, "is nested too deeply"),
        (
            b'{"id": "1", "question": "?", "contexts": ["x"], "answers": {}}',
            "is of no known format: its first object has 'id', 'question', 'contexts', 'answers'; known are SQuAD",
        ),
        (b'[{"title": "T", "text": "x"}]', "is of no known format: its first object has 'title', 'text'"),
    ],
    ids=lambda value: repr(value)[:24],
)
def test_file_of_no_known_format_is_named_with_the_reason(save, content, words):
    path = save(content, "strange.json")
    with pytest.raises(DataError) as error:
        detect_format(path)
    assert str(error.value).startswith(str(path))
    assert words in str(error.value)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_pipe_is_read_once_its_format_is_named(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(DataError, match="is a pipe, which can be read only once: name its format"):
        detect_format(path)
    writer = threading.Thread(target=path.write_bytes, args=[gzip.compress(CONTENTS["mrqa"].encode())], daemon=True)
    writer.start()
    assert [example.id for example in read_examples(path, format="mrqa")] == ["m1"]
    writer.join(timeout=10)


def test_reads_several_files_one_after_the_other(save):
    paths = [save(content, name) for name, content in CONTENTS.items()]
    assert [example.id for example in read_examples(paths)] == ["s1", "m1", "h1", "p1"]


def test_a_wrong_file_is_known_before_anything_is_read(save, tmp_path):
    good = save(CONTENTS["squad"])
    with pytest.raises(DataError, match="no such file"):
        read_examples([good, tmp_path / "absent"])
    with pytest.raises(DataError, match="is not JSON"):
        read_examples([good, save("nonsense", "other")])
    with pytest.raises(DataError, match="is a directory"):
        read_examples(tmp_path)


def test_format_and_files_must_be_named_right(save):
    path = save(CONTENTS["squad"])
    with pytest.raises(DataError, match="no format 'squad1'; known are squad, mrqa, hotpotqa, hotpotqa-pseudo"):
        read_examples(path, format="squad1")
    with pytest.raises(DataError, match="no data file is named"):
        read_examples([])
    with pytest.raises(DataError, match="is not a HotpotQA file"):
        list(read_examples(path, format="hotpotqa"))


def test_shared_files_are_recognised(shared_data: Path):
    names = {"hotpot_train_pseudo_distractor.json": "hotpotqa-pseudo", "NewsQA-dev.jsonl.gz": "mrqa"}
    files = sorted(shared_data.rglob("*.json")) + sorted(shared_data.rglob("*.jsonl.gz"))
    assert files
    for path in files:
        expected = names.get(path.name, "hotpotqa" if path.name.startswith("hotpot_") else "squad")
        assert detect_format(path) == expected, path
