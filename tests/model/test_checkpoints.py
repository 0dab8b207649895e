"""What can't be read is told of on one line that names the directory; nothing is filled in silently."""

import json
import os
import shutil
import stat
from importlib.metadata import version

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModel, AutoModelForQuestionAnswering

from blockskim.errors import ConfigError, ModelError
from blockskim.method.config import SkimConfig
from blockskim.model import stored_weights
from blockskim.model.checkpoints import (
    base_name,
    check_loadable,
    check_vocabulary,
    has_qa_head,
    is_block_skim,
    read_config,
)
from blockskim.model.load_errors import LONGEST_MESSAGE, loading, one_line
from blockskim.model.modeling import BlockSkimForQuestionAnswering
from strategies import every_family, families
from tiny_models import FAMILIES, SIZES, dense_model, encoder_config, skim_model
from tiny_tokenizers import fixed_tokenizer

LOADERS = {True: BlockSkimForQuestionAnswering.from_pretrained, False: BlockSkimForQuestionAnswering.from_backbone}
both_kinds = pytest.mark.parametrize("skims", [True, False])
INDEX = "model.safetensors.index.json"


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """Directories of a Block-Skim model and of a plain QA model. Copy them to change them."""
    folder = tmp_path_factory.mktemp("stored")
    skim_model("bert").save_pretrained(folder / "skims")
    dense_model("bert").save_pretrained(folder / "plain")
    return folder


@pytest.fixture
def directory(stored, tmp_path, skims):
    """A model directory that a test may spoil."""
    return shutil.copytree(stored / ("skims" if skims else "plain"), tmp_path / "model")


def rewrite(directory, skims, **values):
    """Change values of the encoder's config."""
    path = directory / "config.json"
    stored = json.loads(path.read_text())
    (stored["encoder_config"] if skims else stored).update(values)
    path.write_text(json.dumps(stored))


def refused(skims, directory, message):
    with pytest.raises(ModelError, match=message) as caught:
        LOADERS[skims](directory)
    assert "\n" not in str(caught.value)
    assert str(directory) in str(caught.value)
    assert len(str(caught.value)) < LONGEST_MESSAGE + len(str(directory)) + 100


@pytest.mark.parametrize("name", ["./missing", "../missing", "~/missing", "a/b/missing"])
def test_names_that_can_only_be_paths_are_refused_at_once(name):
    with pytest.raises(ModelError, match="no such model directory"):
        check_loadable(name)


def test_hub_ids_may_be_loadable():
    check_loadable("deepset/roberta-base-squad2")


def test_kinds_of_checkpoints_are_told_apart(stored, tmp_path):
    assert is_block_skim(stored / "skims")
    assert not is_block_skim(stored / "plain")
    assert has_qa_head(read_config(stored / "plain"))
    dense_model("bert").base_model.save_pretrained(tmp_path)
    assert not has_qa_head(read_config(tmp_path))


@both_kinds
@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("hidden_size", "wide", "config.json.* hidden_size is 'wide'; it must be a whole number"),
        ("hidden_size", 33, r"hidden size \(33\) is not a multiple"),
        ("hidden_size", 0, "config.json.* hidden_size is 0"),
        ("hidden_size", -4, "config.json.* hidden_size is -4"),
        ("num_attention_heads", 0, "config.json.* num_attention_heads is 0"),
        ("num_hidden_layers", "three", "config.json.* num_hidden_layers is 'three'"),
        ("vocab_size", 0, "config.json.* vocab_size is 0"),
        ("pad_token_id", 10**6, "config.json.* pad_token_id is 1000000; it must be below vocab_size, which is 60"),
        ("hidden_act", "nope", "config.json.* hidden_act is 'nope'"),
        ("dtype", "float5", "config.json.* dtype is 'float5'"),
        ("id2label", 5, "config.json.* id2label is 5"),
        ("model_type", "nope", "nope"),
        ("model_type", ["bert"], r"config.json.* model_type is \['bert'\]"),
        pytest.param(
            "rope_parameters",
            5,
            "config.json.*rope_parameters",
            marks=pytest.mark.skipif(version("transformers").startswith("5.3."), reason="it reads no such setting"),
        ),
    ],
)
def test_a_damaged_encoder_config_is_told_of_in_a_line(directory, skims, name, value, message):
    rewrite(directory, skims, **{name: value})
    refused(skims, directory, message)


