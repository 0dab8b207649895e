"""The transformers config of a Block-Skim model: the encoder's own config and the skim settings."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

from transformers import AutoConfig, PreTrainedConfig

from blockskim.errors import ConfigError
from blockskim.method.confidence import ConfidenceModel
from blockskim.method.config import PREDICTOR_SETTINGS, SkimConfig
from blockskim.model.pruned_heads import read_pruned_heads


class BlockSkimConfig(PreTrainedConfig):
    """Saved as ``config.json``.

    Attributes:
        encoder_config: the encoder's own config.
        skim: the skim settings. A dictionary of them is taken, too.
        pruned_heads: the attention heads that were removed, by layer, both counted from 1 as they were when all were
            there.
        trained_predictors: whether the predictors have learned something. False for new ones; in a file without this
            key, which an earlier version wrote after training, it is true.
        confidence: what turns scores into the probability that an answer is right; None where it was not calibrated.
            A dictionary of its settings is taken, too.
    """

    model_type = "blockskim"
    sub_configs: ClassVar[dict[str, Any]] = {"encoder_config": AutoConfig}

    def __init__(
        self,
        encoder_config: dict[str, Any] | PreTrainedConfig | None = None,
        skim: SkimConfig | Mapping[str, Any] | None = None,
        pruned_heads: Mapping[Any, Sequence[int]] | None = None,
        trained_predictors: bool = False,
        confidence: ConfidenceModel | Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Take an encoder's config (BERT's defaults when None), skim settings, and which heads were removed.

        Raises:
            ConfigError: a setting is unknown or impossible, pruned_heads is no mapping of layers to heads, or
                trained_predictors is neither true nor false.
        """
        # A config of one's own: transformers writes the attention implementation into the object it is given.
        values = encoder_config.to_dict() if isinstance(encoder_config, PreTrainedConfig) else encoder_config or {}
        if not isinstance(values, Mapping):
            raise ConfigError(f"encoder_config is {values!r}; it must be a mapping of settings")
        self.encoder_config: PreTrainedConfig = AutoConfig.for_model(
            **_without_path({"model_type": "bert", **copy.deepcopy(values)})
        )
        self._skim = _own_settings(skim)
        self.pruned_heads = {layer: list(heads) for layer, heads in read_pruned_heads(pruned_heads).items()}
        if not isinstance(trained_predictors, bool):
            raise ConfigError(f"trained_predictors is {trained_predictors!r}; it must be true or false")
        self.trained_predictors = trained_predictors
        if confidence is not None and not isinstance(confidence, ConfidenceModel):
            confidence = ConfidenceModel.from_dict(confidence)
        self.confidence = confidence
        super().__init__(**kwargs)

    @property
    def skim(self) -> SkimConfig:
        """The skim settings; thresholds, points and loss weights of them may be changed at any time."""
        return self._skim

    @skim.setter
    def skim(self, value: SkimConfig | Mapping[str, Any]) -> None:
        settings = _own_settings(value)
        for name in PREDICTOR_SETTINGS:
            if getattr(settings, name) != getattr(self._skim, name):
                raise ConfigError(
                    f"{name} can't change from {getattr(self._skim, name)!r} to {getattr(settings, name)!r}: "
                    "predictors are built for it; make a new config"
                )
        self._skim = settings

    def take_skim(self, value: SkimConfig) -> None:
        """Replace the skim settings by a copy of others, whichever they are.

        It is for the model alone, which knows whether its predictors fit them.
        """
        self._skim = _own_settings(value)

    def __eq__(self, other: object) -> bool:
        """Whether all values are the same; transformers compares those alone that all of its configs have."""
        return isinstance(other, BlockSkimConfig) and self.to_dict() == other.to_dict()

    def to_dict(self) -> dict[str, Any]:
        """Values as JSON knows them, without the path that the encoder was read from."""
        values: dict[str, Any] = super().to_dict()
        values["skim"] = values.pop("_skim").to_dict()
        values["confidence"] = None if self.confidence is None else self.confidence.to_dict()
        # transformers writes this key, and where a model is published the path would be, too.
        values["encoder_config"]["_name_or_path"] = ""
        return values

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Self:
        """Read what ``to_dict`` wrote, be it of this version or of an earlier one.

        Raises:
            ConfigError: a skim setting is unknown or impossible, or another value is.
        """
        # Earlier versions saved models after training only, and said nothing of it.
        return super().from_dict({"trained_predictors": True, **config_dict}, **kwargs)


def _own_settings(skim: SkimConfig | Mapping[str, Any] | None) -> SkimConfig:
    """A copy that nobody else holds.

    Raises:
        ConfigError: a setting is unknown or impossible, or these are no settings at all.
    """
    if skim is None:
        return SkimConfig()
    if isinstance(skim, SkimConfig):
        return skim.replace()
    if not isinstance(skim, Mapping):
        raise ConfigError(f"skim is {skim!r}; it must be a mapping of settings")
    return SkimConfig.from_dict(skim)


def _without_path(values: dict[str, Any]) -> dict[str, Any]:
    """A config's values without the path that it was read from: it would be published with the model."""
    return {name: value for name, value in values.items() if name not in ("_name_or_path", "name_or_path")}


# Here and not beside the model: AutoConfig alone is enough to read a config (see blockskim.model.auto_classes).
AutoConfig.register(BlockSkimConfig.model_type, BlockSkimConfig)
