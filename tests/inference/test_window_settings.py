"""Windows that fit a model."""

import pytest

from blockskim.errors import ConfigError
from blockskim.inference.window_settings import usual_window_settings, window_settings
from tiny_answerers import FAMILY, TEXT, answerer, dense_for, new_model
from tiny_tokenizers import KINDS, fixed_tokenizer

every_kind = pytest.mark.parametrize("kind", KINDS)


@every_kind
def test_windows_fit_the_model(kind):
    model, tokenizer = new_model(kind), fixed_tokenizer(kind)
    limit = model.position_limit
    assert limit == {"bert": 200, "roberta": 198}[FAMILY[kind]]
    assert window_settings(model, tokenizer, limit).max_length == limit
    with pytest.raises(ConfigError, match=f"at most {limit}"):
        window_settings(model, tokenizer, limit + 1)
    # A text that fills such a window runs through.
    answer = answerer(kind)("Who?", TEXT * 3, max_seq_len=limit, dense=True)
    assert answer["answer"]
    assert dense_for(kind).config.max_position_embeddings == 200


@pytest.mark.parametrize("length", [8, 40, 100, 198])
def test_short_windows_need_no_other_settings(length):
    model, tokenizer = new_model(), fixed_tokenizer("wordpiece")
    settings = window_settings(model, tokenizer, length)
    settings.check(3)
    assert settings.max_length == length
    assert settings.max_question_length <= 64
    assert settings.doc_stride <= 128


def test_usual_windows_are_as_long_as_the_model_reads_at_most():
    model, tokenizer = new_model(), fixed_tokenizer("wordpiece")
    assert usual_window_settings(model, tokenizer) == window_settings(model, tokenizer, 200)
    del model.encoder.embeddings.position_embeddings
    assert usual_window_settings(model, tokenizer) == window_settings(model, tokenizer, 384)


@pytest.mark.parametrize("name", ["max_length", "doc_stride", "max_question_length"])
@pytest.mark.parametrize("value", [-1, 0.5, True, "8"])
def test_sizes_are_whole_numbers(name, value):
    with pytest.raises(ConfigError, match=f"{name} is {value!r}; it must be a whole number of at least"):
        window_settings(new_model(), fixed_tokenizer("wordpiece"), **{name: value})


def test_positions_without_an_end_set_no_limit():
    model = new_model()
    del model.encoder.embeddings.position_embeddings
    assert model.position_limit is None
    assert window_settings(model, fixed_tokenizer("wordpiece"), 5000).max_length == 5000