@pytest.mark.parametrize("skims", [True])
@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("encoder_config", 5, "config.json: encoder_config is 5; it must be a mapping"),
        ("skim", [1], "config.json: skim is .*; it must be a mapping"),
        ("skim", {"points": [1]}, "config.json: points is"),
        ("pruned_heads", {"1": [99]}, "config.json: layer 1 has no head 99"),
        ("trained_predictors", 3, "config.json: trained_predictors is 3"),
    ],
)
def test_damaged_settings_are_told_of_in_a_line(directory, skims, name, value, message):
    path = directory / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), name: value}))
    refused(skims, directory, message)


@both_kinds
@pytest.mark.parametrize("text", ["", "[]", "5", "null", "{", "[" * 100_000])
def test_a_config_that_is_no_object_is_told_of_in_a_line(directory, skims, text):
    (directory / "config.json").write_text(text)
    refused(skims, directory, "config|argument|Unrecognized|recursion")


@both_kinds
@pytest.mark.parametrize(
    "error",
    [AttributeError, ZeroDivisionError, IndexError, AssertionError, ImportError, RecursionError, MemoryError, OSError],
)
def test_whatever_transformers_raises_is_a_model_error(directory, skims, error, monkeypatch):
    def fail(*_args, **_kwargs):
        raise error("it is\nbroken")

    monkeypatch.setattr(AutoConfig, "from_pretrained", fail)
    refused(skims, directory, "it is$")


def test_messages_are_short_lines():
    assert one_line(OSError("it is broken\nhere is how")) == "it is broken"
    assert one_line(ValueError("Validation error:\n    TypeError: it is a string\nmore")) == (
        "Validation error: TypeError: it is a string"
    )
    assert one_line(KeyError("nope")) == "KeyError: 'nope'"
    assert one_line(RuntimeError()) == "RuntimeError"
    assert one_line(ValueError("x" * 1000)) == "x" * (LONGEST_MESSAGE - 1) + "…"


def test_impossible_settings_are_those_of_the_config_file(tmp_path):
    with pytest.raises(ModelError, match=f"^{tmp_path}: config.json: it is 7$"), loading(tmp_path):
        raise ConfigError("it is 7")
    message = r"^some/model: there is no such directory, and as a hub id .*: gone$"
    with pytest.raises(ModelError, match=message), loading("some/model"):
        raise OSError("gone")


@both_kinds
def test_a_weight_of_another_shape_is_named_with_both_shapes(directory, skims):
    rewrite(directory, skims, vocab_size=SIZES["vocab_size"] + 4)
    refused(skims, directory, r"'[a-z]+\.embeddings\.word_embeddings\.weight' has the shape \(60, 32\).*for \(64, 32\)")


def test_weights_of_another_shape_can_be_made_anew(stored, tmp_path):
    directory = shutil.copytree(stored / "skims", tmp_path / "model")
    rewrite(directory, True, vocab_size=64)
    model = BlockSkimForQuestionAnswering.from_pretrained(directory, ignore_mismatched_sizes=True)
    assert model.encoder.get_input_embeddings().num_embeddings == 64


@both_kinds
@pytest.mark.parametrize("lost", ["encoder.layer.1.output.dense.weight", "qa_outputs.bias"])
def test_a_weight_that_is_missing_is_named(directory, skims, lost):
    path = directory / "model.safetensors"
    kept = {name: value for name, value in load_file(path).items() if not name.endswith(lost)}
    save_file(kept, path, metadata={"format": "pt"})
    refused(skims, directory, rf"the weights lack '.*{lost}' \(1 missing\)")


@every_family
def test_an_encoder_may_have_been_saved_without_its_pooling_layer(family, tmp_path):
    AutoModel.from_config(encoder_config(family)).save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    kept = {name: value for name, value in load_file(path).items() if "pooler" not in name}
    save_file(kept, path, metadata={"format": "pt"})
    BlockSkimForQuestionAnswering.from_backbone(tmp_path)


@both_kinds
def test_adapters_are_not_left_out_in_silence(directory, skims):
    (directory / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "base_model_name_or_path": "x"}))
    refused(skims, directory, r"has an adapter_config\.json: adapters, .* are not read")


