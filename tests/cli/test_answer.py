import io
import json
import logging
from types import SimpleNamespace

import pytest

from blockskim.cli.sentences import sentence_around
from tiny_answerers import TEXT

QUESTION = "Where is the nest?"


def test_json_has_the_shape_of_the_contract(call, model, document):
    code, out, err = call("answer", "-q", QUESTION, "-q", "Who?", "-f", document, "-k", 3, "--model", model, "--json")
    assert (code, err) == (0, "")
    results = json.loads(out)
    assert [result["question"] for result in results] == [QUESTION, "Who?"]
    for result in results:
        assert set(result) == {"question", "answers", "skim"}
        assert len(result["answers"]) == 3
        for answer in result["answers"]:
            assert set(answer) == {"answer", "score", "start", "end", "document"}
            assert TEXT[answer["start"] : answer["end"]] == answer["answer"]
            assert answer["document"] == document
            assert 0 <= answer["score"] <= 1
        skim = result["skim"]
        assert set(skim) == {"blocks", "kept_by_layer", "flops", "dense_flops", "seconds"}
        assert len(skim["kept_by_layer"]) == 3
        assert skim["flops"] < skim["dense_flops"]
        assert skim["seconds"] > 0


def test_people_see_the_answer_in_its_sentence(call, model, document):
    code, out, err = call("answer", "-q", QUESTION, "-f", document, "--model", model)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == QUESTION
    assert document in lines[1] and "  score 0." in lines[1]
    assert "**" in lines[2]
    assert lines[2].replace("**", "").strip() in " ".join(TEXT.split())
    assert "blocks" in lines[3] and lines[3].endswith(" s")


def test_a_text_of_an_option_has_no_document(call, model):
    _, out, _ = call("answer", "-q", QUESTION, "-c", TEXT, "--model", model, "--json")
    assert json.loads(out)[0]["answers"][0]["document"] is None


def test_standard_input(call, model, monkeypatch):
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(TEXT.encode())))
    _, out, _ = call("answer", "-q", QUESTION, "-", "--model", model, "--json")
    answer = json.loads(out)[0]["answers"][0]
    assert answer["document"] == "-"
    assert TEXT[answer["start"] : answer["end"]] == answer["answer"]


def test_files_need_no_option(call, model, document, tmp_path):
    other = tmp_path / "other.txt"
    other.write_text("The kite nests in Wales.")
    usual = ("answer", "-q", QUESTION, "--model", model, "--json")
    by_option, bare = call(*usual, "-f", document, other)[1], call(*usual, document, other)[1]
    assert json.loads(bare)[0]["answers"] == json.loads(by_option)[0]["answers"]
    code, _, err = call(*usual, tmp_path / "nowhere.txt")
    assert code == 1 and "nowhere.txt: no such file" in err


def test_several_files_behind_one_option(call, model, tmp_path):
    texts = {"a.txt": "The kite nests in Wales.", "b.txt": "\ufeffIt eats\r\nworms.\r\n", "c.txt": TEXT}
    for name, text in texts.items():
        (tmp_path / name).write_bytes(text.encode())
    files = [tmp_path / name for name in texts]
    code, out, _ = call("answer", "-q", "Who?", "-f", *files, "-k", 9, "--model", model, "--json")
    assert code == 0
    answers = json.loads(out)[0]["answers"]
    assert len(answers) == 9
    for answer in answers:
        text = next(text for name, text in texts.items() if answer["document"].endswith(name)).removeprefix("\ufeff")
        assert text[answer["start"] : answer["end"]] == answer["answer"]


def test_dense_reads_everything(call, model, document):
    _, out, _ = call("answer", "-q", QUESTION, "-f", document, "--model", model, "--dense", "--json")
    skim = json.loads(out)[0]["skim"]
    assert skim["flops"] == skim["dense_flops"]
    assert skim["kept_by_layer"] == [1.0] * 3
    _, out, _ = call("answer", "-q", QUESTION, "-f", document, "--model", model, "--dense")
    assert "read all of" in out


def test_a_plain_checkpoint_answers(call, plain, document):
    code, out, _ = call("answer", "-q", QUESTION, "-f", document, "--model", plain, "--json")
    assert code == 0
    assert json.loads(out)[0]["answers"][0]["answer"]
    code, _, err = call("answer", "-q", QUESTION, "-f", document, "--model", plain, "--threshold", 0.5)
    assert code == 2
    assert "needs a Block-Skim model" in err


