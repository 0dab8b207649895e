"""Rows of every format: each in its place, wrong ones named, none of them larger than it may be in memory."""

import gzip
import os

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from blockskim.errors import ConfigError, DataError
from blockskim.scaling.csv_rows import csv_rows
from blockskim.scaling.input_files import SAMPLE, SAMPLES, find_inputs, fingerprint
from blockskim.scaling.json_lines import json_line_rows
from blockskim.scaling.line_reader import open_lines
from blockskim.scaling.rows import Columns, InputFile, read_row

LIMIT = 1000
COLUMNS = Columns(keep=("id",))


def rows(path, reader=None, columns=COLUMNS, limit=LIMIT, **settings):
    (file,) = find_inputs([path], **settings)
    reader = reader or {"jsonl": json_line_rows, "csv": csv_rows}[file.format]
    return [read_row(raw, file, columns, limit) for raw, _ in reader(file, 0, columns, limit)]


def test_lines_are_cut_where_they_are_too_long(save):
    content = b"\xef\xbb\xbfone\n" + b'"' * 25 + b"\n\n" + b"x" * 10 + b"\n" + b"y" * 30
    for name, packed in (("a", content), ("a.gz", gzip.compress(content))):
        with open_lines(save(packed, name), 10) as lines:
            found = [(line.number, line.content, line.is_whole, b"".join(lines.rest())) for line in lines]
        assert found == [
            (1, b"one\n", True, b""),
            (2, b'"' * 11, False, b'"' * 14 + b"\n"),
            (3, b"\n", True, b""),
            (4, b"x" * 10 + b"\n", False, b""),
            (5, b"y" * 11, False, b"y" * 19),
        ]
        # What nobody reads of a line is passed over.
        with open_lines(save(packed, name), 10) as lines:
            assert [line.content for line in lines] == [content for _, content, _, _ in found]


@settings(max_examples=50)
@given(st.lists(st.binary(max_size=40).map(lambda line: line.replace(b"\n", b"")), max_size=8), st.integers(1, 30))
def test_every_byte_is_counted_once(tmp_path_factory, content, limit):
    # That would be a gzip file, and a damaged one.
    assume(not b"\n".join(content).startswith(b"\x1f\x8b"))
    path = tmp_path_factory.mktemp("lines") / "a"
    path.write_bytes(b"".join(line + b"\n" for line in content))
    with open_lines(path, limit) as lines:
        found = [(line, line.content + b"".join(lines.rest())) for line in lines]
    assert [line.number for line, _ in found] == list(range(1, len(content) + 1))
    for (line, read), given_line in zip(found, content, strict=True):
        whole = given_line + b"\n"
        if line.number == 1:
            whole = whole.removeprefix(b"\xef\xbb\xbf")
        assert read == whole
        assert line.is_whole == (len(whole) <= limit)
        # A byte-order mark might have stood before it.
        assert len(line.content) <= limit + 4


JSON_ERRORS = {
    "[1]": "is [1]; a JSON object is needed",
    "{": "is not JSON: Expecting property name enclosed in double quotes at column 2",
    '{"context": "x"}': "there is no 'question'",
    '{"question": "q", "context": null}': "'context' is null",
    '{"question": "q", "context": ["x"]}': "'context' is ['x']; it must be text",
    '{"question": "q", "context": 1.5}': "'context' is 1.5; it must be text",
    '{"question": "", "context": "x"}': "'question' is empty",
    '{"question": "q", "context": "\\ud800x"}': "'context' holds half of a surrogate pair at character 0",
    '{"question": "q", "context": ' + "[" * 400_000 + "}": "is nested too deeply",
    '{"question": "q", "context": ' + "9" * 5000 + "}": "holds a number of too many digits",
}


@pytest.mark.parametrize("line", JSON_ERRORS, ids=lambda line: line[:30])
def test_a_line_of_json_that_is_wrong_is_named(save, line):
    good = '{"id": 1, "question": "q", "context": "c"}'
    path = save(f"{good}\n\n{line}\n{good}", "a.jsonl")
    first, wrong, last = rows(path, limit=10**6)
    assert first.error == last.error == ""
    assert (last.question, last.context, last.kept) == ("q", "c", {"id": 1})
    assert wrong.error.startswith(f"{path}: line 3: {JSON_ERRORS[line]}")
    assert "\n" not in wrong.error


def test_bytes_that_are_no_text_and_lines_that_are_too_long(save):
    good = b'{"question": "q", "context": "c"}\n'
    path = save(good + b'{"question": "\xff"}\n' + b'{"question": "' + b"x" * 5_000_000 + b'"}\n' + good, "a.jsonl")
    found = rows(path)
    assert [row.error for row in found] == [
        "",
        f"{path}: line 2: is not UTF-8 text (byte 0xff)",
        f"{path}: line 3: the row has 5,000,017 bytes, and row_limit is 1,000 (--max-row-bytes)",
        "",
    ]


