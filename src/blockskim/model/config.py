"""The transformers config of a Block-Skim model: the encoder's own config and the skim settings."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from transformers import AutoConfig, PreTrainedConfig

from blockskim.method.config import SkimConfig
from blockskim.model.pruned_heads import read_pruned_heads


class BlockSkimConfig(PreTrainedConfig):
    """Saved as ``config.json``.

    ``skim`` holds the values of ``SkimConfig``, ``pruned_heads`` the attention heads that were removed, by layer, both
    counted from 1 as they were when all were there.
    """

    model_type = "blockskim"
    sub_configs: ClassVar[dict[str, Any]] = {"encoder_config": AutoConfig}

    def __init__(
        self,
        encoder_config: dict[str, Any] | PreTrainedConfig | None = None,
        skim: dict[str, Any] | None = None,
        pruned_heads: Mapping[Any, Sequence[int]] | None = None,
        **kwargs: Any,
    ) -> None:
        """Take an encoder's config (BERT's defaults when None), skim settings, and which heads were removed.

        Raises:
            ConfigError: a skim setting is unknown or impossible, or pruned_heads is no mapping of layers to heads.
        """
        # A config of one's own: transformers writes the attention implementation into the object it is given.
        values = encoder_config.to_dict() if isinstance(encoder_config, PreTrainedConfig) else encoder_config or {}
        values = {"model_type": "bert", **copy.deepcopy(values)}
        # Where the encoder once lay is nobody's business, least of all a path of somebody's machine.
        values.pop("_name_or_path", None)
        self.encoder_config: PreTrainedConfig = AutoConfig.for_model(**values)
        self.skim = SkimConfig.from_dict(skim or {}).to_dict()
        self.pruned_heads = {layer: list(heads) for layer, heads in read_pruned_heads(pruned_heads).items()}
        super().__init__(**kwargs)


# Here and not beside the model: AutoConfig alone is enough to read a config (see blockskim.model.auto_classes).
AutoConfig.register(BlockSkimConfig.model_type, BlockSkimConfig)
