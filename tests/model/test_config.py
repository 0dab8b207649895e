import copy
import json
import pickle

import pytest
from transformers import AutoConfig

from blockskim.errors import ConfigError
from blockskim.method.config import SkimConfig
from blockskim.model.config import BlockSkimConfig
from tiny_models import encoder_config


def test_config_holds_the_encoders_own_and_the_skim_settings(tmp_path):
    encoder = encoder_config("electra")
    skim = SkimConfig(block_size=16, thresholds=(0.25, 0.5), layers=(1, 2))
    config = BlockSkimConfig(encoder_config=encoder.to_dict(), skim=skim.to_dict())
    config.save_pretrained(tmp_path)
    loaded = BlockSkimConfig.from_pretrained(tmp_path)
    assert loaded.encoder_config.model_type == "electra"
    assert loaded.encoder_config.embedding_size == 16
    assert loaded.encoder_config.to_dict() == config.encoder_config.to_dict()
    assert loaded.skim == skim


def test_skim_settings_default_to_those_of_skim_config():
    assert BlockSkimConfig(encoder_config=encoder_config("bert")).skim == SkimConfig()


def test_the_file_has_the_settings_as_plain_values(tmp_path):
    skim = SkimConfig(
        block_size=8, layers=(1, 2), thresholds=(0.25, 0.5), points={"fast": (0.5, 0.75), "even": 0.1}, skim_factor=1.0
    )
    config = BlockSkimConfig(encoder_config("bert"), skim, {2: [1, 3]}, trained_predictors=True)
    config.save_pretrained(tmp_path)
    stored = json.loads((tmp_path / "config.json").read_text())
    assert stored["skim"] == {
        "alignment": "context",
        "balance_factor": 20.0,
        "block_size": 8,
        "document_threshold": 0.0,
        "evidence": None,
        "inputs": ["match"],
        "layers": [1, 2],
        "neighbor_relevance": 0.0,
        "points": {"even": 0.1, "fast": [0.5, 0.75]},
        "predictor_width": 64,
        "skim_factor": 1.0,
        "teaching_factor": 0.0,
        "thresholds": [0.25, 0.5],
    }
    assert stored["trained_predictors"] is True
    assert stored["pruned_heads"] == {"2": [1, 3]}
    assert not [name for name in stored if name.startswith("_")]
    again = BlockSkimConfig.from_pretrained(tmp_path)
    assert (again.skim, again.pruned_heads, again.trained_predictors) == (skim, {2: [1, 3]}, True)
    assert BlockSkimConfig(**config.to_dict()).to_dict() == config.to_dict()


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda config: pickle.loads(pickle.dumps(config))])
def test_copies_are_equal(duplicate):
    config = BlockSkimConfig(encoder_config("bert"), SkimConfig(points={"fast": 0.5}), {1: [2]}, True)
    other = duplicate(config)
    assert other == config
    assert other.to_dict() == config.to_dict()
    other.skim = config.skim.replace(thresholds=0.5)
    assert other != config


def test_a_config_has_settings_of_its_own():
    skim = SkimConfig(points={"fast": 0.5})
    config = BlockSkimConfig(encoder_config("bert"), skim)
    skim.thresholds = 0.9
    skim.points["slow"] = 0.1
    assert config.skim == SkimConfig(points={"fast": 0.5})


def test_settings_change_but_not_what_predictors_are_built_for():
    config = BlockSkimConfig(encoder_config("bert"))
    config.skim = {"thresholds": 0.5}
    config.skim.points["fast"] = 0.75
    assert config.to_dict()["skim"] == SkimConfig(thresholds=0.5, points={"fast": 0.75}).to_dict()
    for changes in ({"block_size": 32}, {"layers": (1,)}, {"inputs": "tiles"}):
        with pytest.raises(ConfigError, match=f"{next(iter(changes))} can't change from"):
            config.skim = SkimConfig(**changes)
    with pytest.raises(ConfigError, match="block_size can't change from 16 to 32 in place"):
        config.skim.block_size = 32


def test_settings_can_be_changed_while_a_file_is_read(tmp_path):
    BlockSkimConfig(encoder_config("bert"), SkimConfig(block_size=8)).save_pretrained(tmp_path)
    loaded = AutoConfig.from_pretrained(tmp_path, skim=SkimConfig(block_size=8, thresholds=0.5))
    assert loaded.skim.thresholds == 0.5


def test_new_predictors_know_nothing_and_those_of_earlier_files_something(tmp_path):
    assert BlockSkimConfig(encoder_config("bert")).trained_predictors is False
    config = BlockSkimConfig(encoder_config("bert"))
    config.save_pretrained(tmp_path)
    assert AutoConfig.from_pretrained(tmp_path).trained_predictors is False
    path = tmp_path / "config.json"
    stored = json.loads(path.read_text())
    del stored["trained_predictors"]
    path.write_text(json.dumps(stored))
    assert AutoConfig.from_pretrained(tmp_path).trained_predictors is True


@pytest.mark.parametrize(
    ("values", "message"),
    [({"trained_predictors": "yes"}, "trained_predictors is 'yes'"), ({"skim": 5}, "skim is 5; it must be a mapping")],
)
def test_values_of_another_kind_are_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        BlockSkimConfig(encoder_config("bert"), **values)


@pytest.mark.parametrize("name", ["name_or_path", "_name_or_path"])
def test_the_path_of_the_base_is_not_published(name, tmp_path):
    config = BlockSkimConfig({**encoder_config("bert").to_dict(), name: "/home/somebody/secret"})
    assert "secret" not in str(config.to_dict())
    config.encoder_config.name_or_path = "/home/somebody/secret"
    assert "secret" not in str(config.to_dict())
    config.save_pretrained(tmp_path)
    assert "secret" not in (tmp_path / "config.json").read_text()


def test_impossible_skim_settings_are_refused():
    with pytest.raises(ConfigError, match="31"):
        BlockSkimConfig(encoder_config=encoder_config("bert"), skim={"block_size": 31})


def test_its_type_is_known_to_transformers():
    # Registered when the model's module is imported.
    import blockskim.model.modeling  # noqa: F401

    assert isinstance(AutoConfig.for_model("blockskim"), BlockSkimConfig)
