"""Question, context and copied columns of a row, and the text files that it names."""

import gzip
import json
from dataclasses import replace
from pathlib import Path

import pytest

from blockskim.errors import ReadError
from blockskim.scaling.input_files import find_inputs
from blockskim.scaling.json_lines import json_line_rows
from blockskim.scaling.rows import MOST_LEVELS, Columns, RawRow, read_row

LIMIT = 1000


def rows(path, columns):
    (file,) = find_inputs([path])
    return [read_row(raw, file, columns, 10**4) for raw, _ in json_line_rows(file, 0, columns, 10**4)]


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


def test_copied_values_are_not_nested_too_deeply(save):
    def line(levels):
        deep = "[" * (levels - 1) + "{}" + "]" * (levels - 1)
        return f'{{"id": 7, "deep": {deep}, "other": {deep}, "question": "q", "context": "c"}}\n'

    path = save(line(MOST_LEVELS) + line(MOST_LEVELS + 2), "a.jsonl")
    good, wrong = rows(path, columns=Columns(keep=("id", "deep", "other")))
    assert good.error == ""
    assert wrong.error == f"{path}: line 2: 'deep' is nested too deeply; 100 levels are the most"
    assert wrong.kept == {"id": 7, "deep": None, "other": None}
    # What is not copied is no matter.
    assert [row.error for row in rows(path, Columns())] == ["", ""]


def test_relative_paths_begin_in_the_folder_of_a_file(save, tmp_path, monkeypatch):
    save("text", "a.txt")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    (file,) = find_inputs([Path("a.txt")])
    monkeypatch.chdir(tmp_path / "elsewhere")
    away = replace(file, folder=tmp_path)
    row = read_row(RawRow(0, 1, None), away, Columns(question="q"), LIMIT)
    assert (row.context, row.kept, row.where) == ("text", {"file": "a.txt"}, "a.txt")
    with pytest.raises(ReadError, match=r"^b\.txt: can't be read: No such file or directory$"):
        read_row(RawRow(0, 1, None), replace(away, path=Path("b.txt")), Columns(question="q"), LIMIT)
    named = RawRow(0, 1, b'{"question": "q", "name": "a.txt"}')
    for root in (None, "."):
        columns = Columns(file_column="name", file_root=root)
        assert read_row(named, replace(away, format="jsonl"), columns, LIMIT).context == "text"


def test_a_column_is_copied_once():
    assert Columns(keep=("id", "b", "id")).keep == ("id", "b")
