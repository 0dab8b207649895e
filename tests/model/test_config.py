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
    assert SkimConfig.from_dict(loaded.skim) == skim


def test_skim_settings_default_to_those_of_skim_config():
    assert SkimConfig.from_dict(BlockSkimConfig(encoder_config=encoder_config("bert")).skim) == SkimConfig()


def test_impossible_skim_settings_are_refused():
    with pytest.raises(ConfigError, match="31"):
        BlockSkimConfig(encoder_config=encoder_config("bert"), skim={"block_size": 31})


def test_its_type_is_known_to_transformers():
    # Registered when the model's module is imported.
    import blockskim.model.modeling  # noqa: F401

    assert isinstance(AutoConfig.for_model("blockskim"), BlockSkimConfig)
