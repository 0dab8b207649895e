"""Rows of CSV: a wrong one takes no other with it, and a field in quotes may hold anything."""

import csv
import gzip
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blockskim.errors import ConfigError, DataError
from blockskim.scaling.csv_rows import _Place, _place_after, csv_rows
from blockskim.scaling.input_files import find_inputs
from blockskim.scaling.rows import Columns, read_row

LIMIT = 1000
COLUMNS = Columns(keep=("id",))


def rows(path, columns=COLUMNS, limit=LIMIT, delimiter=None):
    (file,) = find_inputs([path], delimiter=delimiter)
    return [read_row(raw, file, columns, limit) for raw, _ in csv_rows(file, 0, columns, limit)]


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
        "line 7: the row has 2,007 bytes, and row_limit is 1,000 (--max-row-bytes)",
        "line 8: the row has 1,810 bytes, and row_limit is 1,000 (--max-row-bytes)",
        "line 11: is not CSV: ',' expected after '\"'",
        "",
        "",
    ]
    assert (found[-2].question, found[-1].context) == ('5" disk', "two\nlines")
    assert csv.field_size_limit() == before


WRONG_CSV = {
    b'q2,a 5" caf\xe9': "is not UTF-8 text (byte 0xe9)",
    b'q2,"a ""5"" \xe9\nand, more"': "is not UTF-8 text (byte 0xe9)",
    b'q2,5" ' + b"x" * 2000: "the row has 2,007 bytes, and row_limit is 1,000 (--max-row-bytes)",
    b'q2,5" ' + b"x" * 995 + b'5"': "the row has 1,004 bytes, and row_limit is 1,000 (--max-row-bytes)",
    b'q2,"' + b'x""' * 900 + b'\n"': "the row has 2,707 bytes, and row_limit is 1,000 (--max-row-bytes)",
    b'"q" 5",2': "is not CSV: ',' expected after '\"'",
    b'"q\nr" 5",2': "is not CSV: ',' expected after '\"'",
    b'q2,5"\r and': "is not CSV: new-line character seen in unquoted field",
}


@pytest.mark.parametrize("wrong", WRONG_CSV, ids=lambda wrong: str(wrong[:20]))
def test_a_wrong_row_of_csv_with_a_quote_takes_no_other_with_it(save, wrong):
    path = save(b"question,context\nq1,c\n" + wrong + b'\nq3,"c"\nq4,6" c\n\nq5,"c\n"\nq6,c', "a.csv")
    found = rows(path, columns=Columns())
    assert [row.question for row in found] == ["q1", "", "q3", "q4", "q5", "q6"]
    assert found[1].error.startswith(f"{path}: line 3: {WRONG_CSV[wrong]}")
    assert [row.error for row in found if row is not found[1]] == [""] * 5
    assert found[-1].where == f"{path}: line {9 + wrong.count(10)}"


lines_of_csv = st.lists(st.sampled_from(['"', '"', ",", "a", "é", "\n"]), max_size=25).map("".join)


@settings(max_examples=300)
@given(lines_of_csv, st.integers(1, 5))
def test_a_row_ends_where_pythons_reader_ends_it(text, size):
    lines = [line + "\n" for line in text.split("\n")]
    reader = csv.reader(iter(lines))
    ends = {reader.line_num for _ in reader}
    found, place = set(), _Place.START
    for number, line in enumerate(lines, 1):
        for start in range(0, len(line), size):
            place = _place_after(place, line[start : start + size], ",")
        if place is not _Place.QUOTED:
            found.add(number)
            place = _Place.START
    # It also gives what is left of a file that ends inside of a row.
    assert found == ends - ({len(lines)} if place is _Place.QUOTED else set())


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