def test_a_page_explains(call, model, document, tmp_path):
    page = tmp_path / "page.html"
    code, out, _ = call(
        "answer", "-q", "Who <b>?", "-q", QUESTION, "-f", document, "--model", model, "--explain", page, "--json"
    )
    assert code == 0
    json.loads(out)
    text = page.read_text(encoding="utf-8")
    assert "Who &lt;b&gt;?" in text
    assert text.count("<section>") == 2
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".tmp" or path.name.startswith(".")] == []


def test_what_steers_a_terminal_is_not_printed(call, model, tmp_path):
    path = tmp_path / "evil.txt"
    path.write_text("\x1b[31mred\x1b]0;title\x07 [bold]kite[/bold] \x9b2J nests in Wales")
    _, out, _ = call("answer", "-q", "Who \x1b[1m?", "-f", path, "-k", 5, "--model", model)
    assert not any(character in out for character in "\x1b\x07\x9b")


def test_a_cut_question_warns_unless_quiet(call, model, document):
    arguments = ("answer", "-q", "who " * 80, "-f", document, "--model", model, "--json")
    code, out, err = call(*arguments)
    assert code == 0
    json.loads(out)
    assert err == "warning: the question is longer than 64 tokens; the rest of it is not read\n"
    assert call(*arguments, "--quiet")[2] == ""
    assert logging.getLogger("blockskim").level == logging.ERROR


def written(name, content):
    def make(folder):
        (folder / name).write_bytes(content)
        return ["-f", folder / name]

    return make


BAD_TEXTS = {
    "missing": (lambda folder: ["-f", folder / "nowhere.txt"], "nowhere.txt: no such file"),
    "directory": (lambda folder: ["-f", folder], "is a directory"),
    "empty": (written("empty.txt", b""), "empty.txt: nothing but white space"),
    "blank": (written("blank.txt", b" \n "), "blank.txt: nothing but white space"),
    "binary": (written("binary.bin", b"\x89PNG\x00\x01"), "binary.bin: is a binary file"),
    "latin-1": (
        written("old.txt", "café in Wales".encode("latin-1")),
        "old.txt: is not UTF-8 text (byte 0xe9 at offset 3)",
    ),
}


@pytest.mark.parametrize(("make", "message"), BAD_TEXTS.values(), ids=BAD_TEXTS)
def test_texts_that_can_not_be_read_are_a_line_each(call, model, tmp_path, make, message):
    code, out, err = call("answer", "-q", "Who?", *make(tmp_path), "--model", model, "--json")
    assert (code, out) == (1, "")
    assert message in err
    assert err.startswith("error: ") and err.count("\n") == 1


def test_a_text_with_nothing_to_read_has_no_answer(call, model, tmp_path):
    path = tmp_path / "marks.txt"
    path.write_text("\u200e", encoding="utf-8")
    code, out, err = call("answer", "-q", "Who?", "-f", path, "--model", model, "--json")
    assert code == 0
    assert json.loads(out)[0]["answers"] == []
    assert "marks.txt' has no character that the model can read" in err


@pytest.mark.parametrize("name", ["./nowhere", "someone/nothing", __file__])
def test_models_that_can_not_be_loaded_are_a_line_each(call, document, name):
    code, out, err = call("answer", "-q", "Who?", "-f", document, "--model", name)
    assert (code, out) == (1, "")
    assert err.startswith("error: ") and err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-c", "text"], "Missing option"),
        (["-q", " ", "-c", "text"], "the question is empty"),
        (["-q", "Who?", "-c", " "], "the text is empty"),
        (["-q", "Who?"], "there is nothing to read"),
        (["-q", "Who?", "-c", "text", "-"], "by -c or in files, not by both"),
        (["-q", "Who?", "-c", "text", "text.txt"], "by -c or in files, not by both"),
        (["-q", "Who?", "-c", "text", "--threshold", "1.5"], "--threshold"),
        (["-q", "Who?", "-c", "text", "--threshold", "nan"], "--threshold"),
        (["-q", "Who?", "-c", "text", "--threshold", "0.5", "--dense"], "--threshold"),
        (["-q", "Who?", "-c", "text", "--top-k", "0"], "--top-k"),
        (["-q", "Who?", "-c", "text", "--device", "abacus"], "--device"),
        (["-q", "Who?", "-c", "text", "--threads", "0"], "--threads"),
        (["-q", "Who?", "-c", "text", "--explain", "/nowhere/page.html"], "there is no directory /nowhere"),
        (["-q", "Who?", "-c", "text", "--explain", "."], "is a directory"),
    ],
)
def test_impossible_options_exit_with_2(call, arguments, message):
    code, out, err = call("answer", *arguments)
    assert (code, out) == (2, "")
    assert message in err


def test_windows_that_the_model_can_not_read(call, model):
    code, _, err = call("answer", "-q", "Who?", "-c", "text", "--model", model, "--max-length", 1000)
    assert code == 2
    assert err == "error: windows of 1000 tokens are too long: the model reads at most 200\n"


