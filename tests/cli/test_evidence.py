"""``highlight``, ``prune`` and ``rank``: what they print, for programs and for people."""

import html
import io
import json
import os
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from tiny_answerers import TEXT

QUESTION = "Where is the nest?"
OTHER = "A man sat in Cardiff. He counted kites.\r\n\r\n東京は赤い。Nothing else."


@pytest.fixture
def other(tmp_path):
    path = tmp_path / "other.txt"
    path.write_bytes(OTHER.encode())
    return str(path)


def test_highlights_as_json(call, model, document, other):
    arguments = ("-q", QUESTION, "-q", "Who?", "-f", document, other, "-k", 3, "--model", model, "--json")
    code, out, err = call("highlight", *arguments)
    assert (code, err) == (0, "")
    results = json.loads(out)
    assert [result["question"] for result in results] == [QUESTION, "Who?"]
    texts = {document: TEXT, other: OTHER}
    for result in results:
        assert set(result) == {"question", "sentences", "kept", "skim"}
        assert len(result["sentences"]) == 3
        for sentence in result["sentences"]:
            assert set(sentence) == {"document", "text", "start", "end", "score", "role", "answer"}
            text = texts[sentence["document"]]
            assert text[sentence["start"] : sentence["end"]] == sentence["text"] != ""
            if sentence["answer"] is not None:
                assert set(sentence["answer"]) == {"text", "start", "end", "confidence"}
                assert text[sentence["answer"]["start"] : sentence["answer"]["end"]] == sentence["answer"]["text"]
        sizes = sum(len(sentence["text"]) for sentence in result["sentences"])
        assert result["kept"] == pytest.approx(sizes / (len(TEXT) + len(OTHER)))
        assert result["skim"]["flops"] > 0


def test_highlights_for_people(call, model, document, other, tmp_path):
    page = tmp_path / "page.html"
    arguments = ("highlight", "-q", QUESTION, document, "-f", other, "--model", model, "--budget", "40%")
    code, out, err = call(*arguments, "--in-order", "--context", 1, "--explain", page)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == QUESTION
    shown = {line.replace("**", "").strip() for line in lines[2::2]}
    for text in (TEXT, OTHER):
        shown -= {line for line in shown if line in " ".join(text.split())}
    assert shown == set() or all(line.startswith("kept") for line in shown)
    assert lines[-1].startswith("  kept ") and lines[-1].endswith(f" of {len(TEXT) + len(OTHER)} characters")
    content = page.read_text(encoding="utf-8")
    assert '<mark title="evidence 1">' in content
    assert "<mark>evidence</mark>" in content
    assert call(*arguments[:-2], "--threshold", 1)[1].splitlines()[1] == "  nothing found"


def test_what_is_kept_beside_evidence_is_called_so(call, model, document, other, tmp_path):
    """And the evidence of several files has one ranking, in print and on the page."""
    page = tmp_path / "page.html"
    arguments = ("highlight", "-q", QUESTION, document, other, "--model", model, "-k", 5, "--context", 1)
    (result,) = json.loads(call(*arguments, "--json", "--explain", page)[1])
    evidence = [each for each in result["sentences"] if each["role"] == "evidence"]
    assert {each["document"] for each in evidence} == {document, other} and len(evidence) == 5
    lines = [line for line in call(*arguments)[1].splitlines() if document in line or other in line]
    roles = [each["role"] for each in result["sentences"]]
    assert ["context" if line.endswith("  (context)") else "evidence" for line in lines] == roles
    content = page.read_text(encoding="utf-8")
    listed = re.findall(r'<li value="(\d)"><b>(.*?)</b>', content)
    ranks = {
        name: [str(rank) for rank, one in enumerate(evidence, 1) if one["document"] == name]
        for name in (document, other)
    }
    assert [rank for rank, _ in listed] == ranks[document] + ranks[other]
    assert {html.unescape(text) for _, text in listed} == {each["text"] for each in evidence}
    assert content.count('title="context"') >= roles.count("context") > 0


def test_pruned_texts_as_json(call, model, document, other):
    arguments = ("-q", QUESTION, "-f", document, "-f", other, "--budget", "100 characters", "--model", model, "--json")
    code, out, err = call("prune", *arguments, "--gap", "~", "--keep-titles")
    assert (code, err) == (0, "")
    (result,) = json.loads(out)
    assert set(result) == {"question", "documents", "kept", "pieces", "skim"}
    assert 0 < sum(map(len, result["documents"].values())) <= 100
    for name, text in result["documents"].items():
        original = {document: TEXT, other: OTHER}[name]
        for start, end, place in result["pieces"][name]:
            assert original[place : place + end - start] == text[start:end]


def test_pruned_texts_for_people(call, model, document, other):
    code, out, err = call("prune", "-q", QUESTION, "-f", document, "-k", 1, "--model", model)
    assert code == 0
    assert out.strip() in " ".join(TEXT.split())
    assert err.startswith("kept ")
    code, out, err = call("prune", "-q", QUESTION, "-q", "Who?", document, other, "-k", 4, "--model", model, "--quiet")
    assert (code, err) == (0, "")
    assert f"# {QUESTION}\n" in out and "# Who?\n" in out
    assert f"{document}:\n" in out


