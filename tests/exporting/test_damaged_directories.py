"""Whatever is wrong with an exported directory is told of on one line that names the file."""

import dataclasses
import json
import shutil

import pytest

from blockskim.errors import ModelError
from blockskim.exporting.exported_model import ExportedModel, load_exported
from blockskim.exporting.manifest import COMPUTING, CONFIG, FILE, GRAPH, TOKENIZER, read_manifest, write_manifest
from blockskim.method.confidence import ConfidenceModel
from blockskim.method.evidence import UNCALIBRATED
from blockskim.model.stored_weights import WEIGHTS
from tiny_exports import exported, exported_answerer

FILES = (GRAPH, WEIGHTS, TOKENIZER, CONFIG, FILE)


@pytest.fixture
def directory(tmp_path):
    """A directory that a test may spoil."""
    return shutil.copytree(exported_answerer().directory, tmp_path / "model")


@pytest.fixture(scope="module")
def exports():
    """What these tests export, which may print."""
    return exported_answerer(), exported(), exported("roberta")


@pytest.fixture(autouse=True)
def nothing_is_printed(exports, capfd):
    """ONNX Runtime must not print what goes wrong; it is in the error."""
    yield
    assert capfd.readouterr() == ("", "")


def refused(directory, *messages, load=load_exported):
    with pytest.raises(ModelError) as caught:
        load(directory)
    for message in messages:
        assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400 + len(str(directory))


DAMAGES = {
    "truncated": lambda data: data[: len(data) // 2],
    # Behind JSON there is an end of line, without which it is as good.
    "cut-off": lambda data: data[:-2],
    "emptied": lambda data: b"",
    "garbage": lambda data: b"\x93" * len(data),
    "zeros": lambda data: bytes(len(data)),
    "text": lambda data: b"not found",
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("load", [load_exported, ExportedModel])
def test_a_damaged_file(directory, name, damage, load):
    path = directory / name
    path.write_bytes(damage(path.read_bytes()))
    refused(directory, str(path), load=load)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file(directory, name):
    (directory / name).unlink()
    refused(directory, f"{directory} ", name)


@pytest.mark.parametrize("name", FILES)
def test_a_directory_in_the_place_of_a_file(directory, name):
    (directory / name).unlink()
    (directory / name).mkdir()
    refused(directory, str(directory), name)


def another(name):
    """A model whose file of this name is another one."""
    return exported() if name in (GRAPH, WEIGHTS, CONFIG, FILE) else exported("roberta")


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_another_model(directory, name):
    shutil.copy(another(name).directory / name, directory / name)
    refused(directory, str(directory), "export the model again")


def test_weights_of_a_model_that_is_built_alike(directory):
    """They have the same length and the same header."""
    path = directory / WEIGHTS
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    refused(directory, f"{path} does not hold the weights that the graph was made for")


def rewrite(directory, part=None, **values):
    path = directory / CONFIG
    stored = json.loads(path.read_text())
    (stored if part is None else stored[part]).update(values)
    path.write_text(json.dumps(stored))


CHANGED = {
    "block_size": 16,
    "alignment": "sequence",
    "inputs": ["match"],
    "predictor_width": 16,
    "layers": [1, 3],
}


@pytest.mark.parametrize("name", CHANGED)
def test_settings_that_predictors_are_built_for(directory, name):
    rewrite(directory, "skim", **{name: CHANGED[name]})
    refused(directory, str(directory / CONFIG), f"has {name} ", "but the graph was exported with")


def test_settings_that_the_graph_does_not_depend_on_may_be_changed(directory):
    evidence = UNCALIBRATED.to_dict()
    confidence = ConfidenceModel((0.1, 0.2, 0.3, 0.4), (0.4, 0.3, 0.2, 0.1))
    changed = {"thresholds": 0.2, "points": {"fast": 0.5}, "document_threshold": 0.5, "evidence": evidence}
    rewrite(directory, "skim", **changed)
    rewrite(directory, confidence=confidence.to_dict())
    model = load_exported(directory).model
    assert {name: value for name, value in model.skim_config.to_dict().items() if name in changed} == changed
    assert model.confidence == confidence


@pytest.mark.parametrize("value", [[1, 2], None])
def test_layers_may_be_named_or_not(directory, value):
    rewrite(directory, "skim", layers=value)
    assert load_exported(directory).model.skim_layers == (1, 2)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"thresholds": [0.5]}, "1 thresholds for 2 layers"),
        ({"thresholds": [0.1, 0.2, 0.3]}, "3 thresholds for 2 layers"),
        ({"thresholds": 1.5}, "threshold is 1.5; it must be from 0 (keep every block) to 1"),
        ({"thresholds": "high"}, "thresholds"),
        ({"points": {"fast": [0.5]}}, "1 thresholds of point 'fast' for 2 layers"),
        ({"points": {"": 0.5}}, "an operating point can't be called ''"),
        ({"points": 3}, "points is 3"),
        ({"unknown": 1}, "unknown"),
        ({"block_size": 7}, "block_size is 7; it must be one of 8, 16, 32, 64"),
    ],
)
def test_impossible_settings(directory, values, message):
    rewrite(directory, "skim", **values)
    refused(directory, str(directory / CONFIG), message)


def test_thresholds_and_points_may_be_changed(directory):
    rewrite(directory, "skim", thresholds=[0.1, 0.9], points={"other": 0.3}, skim_factor=0.7)
    config = load_exported(directory).model.skim_config
    assert (config.thresholds, config.points, config.skim_factor) == ((0.1, 0.9), {"other": 0.3}, 0.7)


@pytest.mark.parametrize(
    ("part", "values", "message"),
    [
        (None, {"trained_predictors": False}, "has trained_predictors False"),
        (None, {"skim": 3}, "is no config of a Block-Skim model"),
        (None, {"skim": None}, "is no config of a Block-Skim model"),
        (None, {"encoder_config": []}, "is no config of a Block-Skim model"),
        ("encoder_config", {"model_type": "roberta"}, "has model_type 'roberta'"),
        ("encoder_config", {"num_hidden_layers": 12}, "has num_hidden_layers 12"),
        ("encoder_config", {"num_attention_heads": 2}, "has num_attention_heads 2"),
        ("encoder_config", {"vocab_size": 30522}, "has vocab_size 30522"),
        ("encoder_config", {"hidden_act": "relu"}, "has hidden_act 'relu'"),
        ("encoder_config", {"layer_norm_eps": 0.5}, "has layer_norm_eps 0.5"),
    ],
)
def test_another_encoder(directory, part, values, message):
    rewrite(directory, part, **values)
    refused(directory, str(directory / CONFIG), message)


def test_a_manifest_of_an_earlier_version_names_fewer_settings_of_the_encoder(directory):
    manifest = read_manifest(directory)
    fewer = {name: value for name, value in manifest.encoder.items() if name not in COMPUTING}
    assert len(fewer) < len(manifest.encoder)
    write_manifest(directory, dataclasses.replace(manifest, encoder=fewer))
    assert load_exported(directory).model.manifest.encoder == fewer


@pytest.mark.parametrize("content", [b"null", b"[1]", b"{}", b'{"skim": {}}', b"[" * 100_000, b"\xff"])
def test_a_config_that_is_none(directory, content):
    (directory / CONFIG).write_bytes(content)
    refused(directory, str(directory / CONFIG))


def test_a_directory_that_was_not_exported(tmp_path):
    for path in (tmp_path, tmp_path / "none"):
        refused(path, f"{path} holds no exported model: it has no {FILE}; make one with blockskim export")
