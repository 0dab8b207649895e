"""Bounds on what a record may take, and places in a file."""

import gzip
import time
import tracemalloc

import pytest

from blockskim.data import json_stream, json_text
from blockskim.data.json_stream import stream
from blockskim.errors import DataError


@pytest.fixture
def save(tmp_path):
    def write(*pieces):
        path = tmp_path / "data.gz"
        with gzip.open(path, "wb", compresslevel=1) as file:
            for piece in pieces:
                file.write(piece)
        return path

    return write


def parts(path):
    return list(stream(path, "data", several=True))


@pytest.mark.parametrize(
    "pieces",
    [
        (b'{"data": [{"title": "', b"x", b'"}]}'),
        (b'[\n{"title": "', b"x", b'"}]'),
        (b'{"a": 1}\n{"title": "', b"x", b'"}'),
        (b'{"version": "', b"x", b'"}'),
        (b'{"data": [[', b"1,", b"1]]}"),
        (b'{"', b"x", b'": 1}'),
        (b'{"data": [1.', b"1", b"]}"),
        # many members, none of them large
        (b'{"a": "y"', b', "b": "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"', b"}"),
    ],
    ids=lambda pieces: pieces[0].decode(),
)
def test_a_record_is_refused_before_it_fills_the_memory(save, monkeypatch, pieces):
    monkeypatch.setattr(json_text, "LARGEST", 300_000)
    start, filling, end = pieces
    path = save(start, *[filling * (1_000_000 // len(filling))] * 20, end)
    tracemalloc.start()
    with pytest.raises(DataError, match=r"data\.gz: line \d begins a record of more than 300,000 characters") as error:
        list(raised(parts(path)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(str(error.value)) < 400
    assert peak < 5_000_000  # of 20 MB


def raised(found):
    for part in found:
        if part.error is not None:
            raise part.error
        yield part


def test_a_record_may_be_large(save):
    path = save(b'[{"title": "', b"x" * 30_000_000, b'"}, 1]')
    assert [part.value for part in parts(path)][1] == 1


def test_very_many_members_are_refused(save):
    path = save(b'{"a": 1', b', "b": 1' * (json_stream.MOST_MEMBERS + 1), b"}")
    with pytest.raises(DataError, match="line 1 begins an object of more than 10,000 members"):
        parts(path)


def test_blanks_are_skipped_in_no_time(save):
    path = save(b"[1,", *[b" \n\t\r" * 250_000] * 50, b"2]")  # 50 MB
    started = time.perf_counter()
    assert [(part.value, part.line) for part in parts(path)] == [(1, 1), (2, 12_500_001)]
    assert time.perf_counter() - started < 5


@pytest.mark.parametrize("text", ['[1,\n{"id": %s}]', '{"data": [\n{"answer_start": -%s}]}', '{"a": 1}\n{"id": %s}'])
def test_a_number_of_too_many_digits_is_an_error_of_the_data(save, text):
    path = save((text % ("1" * 5000)).encode())
    with pytest.raises(DataError, match=r"data\.gz: line 2 holds a number of too many digits"):
        list(raised(parts(path)))


@pytest.mark.parametrize("bracket", [b"[", b'{"a":'])
@pytest.mark.parametrize("start", [b'{"data": [{"a": ', b"[", b'{"a": 1}\n{"b": '])
def test_too_deep_a_document_is_an_error_of_the_data(save, start, bracket):
    with pytest.raises(DataError, match="nested too deeply"):
        list(raised(parts(save(start, bracket * 100_000))))