def refuse_layers(directory, layers, message):
    """What is loaded with another number of layers in the config is refused."""
    path = directory / "config.json"
    stored = json.loads(path.read_text())
    skims = "encoder_config" in stored
    encoder = stored["encoder_config"] if skims else stored
    encoder["n_layers" if "n_layers" in encoder else "num_hidden_layers"] = layers
    for name in ("layer_types",):
        if name in encoder:
            encoder[name] = [encoder[name][0]] * layers
    path.write_text(json.dumps(stored))
    refused(skims, directory, message)


@both_kinds
@pytest.mark.parametrize("layers", [1, 2, 4])
@families(name for name in FAMILIES if name != "albert")
def test_weights_of_other_layers_than_the_config_calls_for_are_refused(family, skims, layers, tmp_path):
    (skim_model if skims else dense_model)(family).save_pretrained(tmp_path)
    held = SIZES["num_hidden_layers"]
    assert held == 3
    field = "n_layers" if family == "distilbert" else "num_hidden_layers"
    if skims and layers == 1:
        message = "skimming needs at least 2"
    else:
        message = rf"config\.json: .*{field} is {layers}, but the weights hold 3 layers"
    refuse_layers(tmp_path, layers, message)


@pytest.mark.parametrize("skims", [False])
def test_the_same_holds_for_an_encoder_without_a_head_and_for_groups_of_layers(directory, skims, tmp_path):
    dense_model("bert").base_model.save_pretrained(tmp_path / "encoder")
    refuse_layers(tmp_path / "encoder", 2, r"config\.json: num_hidden_layers is 2, but the weights hold 3 layers")
    dense_model("albert").save_pretrained(tmp_path / "albert")
    rewrite(tmp_path / "albert", False, num_hidden_groups=2)
    refused(False, tmp_path / "albert", r"config\.json: num_hidden_groups is 2, but the weights hold 1 layers")


@both_kinds
@pytest.mark.parametrize("dtype", [torch.int8, torch.int64, torch.bool, torch.float8_e4m3fn, torch.complex64])
def test_weights_in_formats_that_need_a_scale_are_refused(directory, skims, dtype):
    path = directory / "model.safetensors"
    weights = load_file(path)
    name = next(name for name in weights if name.endswith("encoder.layer.1.output.dense.weight"))
    try:
        save_file({**weights, name: weights[name].to(dtype)}, path, metadata={"format": "pt"})
    except KeyError:
        pytest.skip(f"this version of safetensors can't write {dtype}")
    refused(skims, directory, f"the weight '{name}' is stored as .*; quantised checkpoints can't be read")


@both_kinds
def test_weights_of_nothing_but_zeros_are_warned_of(directory, skims, caplog):
    path = directory / "model.safetensors"
    weights = load_file(path)
    save_file({name: torch.zeros_like(value) for name, value in weights.items()}, path, metadata={"format": "pt"})
    LOADERS[skims](directory)
    assert f"{directory}: the weight " in caplog.text and "holds nothing but 0" in caplog.text


@both_kinds
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_any_precision_are_read(directory, skims, dtype, caplog):
    path = directory / "model.safetensors"
    weights = load_file(path)
    weights = {name: value.to(dtype) if value.is_floating_point() else value for name, value in weights.items()}
    save_file(weights, path, metadata={"format": "pt"})
    LOADERS[skims](directory)
    assert not caplog.records


def add_weight(directory, name):
    path = directory / "model.safetensors"
    save_file({**load_file(path), name: torch.zeros(2)}, path, metadata={"format": "pt"})


@pytest.mark.parametrize(
    "name",
    [
        "encoder.encoder.layer.0.attention.self.distance_embedding.weight",
        "predictors.1.networks.noise.weight",
        "qa_transform.weight",
        "other",
    ],
)
def test_weights_that_a_block_skim_model_has_no_place_for_are_refused(stored, tmp_path, name):
    directory = shutil.copytree(stored / "skims", tmp_path / "model")
    add_weight(directory, name)
    refused(True, directory, rf"the weights hold '{name}' \(1 such\), for which a model of config\.json has no place")


def test_predictors_that_see_less_than_the_stored_ones_are_refused(tmp_path):
    skim_model("bert", ("question", "hidden"), "context").save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    values = json.loads(path.read_text())
    values["skim"]["inputs"] = ["hidden"]
    path.write_text(json.dumps(values))
    refused(True, tmp_path, r"the weights hold 'predictors\.1\..*question.*no place")


