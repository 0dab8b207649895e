"""Code that a model directory brings along is never run, and nobody is asked whether to."""

import json

import pytest

from blockskim.errors import ModelError
from blockskim.inference.loading import load, load_tokenizer
from blockskim.model.modeling import BlockSkimForQuestionAnswering
from tiny_answerers import save_plain


@pytest.fixture
def directory(tmp_path, monkeypatch):
    """A checkpoint with a module that tells when it is run, and a person who agrees to anything."""
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("someone was asked"))
    directory = save_plain(tmp_path / "model")
    (directory / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nraise SystemExit")
    yield directory
    assert not (tmp_path / "ran").exists()


def change(directory, file, **values):
    path = directory / file
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_a_model_of_its_own_kind_is_refused(directory):
    change(
        directory,
        "config.json",
        model_type="own",
        auto_map={"AutoConfig": "own.Config", "AutoModelForQuestionAnswering": "own.Model"},
    )
    for make in (load, BlockSkimForQuestionAnswering.from_backbone, BlockSkimForQuestionAnswering.from_pretrained):
        with pytest.raises(
            ModelError, match=r"config\.json calls for code of its own \(auto_map\), which is never run"
        ):
            make(directory)


def test_a_known_model_is_read_without_the_code_that_lies_beside_it(directory):
    change(
        directory, "config.json", auto_map={"AutoConfig": "own.Config", "AutoModelForQuestionAnswering": "own.Model"}
    )
    change(directory, "tokenizer_config.json", auto_map={"AutoTokenizer": ["own.Slow", "own.Fast"]})
    assert load(directory, "cpu").model.config.encoder_config.model_type == "bert"
    BlockSkimForQuestionAnswering.from_backbone(directory, trust_remote_code=True)


def test_a_tokenizer_of_its_own_kind_is_read_without_its_code(directory):
    change(
        directory,
        "tokenizer_config.json",
        tokenizer_class="OwnTokenizer",
        auto_map={"AutoTokenizer": ["own.Slow", "own.Fast"]},
    )
    assert load_tokenizer(directory).is_fast