@pytest.mark.parametrize(
    ("text", "answer", "sentence"),
    [
        ("One. Two is here. Three.", "is", "Two is here."),
        ("No end at all", "end", "No end at all"),
        ("A heading\n\nBelow it, text", "it", "Below it, text"),
        ('He said "no." Then left.', "left", "Then left."),
        ("这是一。那是二。", "那", "那是二。"),
    ],
)
def test_sentences(text, answer, sentence):
    start = text.index(answer)
    left, right = sentence_around(text, start, start + len(answer))
    assert (left + answer + right).strip() == sentence


def test_long_sentences_are_cut_at_words():
    text = "word " * 500
    left, right = sentence_around(text, 1000, 1004)
    assert left.startswith("… word") and right.endswith("word …")
    assert len(left) + len(right) < 400


def test_answers_at_an_operating_point(call, pointed, document):
    common = ("answer", "-q", "Where is the nest?", "-f", document, "--model", pointed, "--json")
    flops = [json.loads(call(*common, "--point", name)[1])[0]["skim"]["flops"] for name in ("exact", "fast")]
    assert flops[1] < flops[0]
    for wrong in (("--point", "slow"), ("--point", "fast", "--dense"), ("--point", "fast", "--threshold", 0.1)):
        assert call(*common, *wrong)[0] == 2


def test_no_answer_is_said_where_it_is_likely_and_allowed(call, confident, document):
    usual = ("answer", "-q", QUESTION, "-f", document, "--model", confident)
    [found] = json.loads(call(*usual, "--json")[1])[0]["answers"]
    assert found["answer"] != ""
    assert 0 <= found["confidence"] <= 1
    [none] = json.loads(call(*usual, "--no-answer", "--json")[1])[0]["answers"]
    assert (none["answer"], none["start"], none["end"], none["document"]) == ("", 0, 0, None)
    assert none["confidence"] > 0.9
    [again] = json.loads(call(*usual, "--no-answer-threshold", 1, "--json")[1])[0]["answers"]
    assert again == found
    code, out, err = call(*usual, "--no-answer", "--explain", f"{document}.html")
    assert (code, err) == (0, "")
    assert out.splitlines()[1] == f"  no answer  confidence {none['confidence']:.2f}"


def test_people_see_the_confidence_of_an_answer(call, confident, document):
    usual = ("answer", "-q", QUESTION, "-f", document, "--model", confident)
    [found] = json.loads(call(*usual, "--json")[1])[0]["answers"]
    assert f"  confidence {found['confidence']:.2f}  " in call(*usual)[1].splitlines()[1]


@pytest.mark.parametrize("value", ["-0.1", "1.1", "much"])
def test_impossible_thresholds_for_no_answer(call, model, document, value):
    code, out, err = call("answer", "-q", "Who?", "-f", document, "--model", model, "--no-answer-threshold", value)
    assert (code, out) == (2, "")
    assert "--no-answer-threshold" in err


def test_a_long_sentence_without_blanks_is_cut_at_characters():
    text = "彼は山の中で鳥を見た" * 60
    left, right = sentence_around(text, 300, 303)
    assert left.removeprefix("… ") and text[:300].endswith(left.removeprefix("… "))
    assert right.removesuffix(" …") and text[303:].startswith(right.removesuffix(" …"))


def test_a_blank_file_among_others_is_told_and_passed_over(call, model, tmp_path):
    """A folder may hold one; the others are read."""
    (tmp_path / "a.md").write_bytes(b"")
    (tmp_path / "b.md").write_text("The kite nests in Wales.")
    arguments = ["answer", "-q", "Where?", "--model", model, "--json", "-f", tmp_path / "a.md"]
    code, out, err = call(*arguments, tmp_path / "b.md")
    assert code == 0
    assert {answer["document"] for answer in json.loads(out)[0]["answers"]} == {str(tmp_path / "b.md")}
    assert "a.md" in err and "is empty" in err
    (tmp_path / "b.md").write_text("\n")
    code, out, err = call(*arguments, tmp_path / "b.md")
    assert (code, out) == (1, "")
    assert "all 2 files: nothing but white space" in err


def test_a_byte_order_mark_is_no_character_of_a_text(call, model, tmp_path):
    path = tmp_path / "marked.txt"
    path.write_text("Wales is where the kite nests.", encoding="utf-8-sig")
    code, out, _ = call("answer", "-q", "Where?", "-f", path, "--model", model, "--json")
    answer = json.loads(out)[0]["answers"][0]
    assert code == 0
    assert "Wales is where the kite nests."[answer["start"] : answer["end"]] == answer["answer"]
