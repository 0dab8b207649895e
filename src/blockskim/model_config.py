"""The transformers config of a Block-Skim model: the encoder's own config and the skim settings."""

from typing import Any

from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

from blockskim.config import SkimConfig


class BlockSkimConfig(PreTrainedConfig):
    """Saved as ``config.json``; ``skim`` holds the values of ``SkimConfig``."""

    model_type = "blockskim"
    sub_configs_defaults = {"encoder_config": SubConfigSpec(config_class=AutoConfig, model_type="bert")}

    encoder_config: dict[str, Any] | PreTrainedConfig | None = None
    skim: dict[str, Any] | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        """Check the skim settings."""
        super().__post_init__(**kwargs)
        self.skim = SkimConfig.from_dict(self.skim or {}).to_dict()
