"""``benchmarks/base_size/bert_vocabulary.py``: an MPNet that reads BERT's tokens, word for word the same."""

import json
import sys
from pathlib import Path

import pytest
import torch
from transformers import MPNetConfig, MPNetModel

FOLDER = Path(__file__).parents[2] / "benchmarks" / "base_size"
BERT = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "red", "tower"]
MPNET = ["<s>", "<pad>", "</s>", "<unk>", "[UNK]", "tower", "red", "<mask>"]


@pytest.fixture
def vocabulary(script, monkeypatch):
    """The script, with a function that runs it on two folders."""
    monkeypatch.syspath_prepend(str(FOLDER))
    module = script("bert_vocabulary")

    def run(encoder, tokenizer, output):
        given = ["--encoder", encoder, "--tokenizer", tokenizer, "--output", output]
        monkeypatch.setattr(sys, "argv", ["bert_vocabulary.py", *map(str, given)])
        module.main()

    return run


def write_tokenizer(folder, words):
    folder.mkdir(exist_ok=True)
    content = {"model": {"vocab": {word: number for number, word in enumerate(words)}}}
    (folder / "tokenizer.json").write_text(json.dumps(content))
    (folder / "tokenizer_config.json").write_text("{}")
    return folder


@pytest.fixture
def encoder(tmp_path):
    config = MPNetConfig(
        vocab_size=len(MPNET), hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
    )
    MPNetModel(config).eval().save_pretrained(tmp_path / "encoder")
    return write_tokenizer(tmp_path / "encoder", MPNET)


def test_the_same_words_give_the_same_states(vocabulary, encoder, tmp_path):
    tokenizer = write_tokenizer(tmp_path / "tokenizer", BERT)
    vocabulary(encoder, tokenizer, tmp_path / "made")
    before, after = (MPNetModel.from_pretrained(folder).eval() for folder in (encoder, tmp_path / "made"))
    places = torch.arange(2, 6)[None]
    with torch.no_grad():
        wanted = before(torch.tensor([[0, 6, 5, 2]]), position_ids=places).last_hidden_state
        found = after(torch.tensor([[2, 5, 6, 3]]), position_ids=places).last_hidden_state
    assert torch.equal(wanted, found)
    assert (tmp_path / "made" / "tokenizer.json").read_bytes() == (tokenizer / "tokenizer.json").read_bytes()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([*BERT, "zebra"], "no tokens zebra; it must be an MPNet"),
        (["[PAD]", "[CLS]", "[SEP]", "red"], "has no [MASK]; it must have BERT's tokenizer"),
        ([], "has no "),
    ],
)
def test_what_does_not_fit_is_told_in_a_line(vocabulary, encoder, tmp_path, capsys, words, message):
    tokenizer = write_tokenizer(tmp_path / "tokenizer", words)
    with pytest.raises(SystemExit):
        vocabulary(encoder, tokenizer, tmp_path / "made")
    assert message in capsys.readouterr().err
    assert not (tmp_path / "made").exists()


def test_a_file_that_is_no_tokenizer_is_named(vocabulary, encoder, tmp_path, capsys):
    tokenizer = write_tokenizer(tmp_path / "tokenizer", BERT)
    (tokenizer / "tokenizer.json").write_bytes(b"\x89PNG")
    with pytest.raises(SystemExit):
        vocabulary(encoder, tokenizer, tmp_path / "made")
    assert f"{tokenizer / 'tokenizer.json'} holds no vocabulary" in capsys.readouterr().err


def test_a_folder_that_is_there_is_left_alone(vocabulary, encoder, tmp_path, capsys):
    tokenizer = write_tokenizer(tmp_path / "tokenizer", BERT)
    with pytest.raises(SystemExit):
        vocabulary(encoder, tokenizer, tokenizer)
    assert "exists already" in capsys.readouterr().err