@pytest.mark.parametrize(
    ("name", "warned"),
    [
        ("bert.encoder.layer.0.attention.self.distance_embedding.weight", True),
        ("bert.encoder.layer.2.adapter.down.weight", True),
        ("cls.predictions.bias", False),
        ("bert.pooler.dense.weight", False),
    ],
)
def test_weights_of_layers_that_are_not_used_are_warned_of(stored, tmp_path, name, warned, caplog):
    directory = shutil.copytree(stored / "plain", tmp_path / "model")
    add_weight(directory, name)
    BlockSkimForQuestionAnswering.from_backbone(directory)
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("blockskim")]
    assert len(ours) == warned
    assert all(line.startswith(f"{directory}: the weights hold '{name}' (1 such)") for line in ours)


@pytest.mark.parametrize(("layers", "asked"), [([1], "1"), ([2], "2")])
def test_predictors_of_other_layers_than_the_config_calls_for_are_refused(stored, tmp_path, layers, asked):
    directory = shutil.copytree(stored / "skims", tmp_path / "model")
    path = directory / "config.json"
    values = json.loads(path.read_text())
    values["skim"] |= {"layers": layers, "thresholds": 0.0, "points": {}}
    path.write_text(json.dumps(values))
    refused(True, directory, f"skim.layers calls for predictors in layers {asked}, but the weights hold .* 1, 2")


def test_a_plain_checkpoint_of_one_layer_is_named(tmp_path):
    encoder = AutoModelForQuestionAnswering.from_config(encoder_config("bert", num_hidden_layers=1))
    encoder.save_pretrained(tmp_path)
    refused(False, tmp_path, "the model has 1 layer; skimming needs at least 2")
    with pytest.raises(ConfigError, match=f"^{tmp_path}: layers has 7, but the model has 3 layers"):
        dense_model("bert").save_pretrained(tmp_path)
        BlockSkimForQuestionAnswering.from_backbone(tmp_path, SkimConfig(layers=[7]))


def shard(directory, skims):
    """Bring the weights of a directory into several files."""
    model = LOADERS[skims](directory)
    (directory / "model.safetensors").unlink()
    if not skims:
        model = dense_model("bert")
    model.save_pretrained(directory, max_shard_size="20KB")
    return json.loads((directory / INDEX).read_text())


@both_kinds
def test_weights_in_several_files_are_read(directory, skims):
    expected = LOADERS[skims](directory).encoder.state_dict()
    assert len(set(shard(directory, skims)["weight_map"].values())) > 1
    found = LOADERS[skims](directory).encoder.state_dict()
    assert all(value.equal(expected[name]) for name, value in found.items())


@both_kinds
@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("pytorch_model-00001.bin", r"names 'pytorch_model-00001\.bin'; weights are read from .*\.safetensors alone"),
        ("../other/model.safetensors", "leads out of the model's directory"),
        ("..\\other\\model.safetensors", "leads out of the model's directory"),
        ("/tmp/model.safetensors", "leads out of the model's directory"),
        ("C:\\model.safetensors", "leads out of the model's directory"),
        ("nothing.safetensors", r"names 'nothing\.safetensors', which is not there"),
        (5, "names .*; weights are read from files"),
    ],
)
def test_an_index_names_safetensors_files_of_the_directory(directory, skims, file, message):
    index = shard(directory, skims)
    for name in ("pytorch_model-00001.bin", "../other/model.safetensors"):
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_bytes(b"never read")
    index["weight_map"][next(iter(index["weight_map"]))] = file
    (directory / INDEX).write_text(json.dumps(index))
    refused(skims, directory, message)


@both_kinds
@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"weight_map": 5}', '{"weight_map": {}}'])
def test_an_index_that_is_none_is_refused(directory, skims, text):
    shard(directory, skims)
    (directory / INDEX).write_text(text)
    refused(skims, directory, "names no weights|Expecting")


@both_kinds
@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("pytorch_model-00001.bin", r"names 'pytorch_model-00001\.bin'; weights are read from .*\.safetensors alone"),
        ("../../outside.safetensors", "leads out of the model's directory"),
        ("/tmp/model.safetensors", "leads out of the model's directory"),
        (None, "names '.*', which is not there"),
    ],
)
def test_an_index_on_the_hub_is_looked_into_before_its_files_are_asked_for(
    directory, skims, file, message, tmp_path, monkeypatch
):
    index = shard(directory, skims)
    first = next(iter(index["weight_map"]))
    index["weight_map"][first] = file or index["weight_map"][first]
    snapshot = tmp_path / "hub" / "models--some--model" / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("a" * 40)
    shutil.copy(directory / "config.json", snapshot)
    (snapshot / INDEX).write_text(json.dumps(index))
    asked, find = [], stored_weights.find_file

    def watched(name, file, *given, **options):
        asked.append(file)
        return find(name, file, *given, **options)

    monkeypatch.setattr(stored_weights, "find_file", watched)
    with pytest.raises(ModelError, match=message):
        LOADERS[skims]("some/model", cache_dir=str(tmp_path / "hub"))
    assert asked[:2] == ["model.safetensors", INDEX]
    assert len(asked) == (2 if file else 3)


