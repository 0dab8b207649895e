"""What a Block-Skim model knows of itself, whatever it is run for: its settings, its predictors and its heads."""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedModel

from blockskim.atomic import give_usual_rights
from blockskim.checks import check_flag
from blockskim.data.packed_inputs import PackedInputs
from blockskim.encoders import EncoderAdapter
from blockskim.encoders.backbone import Backbone
from blockskim.encoders.position_table import position_limit
from blockskim.errors import ConfigError, ModelError
from blockskim.method.block_spans import BlockSpans, blocks_of_packed
from blockskim.method.blocks import BlockLayout, block_layout
from blockskim.method.confidence import ConfidenceModel
from blockskim.method.config import PREDICTOR_SETTINGS, SkimConfig
from blockskim.method.cost import PredictorCost
from blockskim.method.predictors.predictor import predictor_cost
from blockskim.method.skim_trace import Asking
from blockskim.method.thresholds import asked_thresholds
from blockskim.model.backbones import predictor_layers
from blockskim.model.config import BlockSkimConfig
from blockskim.model.pruned_heads import PrunedHeads, heads_left
from blockskim.model.weight_digest import digest_of_weights


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
        if not isinstance(value, SkimConfig):
            raise ConfigError(f"skim_config is {value!r:.80}; it must be a SkimConfig")
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
        self.config.trained_predictors = check_flag("has_trained_predictors", value)

    @property
    def confidence(self) -> ConfidenceModel | None:
        """What turns scores into the probability that an answer is right; None where it was not calibrated."""
        return self.config.confidence

    @confidence.setter
    def confidence(self, value: ConfidenceModel | None) -> None:
        if value is not None and not isinstance(value, ConfidenceModel):
            raise ConfigError(f"confidence is {value!r:.80}; it must be a ConfidenceModel or None")
        self.config.confidence = value

    def _predictors(self) -> dict[int, Any]:
        return {int(number): predictor for number, predictor in self.predictors.items()}

    @property
    def skim_layers(self) -> tuple[int, ...]:
        """Numbers of the layers that have a predictor, from 1."""
        return tuple(int(number) for number in self.predictors)

    @property
    def num_layers(self) -> int:
        """Number of the encoder's layers."""
        return len(self.adapter.layers(self.encoder))

    @property
    def has_word_embeddings(self) -> bool:
        """Whether ``word_embeddings`` may be asked for: of a model with weights, always."""
        return True

    def word_embeddings(self, ids: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
        """Word embeddings of some token ids, in float32. Shape: (ids, width)."""
        embeddings: Any = self.encoder.get_input_embeddings()
        table: Tensor = embeddings.weight.detach()
        rows = table[torch.from_numpy(ids.astype(np.int64)).to(table.device)]
        values: NDArray[np.float32] = rows.float().cpu().numpy()
        return values

    def fingerprint(self) -> str:
        """Digest of encoder, weights, number format and device; of the skim settings and the confidence nothing."""
        facts = [self.config.encoder_config.to_dict(), str(self.dtype), self.device.type]
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode())
        digest.update(digest_of_weights(self.state_dict()).encode())
        return digest.hexdigest()[:32]

    @property
    def number_format(self) -> str:
        """What numbers the weights are: ``"float32"`` and so on."""
        return str(self.dtype).removeprefix("torch.")

    @property
    def position_limit(self) -> int | None:
        """The most tokens that the model has positions for; None when its positions have no end."""
        return position_limit(self.encoder)

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
        return asked_thresholds(thresholds, self.skim_config.thresholds, self.skim_layers, all_layers=True)

    def _active_thresholds(self, thresholds: float | Sequence[float] | None, asking: Asking) -> dict[int, float]:
        """The threshold of each layer whose predictor is to be asked, by layer number.

        Raises:
            ModelError: the model is in training mode.
            ConfigError: a threshold is impossible, or predictors are to be asked that were never trained.
        """
        if self.training:
            raise ModelError("skim() is for inference, but the model is in training mode; call model.eval() first")
        active = asked_thresholds(thresholds, self.skim_config.thresholds, self.skim_layers, asking.all_layers)
        if active and not (asking.untrained or self.has_trained_predictors):
            raise ConfigError(
                "the predictors of this model were never trained, so what they say of blocks means nothing; train the "
                "model (blockskim train), read everything (thresholds of 0), or ask them anyway (allow_untrained=True)"
            )
        return active

    def predictor_cost(self, layer: int, question_tokens: int) -> PredictorCost:
        """What the predictor of a layer costs on a sample whose question has so many tokens; layers count from 1."""
        return predictor_cost(self.skim_config, self.backbone.dims(layer), question_tokens)

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

    def resize_token_embeddings(self, *args: Any, **kwargs: Any) -> nn.Embedding:
        """Give the encoder more or fewer word embeddings, as transformers does, and note their number in the config."""
        embeddings: nn.Embedding = super().resize_token_embeddings(*args, **kwargs)
        self._note_vocabulary()
        return embeddings

    def save_pretrained(self, save_directory: str | Path, *args: Any, **kwargs: Any) -> None:  # type: ignore[override]
        """Write weights and config as transformers does; whoever may read new files may read the weights, too."""
        # The embeddings of the encoder itself may have been resized.
        self._note_vocabulary()
        # Of how names were changed when the model was loaded: transformers 5.3 would write those of old checkpoints.
        self.__dict__.pop("_weight_conversions", None)
        super().save_pretrained(save_directory, *args, **kwargs)
        give_usual_rights(Path(save_directory).glob("model*.safetensors"))

    def _note_vocabulary(self) -> None:
        embeddings: Any = self.encoder.get_input_embeddings()
        for config in (self.config.encoder_config, self.encoder.config):
            config.vocab_size = int(embeddings.weight.shape[0])
        # transformers notes it in the outer config, too, which has no such setting.
        self.config.__dict__.pop("vocab_size", None)

    @property
    def backbone(self) -> Backbone:
        """The encoder with what is needed to run it layer by layer."""
        return Backbone(self.encoder, self.adapter, self.adapter.layers(self.encoder), self.places_in_bias())

    def layout(self, attention_mask: Tensor, context_mask: Tensor) -> BlockLayout:
        """The blocks of a batch under this model's settings. Shapes: (batch, tokens) each."""
        return block_layout(attention_mask, context_mask, self.skim_config.block_size, self.skim_config.alignment)

    def packed_layout(self, inputs: PackedInputs) -> BlockSpans:
        """The blocks of packed samples under this model's settings, in places within each sample."""
        return blocks_of_packed(inputs, self.skim_config.block_size, self.skim_config.alignment)
