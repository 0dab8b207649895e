"""What a Block-Skim model knows of itself, whatever it is run for: its settings, its predictors and its heads."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from blockskim.encoders import EncoderAdapter
from blockskim.errors import ConfigError, ModelError
from blockskim.method.config import PREDICTOR_SETTINGS, SkimConfig
from blockskim.method.thresholds import layer_thresholds
from blockskim.model.backbones import predictor_layers
from blockskim.model.config import BlockSkimConfig
from blockskim.model.pruned_heads import PrunedHeads, heads_left


class BlockSkimPreTrainedModel(PreTrainedModel):
    """An encoder with skim predictors, and the settings that they were built for.

    Attributes:
        adapter: of the encoder's family.
        encoder: the transformers encoder.
        predictors: by layer number.
    """

    config_class = BlockSkimConfig
    base_model_prefix = "encoder"
    main_input_name = "input_ids"
    _supports_sdpa = True
    supports_gradient_checkpointing = True
    gradient_checkpointing = False

    config: BlockSkimConfig
    adapter: EncoderAdapter
    encoder: PreTrainedModel
    predictors: nn.ModuleDict
    _pruned_heads: PrunedHeads
    _gradient_checkpointing_func: Callable[..., Any]

    @property
    def skim_config(self) -> SkimConfig:
        """The skim settings; thresholds, points and loss weights may be changed at any time, also in place.

        Setting it takes a copy.
        """
        return self.config.skim

    @skim_config.setter
    def skim_config(self, value: SkimConfig) -> None:
        changed = self.settings_needing_new_predictors(value)
        if changed:
            raise ModelError(
                f"{changed[0]} can't change from {getattr(self.skim_config, changed[0])!r} to "
                f"{getattr(value, changed[0])!r}: the predictors were built for it; make a new model with from_backbone"
            )
        value.check_counts(self.skim_layers)
        self.config.take_skim(value)

    def settings_needing_new_predictors(self, value: SkimConfig) -> list[str]:
        """Names of the settings that call for other predictors than the model has; none if it can take the settings."""
        built = [name for name in PREDICTOR_SETTINGS if name != "layers"]
        changed = [name for name in built if getattr(value, name) != getattr(self.skim_config, name)]
        # Layers may be named or not and be the same.
        if predictor_layers(value, self.adapter, self.adapter.layers(self.encoder)) != self.skim_layers:
            changed.append("layers")
        return changed

    @property
    def has_trained_predictors(self) -> bool:
        """Whether the predictors have learned something, so that ``skim`` may drop blocks by what they say.

        It is saved with the model. ``train`` sets it; whoever trains predictors otherwise, or wants to skim with random
        ones, sets it too.
        """
        return self.config.trained_predictors

    @has_trained_predictors.setter
    def has_trained_predictors(self, value: bool) -> None:
        self.config.trained_predictors = value

    @property
    def skim_layers(self) -> tuple[int, ...]:
        """Numbers of the layers that have a predictor, from 1."""
        return tuple(int(number) for number in self.predictors)

    @property
    def thresholds(self) -> tuple[float, ...]:
        """The config's threshold of each layer that has a predictor."""
        return tuple(self.thresholds_by_layer().values())

    def thresholds_by_layer(self, thresholds: float | Sequence[float] | None = None) -> dict[int, float]:
        """The threshold of each layer that has a predictor, by layer number.

        Args:
            thresholds: None for the config's; a number for all layers; a sequence with one per layer.

        Raises:
            ConfigError: a threshold is not from 0 to 1, or there are more or fewer than layers.
        """
        given = self.skim_config.thresholds if thresholds is None else thresholds
        layers = self.skim_layers
        return dict(zip(layers, layer_thresholds(given, layers), strict=True))

    def _active_thresholds(
        self, thresholds: float | Sequence[float] | None, score_all_layers: bool, allow_untrained: bool
    ) -> dict[int, float]:
        """The threshold of each layer whose predictor is to be asked, by layer number.

        Raises:
            ModelError: the model is in training mode.
            ConfigError: a threshold is impossible, or predictors are to be asked that were never trained.
        """
        if self.training:
            raise ModelError("skim() is for inference, but the model is in training mode; call model.eval() first")
        by_layer = self.thresholds_by_layer(thresholds)
        active = {number: value for number, value in by_layer.items() if value > 0 or score_all_layers}
        if active and not (allow_untrained or self.has_trained_predictors):
            raise ConfigError(
                "the predictors of this model were never trained, so what they say of blocks means nothing; train the "
                "model (blockskim train), read everything (thresholds of 0), or ask them anyway (allow_untrained=True)"
            )
        return active

    @property
    def pruned_heads(self) -> PrunedHeads:
        """Attention heads that were removed by layer, both counted from 1 as they were when all were there."""
        return dict(self._pruned_heads)

    def heads_of(self, layer: int) -> tuple[int, ...]:
        """Numbers of the attention heads that a layer has, in the order of its channels; layers count from 1."""
        return heads_left(self._pruned_heads, layer, self.config.encoder_config.num_attention_heads)

    def places_in_bias(self) -> dict[int, list[int]]:
        """Places of the heads of pruned layers, counted from 0, where a position bias is made for all heads.

        Empty for a family without a position bias.
        """
        if self.adapter.position_bias is None:
            return {}
        return {layer: [number - 1 for number in self.heads_of(layer)] for layer in self._pruned_heads}
