"""Rows of every format: each in its place, wrong ones named, none of them larger than it may be in memory."""

import csv
import gzip
import io
import json

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from blockskim.errors import ConfigError, DataError
from blockskim.scaling.csv_rows import csv_rows
from blockskim.scaling.input_files import find_inputs, fingerprint
from blockskim.scaling.json_lines import json_line_rows
from blockskim.scaling.line_reader import open_lines
from blockskim.scaling.rows import Columns, InputFile, RawRow, read_row

LIMIT = 1000
COLUMNS = Columns(keep=("id",))


def rows(path, reader=None, columns=COLUMNS, limit=LIMIT, **settings):
    (file,) = find_inputs([path], **settings)
    reader = reader or {"jsonl": json_line_rows, "csv": csv_rows}[file.format]
    return [read_row(raw, file, columns, limit) for raw, _ in reader(file, 0, columns, limit)]


@pytest.fixture
def save(tmp_path):
    def write(content, name):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def test_lines_are_cut_where_they_are_too_long(save):
    content = b"\xef\xbb\xbfone\n" + b'"' * 25 + b"\n\n" + b"x" * 10 + b"\n" + b"y" * 30
    for name, packed in (("a", content), ("a.gz", gzip.compress(content))):
        with open_lines(save(packed, name), 10) as lines:
            found = [(line.number, line.content, line.size, line.quotes, line.is_whole) for line in lines]
        assert found == [
            (1, b"one\n", 4, 0, True),
            (2, b'"' * 10, 26, 25, False),
            (3, b"\n", 1, 0, True),
            (4, b"x" * 10, 11, 0, False),
            (5, b"y" * 10, 30, 0, False),
        ]


@settings(max_examples=50)
@given(st.lists(st.binary(max_size=40).map(lambda line: line.replace(b"\n", b"")), max_size=8), st.integers(1, 30))
def test_every_byte_is_counted_once(tmp_path_factory, content, limit):
    # That would be a gzip file, and a damaged one.
    assume(not b"\n".join(content).startswith(b"\x1f\x8b"))
    path = tmp_path_factory.mktemp("lines") / "a"
    path.write_bytes(b"".join(line + b"\n" for line in content))
    with open_lines(path, limit) as lines:
        found = list(lines)
    assert [line.number for line in found] == list(range(1, len(content) + 1))
    for line, given_line in zip(found, content, strict=True):
        whole = given_line + b"\n"
        if line.number == 1:
            whole = whole.removeprefix(b"\xef\xbb\xbf")
        assert (line.size, line.content) == (len(whole), whole[:limit])
        assert line.is_whole == (len(whole) <= limit)


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
        f"{path}: line 3: the row has 5,000,017 bytes, and may have 1,000 (--max-row-bytes)",
        "",
    ]


def csv_of(content, lineterminator="\r\n"):
    file = io.StringIO()
    csv.writer(file, lineterminator=lineterminator).writerows(content)
    return file.getvalue()


cells = st.lists(st.sampled_from(["a", '"', "\n", "\r\n", ",", "é", "🪁", " "]), max_size=8).map("".join)


@settings(max_examples=100)
@given(st.lists(st.tuples(cells, cells, cells), max_size=6), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_csv_with_quotes_and_line_feeds(tmp_path_factory, content, end, packed):
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    data = csv_of([("context", "id", "question"), *content], end).encode()
    path.write_bytes(gzip.compress(data) if packed else data)
    (file,) = find_inputs([path])
    found = [raw.content for raw, _ in csv_rows(file, 0, COLUMNS, LIMIT)]
    assert found == [{"question": q, "context": c, "id": i} for c, i, q in content]


def test_csv_rows_that_are_wrong_are_named_and_the_next_ones_read(save):
    before = csv.field_size_limit()
    lines = [
        b"id,question,context",
        b"1,q,c",
        b"2,q",
        b"3,q,\xff",
        b'4,q,"\xff and',
        b'more, ""quoted"", of it"',
        b'5,q,"' + b"x" * 2000 + b'"',
        b'6,q,"' + b"x" * 900,
        b"y" * 900,
        b'z"',
        b'7,q,"c"d',
        b'8,5" disk,c',
        b'9,q,"two',
        b'lines"',
    ]
    path = save(b"\n".join(lines), "a.csv")
    found = rows(path)
    assert [row.error.removeprefix(f"{path}: ") for row in found] == [
        "",
        "line 3: has 2 fields, and the first row names 3 columns",
        "line 4: is not UTF-8 text (byte 0xff)",
        "line 5: is not UTF-8 text (byte 0xff)",
        "line 7: the row has 2,007 bytes, and may have 1,000 (--max-row-bytes)",
        "line 8: the row has 1,810 bytes, and may have 1,000 (--max-row-bytes)",
        "line 11: is not CSV: ',' expected after '\"'",
        "",
        "",
    ]
    assert (found[-2].question, found[-1].context) == ('5" disk', "two\nlines")
    assert csv.field_size_limit() == before


def test_csv_fields_may_be_as_large_as_rows(save):
    text = "x" * 300_000
    path = save(csv_of([("question", "context"), ("q", text)]), "a.csv")
    (row,) = rows(path, columns=Columns(), limit=10**6)
    assert row.context == text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('question,context\nq,"no end\n', "line 2 begins a row with a quoted field that does not end"),
        ('question,context\nq,"' + "x\n" * 2000, "line 2 begins a row with a quoted field that does not end"),
        ("question,text\nq,c\n", "has no column 'context'; its columns are question, text"),
        ("question,context,context\nq,c,d\n", "has columns called 'context' twice"),
        ('"que\n', "does not end"),
    ],
)
def test_csv_files_that_are_wrong(save, content, message):
    path = save(content, "a.csv")
    with pytest.raises(DataError) as error:
        rows(path, columns=Columns())
    assert str(error.value).startswith(f"{path}: ")
    assert message in str(error.value)