@every_family
def test_every_id_of_a_tokenizer_needs_an_embedding(family):
    tokenizer = fixed_tokenizer("wordpiece")
    ids = len(tokenizer)
    fits = AutoModel.from_config(encoder_config(family, vocab_size=ids))
    check_vocabulary(fits, tokenizer, "here")
    short = AutoModel.from_config(encoder_config(family, vocab_size=ids - 1))
    with pytest.raises(ModelError, match=f"^here: the tokenizer has ids up to {ids - 1}, .* for {ids - 1} tokens only"):
        check_vocabulary(short, tokenizer, "here")


def test_a_vocabulary_that_is_not_whole_is_warned_of(caplog):
    tokenizer = fixed_tokenizer("wordpiece")
    check_vocabulary(AutoModel.from_config(encoder_config("bert", vocab_size=2 * len(tokenizer))), tokenizer, "here")
    assert not caplog.records
    check_vocabulary(AutoModel.from_config(encoder_config("bert", vocab_size=3 * len(tokenizer))), tokenizer, "here")
    assert f"here: the tokenizer has {len(tokenizer)} tokens, but the model has embeddings for" in caplog.text


@pytest.mark.parametrize("skims", [True, False])
@pytest.mark.parametrize("family", ["roberta", "xlm-roberta", "camembert"])
def test_positions_can_not_be_counted_from_no_padding_token(family, skims, tmp_path):
    (skim_model if skims else dense_model)(family).save_pretrained(tmp_path)
    rewrite(tmp_path, skims, pad_token_id=None)
    refused(skims, tmp_path, "pad_token_id is null")


@pytest.mark.parametrize("pad", [1, 16])
def test_positions_that_are_counted_from_another_padding_token_are_warned_of(pad, caplog):
    tokenizer = fixed_tokenizer("bytes")
    assert tokenizer.pad_token_id == 1
    config = encoder_config("roberta", vocab_size=len(tokenizer), pad_token_id=pad)
    check_vocabulary(AutoModel.from_config(config), tokenizer, "here")
    assert ("here: pad_token_id is 16" in caplog.text) == (pad == 16) == bool(caplog.records)


@pytest.mark.parametrize("skims", [True, False])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("is_decoder", True),
        ("add_cross_attention", True),
        ("position_embedding_type", "relative_key"),
        ("position_embedding_type", "relative_key_query"),
        ("position_embedding_type", 5),
    ],
)
def test_attention_that_would_be_left_out_in_silence_is_refused(directory, skims, name, value):
    rewrite(directory, skims, **{name: value})
    refused(skims, directory, f"{name} is {'true' if value is True else repr(value)}")


@pytest.mark.parametrize("skims", [False])
def test_absolute_positions_may_be_called_by_name(directory, skims):
    rewrite(directory, skims, position_embedding_type="absolute", is_decoder=False)
    LOADERS[skims](directory)


def test_a_directory_is_called_by_its_own_name_and_a_hub_id_stays_whole(tmp_path, monkeypatch):
    (tmp_path / "deep" / "model").mkdir(parents=True)
    assert base_name(tmp_path / "deep" / "model") == base_name(f"{tmp_path}/deep/model/") == "model"
    monkeypatch.chdir(tmp_path / "deep" / "model")
    assert base_name(".") == "model"
    assert base_name("someone/model") == "someone/model"


@pytest.mark.parametrize("umask", [0o022, 0o077])
@pytest.mark.parametrize("shards", [{}, {"max_shard_size": "60KB"}])
def test_whoever_may_read_new_files_may_read_weights(tmp_path, umask, shards):
    before = os.umask(umask)
    try:
        skim_model("bert").save_pretrained(tmp_path, **shards)
    finally:
        os.umask(before)
    assert len(list(tmp_path.glob("*.safetensors"))) == (3 if shards else 1)
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o666 & ~umask}
