"""Whatever stands in a config.json: the model loads, or one line says which value is wrong."""

import json
import os
import random
import shutil
import time

import pytest

from blockskim.errors import BlockSkimError, ModelError
from blockskim.model.modeling import BlockSkimForQuestionAnswering
from tiny_models import new_dense_model, new_skim_model

EVERYTHING = os.environ.get("HYPOTHESIS_PROFILE") == "search"
FAMILIES = ("bert", "albert", "modernbert", "distilbert", "deberta-v2") if EVERYTHING else ("bert", "modernbert")
WRONG = (None, "x", -1, 0, 1.5, 10**9, 10**30, [], ["x", [1]], {}, {"a": {"b": 1}}, True)
SAMPLE = 45
LONGEST = 400
SLOWEST = 20.0
"""Seconds; a config of a larger model than there are weights for must not be built."""


@pytest.fixture(scope="module", params=[(family, skims) for family in FAMILIES for skims in (True, False)])
def stored(request, tmp_path_factory):
    """Directory of a tiny model, its config, and how it is loaded."""
    family, skims = request.param
    folder = tmp_path_factory.mktemp("stored")
    if skims:
        new_skim_model(family).save_pretrained(folder)
        return folder, json.loads((folder / "config.json").read_text()), BlockSkimForQuestionAnswering.from_pretrained
    new_dense_model(family).save_pretrained(folder)
    return folder, json.loads((folder / "config.json").read_text()), BlockSkimForQuestionAnswering.from_backbone


def fields_of(config, path=()):
    """Paths of all fields, those of inner settings too."""
    for name, value in config.items():
        yield (*path, name)
        if isinstance(value, dict) and len(path) < 2:
            yield from fields_of(value, (*path, name))


def with_value(config, path, value):
    """A copy of a config with one field changed."""
    copied = json.loads(json.dumps(config))
    inner = copied
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    return copied


def refusal(folder, config, load):
    """What loading says; None when it works."""
    (folder / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    try:
        load(folder)
    except BlockSkimError as error:
        return str(error)
    return None


@pytest.mark.slow
def test_every_wrong_value_of_every_field_loads_or_is_told_of_in_a_line(stored):
    folder, config, load = stored
    cases = [(path, value) for path in fields_of(config) for value in WRONG]
    for path, value in cases if EVERYTHING else random.Random(0).sample(cases, SAMPLE):
        began = time.monotonic()
        said = refusal(folder, with_value(config, path, value), load)
        assert said is None or ("\n" not in said and str(folder) in said and len(said) < LONGEST), (path, value, said)
        assert time.monotonic() - began < SLOWEST, (path, value)
    assert refusal(folder, config, load) is None


@pytest.mark.parametrize("value", [10**7, 10**9, 10**30])
def test_sizes_of_another_model_are_refused_before_one_is_built(stored, value):
    folder, config, load = stored
    encoder = config.get("encoder_config", config)
    scope = ("encoder_config",) if "encoder_config" in config else ()
    names = ("vocab_size", "num_hidden_layers", "n_layers", "hidden_dim", "intermediate_size", "type_vocab_size")
    # ModernBERT has neither weights nor buffers of positions.
    names += ("max_position_embeddings",) * (encoder["model_type"] != "modernbert")
    for name in ("num_labels", *(name for name in names if name in encoder)):
        began = time.monotonic()
        said = refusal(folder, with_value(config, (*scope, name), value), load)
        assert said is not None and "config.json" in said and len(said) < LONGEST, (name, said)
        assert time.monotonic() - began < SLOWEST
    if scope:
        assert "config.json" in refusal(folder, with_value(config, ("skim", "inputs"), ["match"]), load)
        assert refusal(folder, with_value(config, ("skim", "block_size"), value), load) is not None


@pytest.mark.parametrize("skims", [True, False])
@pytest.mark.parametrize("value", [10**7, 10**9])
def test_numbers_of_positions_that_nothing_stored_tells_are_refused(skims, value, tmp_path):
    """DeBERTa has no weights of positions, but transformers makes a list of all their numbers."""
    (new_skim_model if skims else new_dense_model)("deberta-v2").save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    path = (*(("encoder_config",) if skims else ()), "max_position_embeddings")
    load = BlockSkimForQuestionAnswering.from_pretrained if skims else BlockSkimForQuestionAnswering.from_backbone
    began = time.monotonic()
    assert "config.json calls for a model of" in refusal(tmp_path, with_value(config, path, value), load)
    assert time.monotonic() - began < SLOWEST


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"layer_norm_eps": NaN}', "config.json can't be read: NaN is no number"),
        ('{"layer_norm_eps": 1e999}', "config.json can't be read: 1e999 is too large"),
        ('{"vocab_size": ' + "9" * 5000 + "}", "config.json can't be read: "),
        ('{"a": ' * 100_000, "config.json can't be read: maximum recursion"),
        ("[" * 100_000, "config.json can't be read: maximum recursion"),
        ("\ufeff{}", "config.json can't be read"),
        ('"text"', "config.json holds 'text'"),
        ('{"model_type": "bert", "layer_norm_eps": -1}', "layer_norm_eps is -1; it must be a small number above 0"),
        (
            '{"model_type": "bert", "hidden_dropout_prob": 5}',
            "hidden_dropout_prob is 5; it must be a number",
        ),
        ('{"model_type": "bert", "quantization_config": {"quant_method": "awq"}}', "quantization_config"),
        ('{"model_type": "bert", "transformers_weights": "other.safetensors.index.json"}', "transformers_weights"),
        ('{"model_type": "' + "x" * 5000 + '"}', "config.json"),
    ],
)
def test_texts_that_are_no_config(stored, text, message):
    folder, _, load = stored
    said = refusal(folder, text, load)
    assert said is not None and message in said and str(folder) in said
    assert "\n" not in said and len(said) < LONGEST + len(str(folder))


def test_bytes_that_are_no_text_and_files_that_are_too_large(stored, tmp_path, monkeypatch):
    folder, config, load = stored
    spoiled = shutil.copytree(folder, tmp_path / "model")
    (spoiled / "config.json").write_bytes(b"\xff\xfe{}")
    with pytest.raises(ModelError, match=r"config\.json can't be read: "):
        load(spoiled)
    monkeypatch.setattr("blockskim.model.stored_config.LARGEST_FILE", 10)
    (spoiled / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=r"config\.json has .* bytes"):
        load(spoiled)