def test_tabs_and_other_delimiters(save):
    for name, content, delimiter in (
        ("a.tsv", "question\tcontext\nq\tc\n", None),
        ("a.csv", "question;context\nq;c\n", ";"),
    ):
        (row,) = rows(save(content, name), columns=Columns(), delimiter=delimiter)
        assert (row.question, row.context) == ("q", "c")
    with pytest.raises(ConfigError, match="the delimiter is"):
        find_inputs([save("", "a.csv")], delimiter='"')


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
        ("i", "text", "its format can't be told; name it with --input-format"),
    ):
        with pytest.raises(DataError, match=message):
            find_inputs([save(text, name)])


def test_a_cut_off_file_that_its_name_tells_of_is_left_for_the_reading(save):
    half = gzip.compress(b'{"question": "q", "context": "text"}\n' * 50)[:-12]
    (file,) = find_inputs([save(half, "a.jsonl.gz")])
    assert file.format == "jsonl"
    with pytest.raises(DataError, match=r"b\.gz: damaged or cut-off gzip file"):
        find_inputs([save(half, "b.gz")])


def test_folders_are_read_in_the_order_of_names(save, tmp_path):
    (tmp_path / "in" / "sub").mkdir(parents=True)
    for name in ("b.txt", "a.txt", "sub/c.txt", ".hidden", "_about.json"):
        save("x", f"in/{name}")
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in")
    assert [file.path.name for file in find_inputs([tmp_path / "in"])] == ["a.txt", "b.txt", "c.txt"]
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="there is no file to read"):
        find_inputs([tmp_path / "none"])
    with pytest.raises(DataError, match="no such file"):
        find_inputs([tmp_path / "nowhere"])


def test_what_can_not_be_read_twice_is_refused(tmp_path):
    import os

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


def text_row(path, **columns):
    (file,) = find_inputs([path])
    content = json.dumps({"question": "q", "name": columns.pop("name")}).encode()
    return read_row(RawRow(0, 1, content), file, Columns(file_column="name", **columns), LIMIT)


def test_files_that_a_column_names(save, tmp_path):
    data = save("{}", "rows.jsonl")
    (tmp_path / "texts").mkdir()
    save(gzip.compress("é".encode()), "texts/a.txt.gz")
    save("x" * 2000, "texts/large.txt")
    save(b"\xff", "texts/binary")
    save(" ", "texts/blank")
    save("secret", "outside")
    assert text_row(data, name="texts/a.txt.gz").context == "é"
    assert text_row(data, name="a.txt.gz", file_root=str(tmp_path / "texts")).context == "é"
    where = f"{data}: line 1: "
    texts = tmp_path / "texts"
    for name, message in {
        "nowhere": f"{texts}/nowhere: no such file",
        "large.txt": f"{texts}/large.txt: is larger than 1,000 bytes",
        "binary": f"{texts}/binary: is not UTF-8 text (byte 0xff)",
        "blank": "blank is empty",
        "../outside": f"'name' is '../outside', which leads out of {texts}",
        str(tmp_path / "outside"): "which leads out of",
        "a\0b": "which is no path",
        ".": "is no file",
    }.items():
        row = text_row(data, name=name, file_root=str(texts))
        assert row.error.startswith(where), name
        assert message in row.error
