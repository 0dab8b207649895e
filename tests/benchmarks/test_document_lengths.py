"""``benchmarks/document_lengths.py``: the documents that it makes, and what it measures of them."""

import pytest


@pytest.fixture
def lengths(script):
    return script("document_lengths")


@pytest.mark.parametrize("words", [40, 200, 1000, 5000])
def test_a_document_has_about_so_many_words_and_the_answer_once(lengths, words):
    text = "One two three four five. " * 60
    document = lengths.long_document(text, words)
    assert document.count(lengths.NEEDLE) == 1
    assert abs(len(document.split()) - words) <= 0.5 * len(text.split()) + 20
    parts = [part for part in document.split("\n\n") if part.startswith("Part")]
    assert len(set(parts)) == len(parts)


def test_reading_by_passages_finds_the_answer_and_reads_less(lengths):
    document = lengths.long_document(lengths.TEXT.read_text(encoding="utf-8"), 3000)
    by_passages = lengths.measure(document, "passages", None, 1)
    dense = lengths.measure(document, "dense", None, 1)
    assert by_passages["found"]
    assert by_passages["gflops"] < 0.5 * by_passages["dense_gflops"]
    assert dense["gflops"] == dense["dense_gflops"] == by_passages["dense_gflops"]
    assert by_passages["windows"] < dense["windows"]
    assert len(lengths.table([by_passages, dense]).splitlines()) == 4