def test_formats_are_told_by_content_and_name(save, tmp_path):
    content = {
        "a.jsonl": ("{}", "jsonl"),
        "b": (' \n{"a": 1}', "jsonl"),
        "c.csv.gz": (gzip.compress(b"a,b"), "csv"),
        "d.TSV": ("a\tb", "csv"),
        "e.md": ("{}", "text"),
        "f.jsonl": (b"PAR1", "parquet"),
        "g.jsonl": ("", "jsonl"),
    }
    for name, (text, format) in content.items():
        (file,) = find_inputs([save(text, name)])
        assert file.format == format
    (file,) = find_inputs([tmp_path / "b"], format="text")
    assert file.format == "text"
    with pytest.raises(ConfigError, match="unknown format 'x'; known are jsonl, csv, parquet, text"):
        find_inputs([tmp_path / "b"], format="x")
    for name, text, message in (
        ("h.json", "[{}]", "is a JSON list; JSON lines are needed"),
        ("i", "text", "its format can't be told; give it .--input-format."),
    ):
        with pytest.raises(DataError, match=message):
            find_inputs([save(text, name)])


def test_a_cut_off_file_that_its_name_tells_of_is_left_for_the_reading(save):
    half = gzip.compress(b'{"question": "q", "context": "text"}\n' * 50)[:-12]
    (file,) = find_inputs([save(half, "a.jsonl.gz")])
    assert file.format == "jsonl"
    with pytest.raises(DataError, match=r"b\.gz: damaged or cut-off gzip file"):
        find_inputs([save(half, "b.gz")])


def test_folders_are_read_in_the_order_of_names(save, tmp_path, caplog):
    (tmp_path / "in" / "sub").mkdir(parents=True)
    for name in ("b.txt", "a.txt", "sub/c.txt", ".hidden", "_about.json"):
        save("x", f"in/{name}")
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "d.txt").symlink_to(tmp_path / "in" / "a.txt")
    assert [file.path.name for file in find_inputs([tmp_path / "in"])] == ["a.txt", "b.txt", "d.txt", "c.txt"]
    (message,) = caplog.messages
    assert message.startswith(f"{tmp_path}/in/loop is a link to a folder, which is left out")
    # Named by itself it is followed.
    assert len(find_inputs([tmp_path / "in" / "loop" / "sub"])) == 1
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="there is no file to read"):
        find_inputs([tmp_path / "none"])
    with pytest.raises(DataError, match="no such file"):
        find_inputs([tmp_path / "nowhere"])


@pytest.mark.parametrize("target", ["gone.txt", "link.txt"])
def test_links_that_lead_nowhere_are_refused(save, tmp_path, target):
    (tmp_path / "in").mkdir()
    save("x", "in/a.txt")
    link = tmp_path / "in" / "link.txt"
    link.symlink_to(target)
    for given_path in (tmp_path / "in", link):
        with pytest.raises(DataError) as error:
            find_inputs([given_path])
        assert str(error.value) == f"{link}: is a link to {target}, which is not there"
    link.rename(tmp_path / "in" / ".link.txt")
    assert len(find_inputs([tmp_path / "in"])) == 1


def test_names_of_files_that_are_no_text_are_refused(tmp_path):
    try:
        (tmp_path / os.fsdecode(b"caf\xe9.jsonl")).write_text("{}")
    except OSError:
        pytest.skip("this system has no such names")
    with pytest.raises(DataError, match=r"caf\\udce9\.jsonl: the name is not UTF-8 text"):
        find_inputs([tmp_path])


def test_what_can_not_be_read_twice_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="is no file that can be read twice"):
        find_inputs([tmp_path / "pipe"])


def test_a_fingerprint_sees_beginning_middle_and_end(tmp_path):
    path = tmp_path / "a"
    size = 64 * 60_000
    seen = set()
    for place in (None, 0, size // 2, size - 1):
        content = bytearray(size)
        if place is not None:
            content[place] = 1
        path.write_bytes(content)
        seen.add(fingerprint(InputFile(path, "jsonl", size)))
    path.write_bytes(bytes(size))
    assert len(seen) == 4
    assert fingerprint(InputFile(path, "jsonl", size)) in seen


def test_a_fingerprint_of_a_text_sees_every_byte_of_it(tmp_path):
    """No row is compared when a run goes on in which the text stands."""
    path = tmp_path / "a.txt"
    size = 3 * SAMPLES * SAMPLE
    seen = set()
    for place in (None, 100_000, size // 2 + 70_000):
        content = bytearray(size)
        if place is not None:
            content[place] = 1
        path.write_bytes(content)
        seen.add(fingerprint(InputFile(path, "text", size)))
    assert len(seen) == 3