def test_a_pruned_text_is_printed_as_it_stands(call, model, tmp_path, monkeypatch):
    """Code and lists keep their blanks; on a terminal, what would steer that goes."""
    text = "def fee(order):\n    if order:\n\treturn  3\n\n- one\n    - two \u2003 three\n"
    path = tmp_path / "code.txt"
    for ends in ("\n", "\r\n"):
        path.write_bytes(text.replace("\n", ends).encode() + b"\fred \x1b[31m")
        arguments = ("prune", "-q", "What is the fee?", "-f", path, "--budget", "100%", "--model", model, "--quiet")
        assert call(*arguments)[1] == f"{text.replace(chr(10), ends)}\fred \x1b[31m\n"
        with monkeypatch.context() as patch:
            patch.setattr("sys.stdout.isatty", lambda: True, raising=False)
            assert call(*arguments)[1] == f"{text}\nred \ufffd[31m\n"


@pytest.mark.parametrize("command", ["answer", "highlight"])
def test_a_page_does_not_replace_a_text_that_is_read(call, model, document, other, tmp_path, command):
    link = tmp_path / "link.txt"
    link.symlink_to(other)
    for page in (document, other, link):
        code, out, err = call(command, "-q", QUESTION, "-f", document, other, "--model", model, "--explain", page)
        assert (code, out) == (2, "")
        assert "holds a text that is read, which would be lost" in err
    assert (Path(document).read_bytes(), Path(other).read_bytes()) == (TEXT.encode(), OTHER.encode())


def test_a_text_that_is_named_twice_is_read_once(call, model, monkeypatch):
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(TEXT.encode())))
    code, out, _ = call("highlight", "-q", QUESTION, "-f", "-", "-f", "-", "--model", model, "--json")
    assert code == 0
    assert {each["document"] for each in json.loads(out)[0]["sentences"]} == {"-"}


@pytest.mark.parametrize("command", ["answer", "highlight"])
def test_a_page_on_standard_output_is_alone_there(call, model, document, tmp_path, monkeypatch, command):
    standard_output = os.dup(1)
    for more in ((), ("--json",)):
        page = tmp_path / "page.html"
        with page.open("w") as out, monkeypatch.context() as patch:
            patch.setattr("sys.stdout", out)
            os.dup2(out.fileno(), 1)
            try:
                code, _, err = call(command, "-q", QUESTION, document, "--model", model, "--explain", page, *more)
            finally:
                os.dup2(standard_output, 1)
        assert (code, QUESTION in err) == (0, True)
        assert page.read_text(encoding="utf-8").startswith("<!")
    os.close(standard_output)


def test_ranks(call, model, document, other):
    code, out, err = call("rank", "-q", QUESTION, "-f", document, other, "--model", model, "--json")
    assert (code, err) == (0, "")
    (result,) = json.loads(out)
    assert {each["document"] for each in result["documents"]} == {document, other}
    scores = [each["score"] for each in result["documents"]]
    assert scores == sorted(scores, reverse=True)
    code, out, _ = call("rank", "-q", QUESTION, "-q", "Who?", "-f", document, other, "-k", 1, "--model", model)
    first = result["documents"][0]
    assert out.splitlines()[:2] == [QUESTION, f"  {first['score']:.2f}  {first['document']}"]
    assert len(out.splitlines()) == 5


def test_dense_and_points(call, pointed, document):
    usual = ("rank", "-q", QUESTION, "-f", document, "--model", pointed, "--json")
    flops = [json.loads(call(*usual, *way)[1])[0]["skim"]["flops"] for way in (("--dense",), ("--point", "fast"))]
    assert flops[1] < flops[0]


@pytest.mark.parametrize("command", ["highlight", "prune", "rank"])
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("-q", "Who?"), "there is nothing to read"),
        (("-q", " ", "-f", "x"), "the question is empty"),
        (("-q", "Who?", "-f", "x", "--dense", "--point", "fast"), "--dense"),
        (("-f", "x"), "--question"),
    ],
)
def test_impossible_options(call, command, arguments, said):
    code, out, err = call(command, *arguments)
    assert (code, out) == (2, "")
    assert said in err


@pytest.mark.parametrize(
    ("option", "value"),
    [("--budget", "500"), ("--budget", "much"), ("--threshold", 2), ("--top-k", 0), ("--context", -1)],
)
@pytest.mark.parametrize("command", ["highlight", "prune"])
def test_impossible_amounts(call, model, document, command, option, value):
    code, out, err = call(command, "-q", "Who?", "-f", document, "--model", model, option, value)
    assert (code, out) == (2, "")
    assert option.strip("-") in err


def test_missing_files_are_a_line(call):
    code, out, err = call("highlight", "-q", "Who?", "-f", "nowhere.txt")
    assert (code, out) == (1, "")
    assert err.startswith("error: nowhere.txt") and err.count("\n") == 1
