"""What a directory says of itself is read back as it was written, or refused on one line."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoConfig

from blockskim.data.tokens import PairTemplate
from blockskim.encoders import config_names
from blockskim.errors import ModelError
from blockskim.exporting.manifest import (
    FILE,
    FORMAT,
    LinearCost,
    Manifest,
    WeightFile,
    encoder_settings,
    is_exported,
    read_manifest,
    same_model,
    write_manifest,
)
from blockskim.exporting.onnx_export import exportable_families
from blockskim.method.cost import LayerCost, ModelCost, PredictorCost

MANIFEST = Manifest(
    digests={"model.onnx": "12ab", "tokenizer.json": "34cd"},
    weights={"model.safetensors": WeightFile(1234, "56ef")},
    num_layers=3,
    skim_layers=(1, 2),
    trained_predictors=True,
    position_limit=512,
    token_types=True,
    vocabulary=126,
    template=PairTemplate((2,), (3,), (3,), (0, 1), 0),
    split_special_tokens=False,
    cost=ModelCost((LayerCost(20, 4, 30), LayerCost(21, 5, 31), LayerCost(22, 6, 32, 7)), 5, 2),
    predictor_costs=(LinearCost((1, 2), (3, 4)), LinearCost((5, 6), (7, 8))),
    block_size=16,
    alignment="context",
    inputs=("match", "tiles"),
    predictor_width=64,
    encoder={
        "model_type": "bert",
        "hidden_size": 32,
        "bos_token_id": -1,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-12,
    },
    embeddings="encoder.embeddings.weight",
)
FIELDS = [field.name for field in dataclasses.fields(Manifest)]


@pytest.fixture
def directory(tmp_path):
    write_manifest(tmp_path, MANIFEST)
    return tmp_path


def change(directory, **values):
    path = directory / FILE
    stored = json.loads(path.read_text()) | values
    path.write_text(json.dumps({name: value for name, value in stored.items() if value is not ...}))


def refused(directory, *messages):
    with pytest.raises(ModelError) as caught:
        read_manifest(directory)
    for message in (str(directory / FILE), *messages):
        assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400 + len(str(directory))


@pytest.mark.parametrize(
    "manifest",
    [
        MANIFEST,
        dataclasses.replace(
            MANIFEST,
            position_limit=None,
            template=PairTemplate((), (), (), None, 1),
            skim_layers=(),
            predictor_costs=(),
        ),
    ],
)
def test_it_is_read_as_it_was_written(tmp_path, manifest):
    assert not is_exported(tmp_path)
    write_manifest(tmp_path, manifest)
    assert is_exported(tmp_path)
    assert read_manifest(tmp_path) == manifest


@pytest.mark.parametrize("name", [*FIELDS, "checksum"])
def test_a_missing_field(directory, name):
    change(directory, **{name: ...})
    refused(directory, f"lacks {name!r}", "export the model again")


WRONG = [None, True, "text", 1.5, -1, [], {}, [None], {"": None}, [["a"]], 10**30]


@pytest.mark.parametrize("value", WRONG, ids=repr)
@pytest.mark.parametrize("name", [*FIELDS, "checksum"])
def test_a_field_of_another_kind(directory, name, value):
    if json.loads((directory / FILE).read_text())[name] == value:
        pytest.skip("it is this one")
    change(directory, **{name: value})
    refused(directory)


OTHERS = {
    "digests": {"model.onnx": "12ab", "tokenizer.json": "34ce"},
    "weights": {"model.safetensors": {"num_bytes": 1235, "fingerprint": "56ef"}},
    "num_layers": 4,
    "skim_layers": [1, 3],
    "trained_predictors": False,
    "position_limit": None,
    "token_types": False,
    "vocabulary": 125,
    "template": {"before": [2], "between": [3, 3], "after": [3], "types": [0, 1], "pad_id": 0},
    "split_special_tokens": True,
    "cost": {"layers": [{"before": 1, "pair": 1, "after": 1, "fixed": 0}] * 3, "embedding": 5, "head": 2},
    "predictor_costs": [{"block": [1, 2], "sample": [3, 4]}] * 2,
    "block_size": 8,
    "alignment": "sequence",
    "inputs": ["match"],
    "predictor_width": 65,
    "encoder": {"model_type": "bert", "hidden_size": 33, "bos_token_id": -1},
    "embeddings": "encoder.word_embeddings.weight",
    "int8_settings": {"thresholds": 0.5, "points": {"fast": [0.5, 0.6]}},
    "checksum": "0" * 64,
}


@pytest.mark.parametrize("name", [*FIELDS, "checksum"])
def test_another_value_is_noticed(directory, name):
    change(directory, **{name: OTHERS[name]})
    refused(directory, "is damaged, or something in it was changed")


def test_a_field_more_is_noticed(directory):
    change(directory, more=1)
    refused(directory, "is damaged, or something in it was changed")


@given(st.data())
def test_any_changed_byte_is_noticed_or_does_not_matter(tmp_path_factory, data):
    directory = tmp_path_factory.mktemp("manifest")
    write_manifest(directory, MANIFEST)
    content = bytearray((directory / FILE).read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    (directory / FILE).write_bytes(content)
    try:
        # White space is no matter.
        assert read_manifest(directory) == MANIFEST
    except ModelError as error:
        assert str(directory / FILE) in str(error)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b"1", b"\xff\xfe", b"[" * 100_000, b'"text"'],
    ids=lambda value: str(value[:8]),
)
def test_no_manifest_at_all(directory, content):
    (directory / FILE).write_bytes(content)
    refused(directory)


@pytest.mark.parametrize("value", [FORMAT + 1, FORMAT - 1, str(FORMAT), None, ...])
def test_another_version(directory, value):
    change(directory, format=value)
    shown = None if value is ... else value
    refused(directory, f"is of format {shown!r}, and this version of blockskim reads {FORMAT}")


def test_a_directory_without_one(tmp_path):
    with pytest.raises(ModelError, match=f"holds no exported model: it has no {FILE}; make one with blockskim export"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("name", ["../other", "/etc/passwd", "a/b", "", "..", "."])
@pytest.mark.parametrize("field", ["digests", "weights"])
def test_files_lie_in_the_directory(directory, field, name):
    entry = MANIFEST.digests["model.onnx"] if field == "digests" else {"num_bytes": 1, "fingerprint": "a"}
    change(directory, **{field: {name: entry}})
    refused(directory, f"{field} is", "is no name of a file in the directory")


def test_costs_grow_with_the_question():
    cost = LinearCost((10, 3), (1, 2))
    assert cost.of(0) == PredictorCost(10, 1)
    assert cost.of(7) == PredictorCost(31, 15)


def test_what_tells_encoders_apart():
    kept = {"model_type": "bert", "hidden_size": 32, "hidden_act": "gelu", "layer_norm_eps": 1e-12}
    assert encoder_settings(kept | {"use_cache": True, "hidden_dropout_prob": 0.1, "dtype": "float32"}) == kept


def test_what_every_family_computes_with_is_among_it():
    computing = {*config_names.ACTIVATIONS, *config_names.EPSILONS} - {"classifier_activation", "summary_activation"}
    for family in exportable_families():
        config = AutoConfig.for_model(family).to_dict()
        assert computing & set(config) <= set(encoder_settings(config))


@pytest.mark.parametrize("value", [float("inf"), float("nan"), None, True, []])
def test_settings_of_encoders_are_finite_numbers_and_text(directory, value):
    change(directory, encoder={"layer_norm_eps": value})
    refused(directory, "encoder is")


@pytest.mark.parametrize("name", FIELDS)
def test_graphs_are_of_the_same_model_where_what_they_depend_on_is_the_same(name):
    graph = ("weights", "num_layers", "skim_layers", "trained_predictors", "token_types", "encoder")
    predictors = ("block_size", "alignment", "inputs", "predictor_width")
    other = dataclasses.replace(MANIFEST, **{name: OTHERS[name]})
    assert same_model(MANIFEST, other) is (name not in graph + predictors)


def test_settings_that_an_earlier_manifest_does_not_name_are_not_compared():
    bare = {"model_type": "bert", "hidden_size": 32}
    for encoder, same in ((bare, True), (bare | {"hidden_size": 33}, False), (bare | {"hidden_act": "relu"}, False)):
        assert same_model(dataclasses.replace(MANIFEST, encoder=encoder), MANIFEST) is same
