"""A question-answering model that predictors context blocks and, at inference, drops the irrelevant ones."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForQuestionAnswering,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.utils.generic import ModelOutput

from blockskim.data.packed_inputs import PackedInputs
from blockskim.encoders import EncoderAdapter, QaHead, adapter_for
from blockskim.encoders.backbone import Backbone
from blockskim.errors import ConfigError, ModelError
from blockskim.method.blocks import BlockLayout, block_layout, blocks_of_spans, relevance_labels, soften_labels
from blockskim.method.config import SkimConfig, layer_factors, layer_thresholds
from blockskim.method.losses import block_loss, span_loss, teaching_loss
from blockskim.method.predictors.predictor import PredictorCost, SkimPredictor, predictor_cost
from blockskim.model.config import BlockSkimConfig
from blockskim.model.dense import DenseResult, Dropping, PaddedInputs, encode_dense
from blockskim.model.flops import ModelCost, linears_in, model_cost
from blockskim.model.head_removal import check_prunable, prune_layer, prune_predictor
from blockskim.model.packing import Ints, pack_padded
from blockskim.model.prepared_layers import PreparedLayers
from blockskim.model.prepared_predictors import PreparedPredictors
from blockskim.model.pruned_heads import PrunedHeads, add_pruned_heads, heads_left, read_pruned_heads
from blockskim.model.ragged import Skimmers, encode_ragged
from blockskim.model.trace import SkimTrace, trace_of

HUB_ARGUMENTS = ("cache_dir", "force_download", "local_files_only", "revision", "subfolder", "token")
"""What transformers takes for reading from the hub."""

LOADING_ERRORS = (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError)
"""What transformers raises for a model that is missing or damaged."""


@dataclass
class BlockSkimOutput(ModelOutput):
    """What the dense forward pass returns.

    Attributes:
        loss: ``qa_loss + skim_factor * skim_loss + teaching_factor * teaching_loss``, as far as there are labels; with
            a skim factor a layer, each layer's part of the skim loss has its own.
        qa_loss: cross entropy of the answer span.
        skim_loss: sum over layers of the cross entropy of block relevance.
        teaching_loss: sum over all layers but the last with a predictor of the cross entropy with that one's opinion;
            None when it has no weight.
        start_logits: -inf where a token was dropped. Shape: (batch, tokens)
        end_logits: likewise. Shape: (batch, tokens)
        skim_logits: logits of "irrelevant" and "relevant" from each predictor, NaN for blocks that are not droppable.
            Shape: (batch, layers with a predictor, blocks, 2)
        skim_labels: the labels that the skim loss compared with. Shape: (batch, blocks)
        hidden_states: what entered the first layer, then what left each layer; None when not asked for.
            Shape: (batch, tokens, hidden) each
        attention_outputs: what attention gave in each layer, heads joined, before the output projection; None when
            not asked for. Shape: (batch, tokens, heads * head_dim) each
    """

    loss: Tensor | None = None
    qa_loss: Tensor | None = None
    skim_loss: Tensor | None = None
    teaching_loss: Tensor | None = None
    start_logits: Tensor | None = None
    end_logits: Tensor | None = None
    skim_logits: Tensor | None = None
    skim_labels: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attention_outputs: tuple[Tensor, ...] | None = None


@dataclass
class SkimOutput(ModelOutput):
    """What the skimming forward pass returns.

    Attributes:
        start_logits: in input coordinates, -inf where a token was dropped or is padding. Shape: (batch, tokens)
        end_logits: likewise. Shape: (batch, tokens)
        trace: what was kept in each layer and what it cost.
    """

    start_logits: Tensor | None = None
    end_logits: Tensor | None = None
    trace: SkimTrace | None = None


class BlockSkimForQuestionAnswering(PreTrainedModel):
    """Any supported transformers encoder with a QA head and skim predictors.

    Calling it runs the dense forward pass, for training; ``skim`` runs the one that drops blocks, for inference.
    """

    config_class = BlockSkimConfig
    base_model_prefix = "encoder"
    main_input_name = "input_ids"
    _supports_sdpa = True

    def __init__(self, config: BlockSkimConfig) -> None:
        """Make the model of a config, with random weights.

        Raises:
            ModelError: the encoder's family is not supported, or something that its config calls for.
            ConfigError: the skim settings or the pruned heads don't fit the encoder.
        """
        super().__init__(config)
        encoder_config = config.encoder_config
        self.adapter = adapter_for(encoder_config.model_type)
        if self.adapter.check is not None:
            self.adapter.check(encoder_config)
        self._skim_config = SkimConfig.from_dict(config.skim or {})
        self.encoder = _encoder_from_config(encoder_config)
        layers = self.adapter.layers(self.encoder)
        self._pruned_heads: PrunedHeads = {}
        for number, keep in self._lose_heads(read_pruned_heads(config.pruned_heads)).items():
            prune_layer(self.adapter, layers[number - 1], keep)
        numbers = _predictor_layers(self._skim_config, self.adapter, layers)
        self._skim_config.check_counts(numbers)
        build = self.adapter.qa_head.build
        self.qa_transform = None if build is None else build(encoder_config)
        self.qa_outputs = nn.Linear(encoder_config.hidden_size, 2)
        self.predictors = nn.ModuleDict(
            {str(number): SkimPredictor(self._skim_config, self.adapter.dims(layers[number - 1])) for number in numbers}
        )
        self._cost = self._count_cost()
        self._prepared_layers = PreparedLayers()
        self._prepared_predictors = PreparedPredictors()
        self.post_init()

    @property
    def skim_config(self) -> SkimConfig:
        """The skim settings; thresholds and loss weights may be changed at any time."""
        return self._skim_config

    @skim_config.setter
    def skim_config(self, value: SkimConfig) -> None:
        changed = self.settings_needing_new_predictors(value)
        if changed:
            raise ModelError(
                f"{changed[0]} can't change from {getattr(self._skim_config, changed[0])!r} to "
                f"{getattr(value, changed[0])!r}: the predictors were built for it; make a new model with from_backbone"
            )
        value.check_counts(self.skim_layers)
        self._skim_config = value

    def settings_needing_new_predictors(self, value: SkimConfig) -> list[str]:
        """Names of the settings that call for other predictors than the model has; none if it can take the settings."""
        built = ("block_size", "alignment", "inputs", "predictor_width")
        changed = [name for name in built if getattr(value, name) != getattr(self._skim_config, name)]
        if _predictor_layers(value, self.adapter, self.adapter.layers(self.encoder)) != self.skim_layers:
            changed.append("layers")
        return changed

    @property
    def skim_layers(self) -> tuple[int, ...]:
        """Numbers of the layers that have a predictor, from 1."""
        return tuple(int(number) for number in self.predictors)

    @property
    def thresholds(self) -> tuple[float, ...]:
        """The config's threshold of each layer that has a predictor."""
        return layer_thresholds(self._skim_config.thresholds, self.skim_layers)

    @property
    def pruned_heads(self) -> PrunedHeads:
        """Attention heads that were removed by layer, both counted from 1 as they were when all were there."""
        return dict(self._pruned_heads)

    def heads_of(self, layer: int) -> tuple[int, ...]:
        """Numbers of the attention heads that a layer has, in the order of its channels; layers count from 1."""
        return heads_left(self._pruned_heads, layer, self.config.encoder_config.num_attention_heads)

    def prune_heads(self, heads: Mapping[int, Sequence[int]]) -> None:
        """Remove attention heads for good, and with them what predictors see of them.

        Dense logits are then those of the model with the output of these heads multiplied by zero. Of predictors that
        is true where only a linear layer reads what heads gave (input ``question``, with features of 0); others are
        near what they were, and all of them want some more training.

        Args:
            heads: which, by layer; both counted from 1 as they were when all heads were there.

        Raises:
            ConfigError: there is no such layer or head, it is gone already, or a layer would lose its last head.
            ModelError: the family's layers can't lose heads.
        """
        layers = self.adapter.layers(self.encoder)
        before = [self.adapter.dims(layer) for layer in layers]
        for number, keep in self._lose_heads(read_pruned_heads(heads)).items():
            prune_layer(self.adapter, layers[number - 1], keep)
            if str(number) in self.predictors:
                predictor: Any = self.predictors[str(number)]
                smaller = prune_predictor(predictor, self._skim_config, before[number - 1], keep)
                self.predictors[str(number)] = smaller
        self.config.pruned_heads = {layer: list(numbers) for layer, numbers in self._pruned_heads.items()}
        self._cost = self._count_cost()
        self.clear_prepared()

    def _lose_heads(self, more: PrunedHeads) -> dict[int, list[int]]:
        """Take heads off the account; places of those that stay among those that were there, of each layer concerned.

        Raises:
            ConfigError: there is no such layer or head, it is gone already, or a layer would lose its last head.
            ModelError: the family's layers can't lose heads.
        """
        if not more:
            return {}
        layers = self.adapter.layers(self.encoder)
        heads = self.config.encoder_config.num_attention_heads
        merged = add_pruned_heads(self._pruned_heads, more, len(layers), heads)
        check_prunable(self.adapter, layers)
        places = {
            layer: [place for place, number in enumerate(self.heads_of(layer)) if number not in gone]
            for layer, gone in more.items()
        }
        self._pruned_heads = merged
        return places

    def places_in_bias(self) -> dict[int, list[int]]:
        """Places of the heads of pruned layers, counted from 0, where a position bias is made for all heads.

        Empty for a family without a position bias.
        """
        if self.adapter.position_bias is None:
            return {}
        return {layer: [number - 1 for number in self.heads_of(layer)] for layer in self._pruned_heads}

    def train(self, mode: bool = True) -> Self:
        """Go into training mode, or out of it; in training, what was made ready for inference is only in the way."""
        if mode:
            self.clear_prepared()
        return super().train(mode)

    def _count_cost(self) -> ModelCost:
        return model_cost(self.encoder, self.adapter, linears_in([self.qa_transform, self.qa_outputs]))

    def clear_prepared(self) -> None:
        """Free what was made ready for inference."""
        self._prepared_layers.clear()
        self._prepared_predictors.clear()

    def prepare(self) -> int:
        """Make the layers ready for inference now; otherwise the first call of ``skim`` does.

        Kernels want weights in a layout of their own. That is a second copy of those of the encoder's layers, which
        ``train()`` and a forward pass with gradients free. It is made anew when weights change, but not when they do
        so through ``.data``, of which PyTorch keeps no account; ``train()`` helps there, too.

        Returns:
            Its size in bytes.
        """
        self._prepared_layers.of(self.encoder, self.adapter)
        return self._prepared_layers.num_bytes

    @property
    def backbone(self) -> Backbone:
        """The encoder with what is needed to run it layer by layer."""
        return Backbone(self.encoder, self.adapter, self.adapter.layers(self.encoder), self.places_in_bias())

    @property
    def cost(self) -> ModelCost:
        """Arithmetic of each part a token."""
        return self._cost

    @classmethod
    def from_backbone(
        cls, backbone: str | Path | PreTrainedModel, skim_config: SkimConfig | None = None, **kwargs: Any
    ) -> Self:
        """Attach new skim predictors to a transformers checkpoint.

        A question-answering checkpoint gives its QA head too; with any other encoder the head is new.

        Args:
            backbone: a directory, a hub id, or a model.
            skim_config: the skim settings; the defaults when None.
            **kwargs: for transformers' ``from_pretrained``.

        Raises:
            ModelError: there is no such model, it has no safetensors weights, or its family is not supported.
            ConfigError: the skim settings don't fit the model.
        """
        skim = skim_config or SkimConfig()
        source = backbone if isinstance(backbone, PreTrainedModel) else load_source(backbone, kwargs)
        encoder: Any = source.base_model
        adapter_for(encoder.config.model_type)
        pruned = source.pruned_heads if isinstance(source, BlockSkimForQuestionAnswering) else None
        config = BlockSkimConfig(encoder_config=encoder.config, skim=skim.to_dict(), pruned_heads=pruned)
        model = cls(config)
        weights = encoder.state_dict()
        expected = model.encoder.state_dict()
        missing = [name for name in expected if name not in weights]
        if missing:
            raise ModelError(f"the checkpoint has no weight {missing[0]!r} for its encoder")
        model.encoder.load_state_dict({name: weights[name] for name in expected})
        model.copy_qa_head(source)
        nn.Module.to(model, dtype=source.dtype)
        return model

    def copy_qa_head(self, source: PreTrainedModel) -> None:
        """Copy the QA head of a model that has one."""
        if "QuestionAnswering" not in type(source).__name__:
            return
        head = QaHead(transform="qa_transform") if isinstance(source, type(self)) else self.adapter.qa_head
        outputs, transform = (getattr(source, name or "", None) for name in (head.outputs, head.transform))
        if isinstance(outputs, nn.Linear) and outputs.out_features == 2:
            self.qa_outputs.load_state_dict(outputs.state_dict())
            if self.qa_transform is not None and transform is not None:
                self.qa_transform.load_state_dict(transform.state_dict())

    @classmethod
    def from_pretrained(cls, name_or_path: str | Path, *args: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        """Load a model that ``save_pretrained`` wrote, from safetensors only.

        Raises:
            ModelError: there is no such model, it is no Block-Skim model, or some of its weights are missing (pickle
                files are refused).
        """
        hub = {name: kwargs[name] for name in HUB_ARGUMENTS if name in kwargs}
        if not is_block_skim(name_or_path, **hub):
            raise ModelError(
                f"{name_or_path} is no Block-Skim model; BlockSkimForQuestionAnswering.from_backbone makes one of it"
            )
        wants_info = kwargs.pop("output_loading_info", False)
        loader: Any = super()
        try:
            model, info = loader.from_pretrained(
                name_or_path, *args, **{**kwargs, "use_safetensors": True, "output_loading_info": True}
            )
        except ConfigError as error:
            raise ModelError(f"{name_or_path}: config.json: {error}") from error
        except LOADING_ERRORS as error:
            raise ModelError(f"{name_or_path}: {_first_line(error)}") from error
        missing = sorted(info["missing_keys"])
        if missing:
            # transformers would fill in random ones.
            raise ModelError(
                f"{name_or_path}: the weights lack {missing[0]!r} ({len(missing)} missing), which config.json calls for"
            )
        return (model, info) if wants_info else model

    def save_pretrained(self, save_directory: str | Path, **kwargs: Any) -> None:  # type: ignore[override]
        """Write config and weights (safetensors), the skim settings as they are now included."""
        self.config.skim = self._skim_config.to_dict()
        super().save_pretrained(save_directory, **kwargs)

    def layout(self, attention_mask: Tensor, context_mask: Tensor) -> BlockLayout:
        """The blocks of a batch under this model's settings. Shapes: (batch, tokens) each."""
        return block_layout(attention_mask, context_mask, self._skim_config.block_size, self._skim_config.alignment)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        context_mask: Tensor | None = None,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        skim_labels: Tensor | None = None,
        thresholds: float | Sequence[float] | None = None,
        return_dict: bool | None = None,
        head_masks: Mapping[int, Tensor] | None = None,
        output_hidden_states: bool = False,
    ) -> BlockSkimOutput:
        """Run all layers on all tokens and let every predictor judge every block.

        Args:
            input_ids: Shape: (batch, tokens)
            attention_mask: 1 on real tokens; all when None. Shape: (batch, tokens)
            token_type_ids: Shape: (batch, tokens)
            context_mask: 1 on context tokens; without it no predictor is asked. Shape: (batch, tokens)
            start_positions: first token of the answer, or of every annotated answer, -1 for none; the first is what
                the QA loss is about. Shape: (batch,) or (batch, answers)
            end_positions: last token, inclusive. Same shape.
            skim_labels: 1 relevant, 0 irrelevant, -100 not droppable; made from the positions when None.
                Shape: (batch, blocks)
            thresholds: drop blocks as inference does, but none that is relevant: a number for all layers, or a sequence
                with one a layer. None: drop nothing.
            return_dict: accepted for the sake of transformers' Trainer; the result always has names.
            head_masks: factors on what each attention head gives, by layer number. Shape: (batch or 1, heads) each
            output_hidden_states: whether to return hidden states and attention output of every layer.

        Returns:
            Losses as far as there are labels, and logits.

        Raises:
            ModelError: skim_labels are not those of the batch, or there are thresholds without a context_mask.
            ConfigError: a threshold is impossible.
        """
        if torch.is_grad_enabled():
            # Weights are about to change, and fused optimizers leave no trace of it.
            self.clear_prepared()
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        if thresholds is not None and context_mask is None:
            raise ModelError("thresholds need context_mask, 1 on context tokens, to know what may be dropped")
        # Predictors that nothing is to be learned about need not be asked, and need no attention matrix.
        config = self._skim_config
        factors = layer_factors(config.skim_factor, self.skim_layers)
        idle = self.training and thresholds is None and not any(factors) and not config.teaching_factor
        layout = None if context_mask is None or idle else self.layout(attention_mask, context_mask)
        labels = None if layout is None else _labels(layout, config, skim_labels, start_positions, end_positions)
        dropping = None if layout is None or thresholds is None else self._dropping(layout, labels, thresholds)
        result = encode_dense(
            self.backbone,
            self._predictors(),
            PaddedInputs(input_ids, attention_mask, token_type_ids, context_mask),
            layout,
            dropping,
            head_masks,
            output_hidden_states,
        )
        start_logits, end_logits = self.answer_logits(result.hidden).unbind(-1)
        if thresholds is not None:
            gone = attention_mask.bool() & ~result.mask
            start_logits, end_logits = (part.masked_fill(gone, -torch.inf) for part in (start_logits, end_logits))
        output = BlockSkimOutput(start_logits=start_logits, end_logits=end_logits)
        if output_hidden_states:
            output.hidden_states, output.attention_outputs = result.states, result.attended
        parts = []
        if start_positions is not None and end_positions is not None:
            starts, ends = (
                positions.reshape(len(positions), -1)[:, 0].clamp_min(-1)
                for positions in (start_positions, end_positions)
            )
            output.qa_loss = span_loss(start_logits, end_logits, result.mask, starts, ends)
            parts.append(output.qa_loss)
        if layout is not None:
            parts += self._judge(output, layout, result, labels, factors)
        if parts:
            output.loss = torch.stack(parts).sum()
        return output

    @torch.inference_mode()
    def skim(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        context_mask: Tensor | None = None,
        thresholds: float | Sequence[float] | None = None,
        documents: Tensor | None = None,
        score_all_layers: bool = False,
    ) -> SkimOutput:
        """Run the layers on what is left after each, dropping blocks that predictors find irrelevant.

        Every sample keeps its own blocks: the result is the same alone and in any batch, however padded.

        Args:
            input_ids: Shape: (batch, tokens)
            attention_mask: 1 on real tokens; all when None. Shape: (batch, tokens)
            token_type_ids: Shape: (batch, tokens)
            context_mask: 1 on context tokens, the ones that may be dropped. Shape: (batch, tokens)
            thresholds: None for the config's; a number for all layers; a sequence with one a layer. 0 keeps all.
            documents: the document of each sample, numbered from 0, when several samples are windows of one document:
                at least one block of a document survives, instead of one of each sample. Shape: (batch,)
            score_all_layers: ask also the predictors of layers whose threshold is 0, for the record in the trace.

        Returns:
            Logits in input coordinates, -inf where dropped, and the trace.

        Raises:
            ModelError: context_mask is missing while there is something to skim, or the model is in training mode.
            ConfigError: a threshold is impossible.
        """
        active = self._active_thresholds(thresholds, score_all_layers)
        if context_mask is None:
            if active:
                raise ModelError("skim() needs context_mask, 1 on context tokens, to know what may be dropped")
            context_mask = torch.zeros_like(input_ids)
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        padded = {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "context_mask": context_mask,
            "token_type_ids": token_type_ids,
        }
        packed, first = pack_padded(padded, documents)
        return self._skim(packed, first, input_ids.shape[1], active)

    @torch.inference_mode()
    def skim_packed(
        self,
        inputs: PackedInputs,
        thresholds: float | Sequence[float] | None = None,
        score_all_layers: bool = False,
    ) -> SkimOutput:
        """Do what ``skim`` does, on samples that were never padded.

        Args:
            inputs: the samples.
            thresholds: None for the config's; a number for all layers; a sequence with one per layer. 0 keeps all.
            score_all_layers: ask also the predictors of layers whose threshold is 0, for the record in the trace.

        Returns:
            Logits by the place of a token in its sample, as wide as the longest sample, and the trace.

        Raises:
            ModelError: the model is in training mode.
            ConfigError: a threshold is impossible.
        """
        active = self._active_thresholds(thresholds, score_all_layers)
        return self._skim(
            inputs, np.zeros(len(inputs.lengths), dtype=np.int64), int(inputs.lengths.max(initial=0)), active
        )

    def _active_thresholds(
        self, thresholds: float | Sequence[float] | None, score_all_layers: bool
    ) -> dict[int, float]:
        """The threshold of each layer whose predictor is to be asked, by layer number."""
        if self.training:
            raise ModelError("skim() is for inference, but the model is in training mode; call model.eval() first")
        values = self.thresholds if thresholds is None else layer_thresholds(thresholds, self.skim_layers)
        by_layer = dict(zip(self.skim_layers, values, strict=True))
        return {number: value for number, value in by_layer.items() if value > 0 or score_all_layers}

    def _skim(self, inputs: PackedInputs, first: Ints, width: int, thresholds: Mapping[int, float]) -> SkimOutput:
        """Skim packed samples; the result is ``width`` wide, with the first token of each sample at ``first``."""
        config = self._skim_config
        spans = (np.zeros_like(inputs.lengths), inputs.lengths, inputs.context_starts, inputs.context_lengths)
        layout = blocks_of_spans(*spans, config.block_size, config.alignment)
        skimmers = Skimmers(
            self._prepared_layers.of(self.encoder, self.adapter),
            self._prepared_predictors.of(self._predictors()),
            thresholds,
        )
        result = encode_ragged(self.backbone, skimmers, inputs, layout)
        # In float32, which costs nothing for two outputs: answers are told apart by small differences.
        head = self.qa_outputs
        logits = F.linear(self._transformed(result.hidden).float(), head.weight.float(), head.bias.float())
        samples = np.repeat(np.arange(len(inputs.lengths)), inputs.lengths)
        places = samples * width + np.arange(len(samples)) - (inputs.bounds[:-1] - first)[samples]
        full = torch.full((len(inputs.lengths) * width, 2), -torch.inf, device=logits.device)
        full[torch.from_numpy(places[result.tokens]).to(logits.device)] = logits
        start_logits, end_logits = full.view(len(inputs.lengths), width, 2).unbind(-1)
        shifted = layout.shifted(torch.from_numpy(first)) if first.any() else layout
        trace = trace_of(result, shifted, inputs, thresholds, self._predictor_costs(inputs), self.cost)
        return SkimOutput(start_logits=start_logits, end_logits=end_logits, trace=trace)

    def answer_logits(self, hidden: Tensor) -> Tensor:
        """Start and end logits of states that left the encoder. Shapes: (..., hidden) to (..., 2)."""
        logits: Tensor = self.qa_outputs(self._transformed(hidden))
        return logits

    def _transformed(self, hidden: Tensor) -> Tensor:
        """What the QA head's last layer gets. Shape: (..., hidden)."""
        return hidden if self.qa_transform is None else self.qa_transform(hidden)

    def _predictors(self) -> dict[int, Any]:
        return {int(number): predictor for number, predictor in self.predictors.items()}

    def _dropping(self, layout: BlockLayout, labels: Tensor | None, thresholds: float | Sequence[float]) -> Dropping:
        values = layer_thresholds(thresholds, self.skim_layers)
        protected = torch.zeros_like(layout.droppable) if labels is None else labels == 1
        return Dropping(dict(zip(self.skim_layers, values, strict=True)), protected[layout.droppable])

    def _judge(
        self,
        output: BlockSkimOutput,
        layout: BlockLayout,
        result: DenseResult,
        labels: Tensor | None,
        factors: Sequence[float],
    ) -> list[Tensor]:
        """Fill in the predictors' logits and, with labels, the skim loss; returns what of it is part of the loss."""
        shape = (layout.droppable.shape[0], len(self.skim_layers), layout.droppable.shape[1], 2)
        full = torch.full(shape, torch.nan, device=layout.droppable.device)
        for index, number in enumerate(self.skim_layers):
            if number in result.skim_logits:
                opinions = full.new_full((len(result.present[number]), 2), torch.nan)
                opinions[result.present[number]] = result.skim_logits[number].detach().float()
                full[:, index][layout.droppable] = opinions
        output.skim_logits = full
        if labels is None:
            return []
        output.skim_labels = labels
        config = self._skim_config
        targets = soften_labels(labels, config.neighbor_relevance)[layout.droppable]
        losses = {
            number: block_loss(part, targets[result.present[number]], config.balance_factor)
            for number, part in result.skim_logits.items()
        }
        output.skim_loss = torch.stack(list(losses.values())).sum() if losses else full.new_zeros(())
        weights = dict(zip(self.skim_layers, factors, strict=True))
        parts = [weights[number] * loss for number, loss in losses.items()]
        if config.teaching_factor:
            output.teaching_loss = self._teach(result, full)
            parts.append(config.teaching_factor * output.teaching_loss)
        return parts

    def _teach(self, result: DenseResult, blank: Tensor) -> Tensor:
        """The last predictor's opinions of the blocks that it saw, taught to all before it."""
        if len(result.skim_logits) < 2:
            return blank.new_zeros(())
        *pupils, last = sorted(result.skim_logits)
        seen = result.present[last]
        return torch.stack(
            [
                teaching_loss(result.skim_logits[number][seen[result.present[number]]], result.skim_logits[last])
                for number in pupils
            ]
        ).sum()

    def _predictor_costs(self, inputs: PackedInputs) -> Mapping[int, Sequence[PredictorCost]]:
        """What each predictor costs on each sample, by layer number."""
        questions = inputs.question_exists.sum(-1).tolist()
        costs = {}
        for number in self.skim_layers:
            dims = self.backbone.dims(number)
            by_length = {count: predictor_cost(self._skim_config, dims, count) for count in set(questions)}
            costs[number] = [by_length[count] for count in questions]
        return costs


def _predictor_layers(config: SkimConfig, adapter: EncoderAdapter, layers: Sequence[nn.Module]) -> tuple[int, ...]:
    """Numbers of the layers that have a predictor."""
    window = adapter.window
    if window is None:
        return config.resolve_layers(len(layers))
    # A layer that sees its neighbours alone has found out little about the question.
    everywhere = [number for number, layer in enumerate(layers, start=1) if window(layer) is None]
    return config.resolve_layers(len(layers), everywhere)


def _labels(
    layout: BlockLayout,
    config: SkimConfig,
    labels: Tensor | None,
    start_positions: Tensor | None,
    end_positions: Tensor | None,
) -> Tensor | None:
    """The labels of a batch's blocks, given or made from positions; None when there is neither."""
    if labels is None and start_positions is not None and end_positions is not None:
        labels = relevance_labels(layout, start_positions, end_positions)
    if labels is None:
        return None
    if labels.shape != layout.droppable.shape:
        raise ModelError(
            f"skim_labels has the shape {tuple(labels.shape)}, but this batch has {tuple(layout.droppable.shape)} "
            f"blocks of {layout.block_size} tokens ({config.alignment} alignment)"
        )
    return labels.masked_fill(~layout.droppable, -100)


def check_loadable(name_or_path: str | Path) -> None:
    """Raise ModelError when a local directory lacks a config or safetensors weights."""
    directory = Path(name_or_path)
    if not directory.exists():
        if directory.is_absolute() or str(name_or_path).startswith((".", "~")) or str(name_or_path).count("/") != 1:
            raise ModelError(f"{name_or_path}: no such model directory")
        return
    if directory.is_file():
        raise ModelError(f"{name_or_path} is a file; a model is a directory with config.json and model.safetensors")
    if not (directory / "config.json").is_file():
        raise ModelError(f"{name_or_path} has no config.json; it is no model directory")
    if not any(directory.glob("*.safetensors")):
        pickles = sorted(path.name for path in directory.iterdir() if path.suffix in (".bin", ".pt", ".pth", ".ckpt"))
        why = f"only {pickles[0]}, a pickle file, which is not read as it can run code" if pickles else "no weights"
        raise ModelError(f"{name_or_path} has {why}; convert the weights to model.safetensors")


def is_block_skim(name_or_path: str | Path, **kwargs: Any) -> bool:
    """Whether a model directory or hub id holds a Block-Skim model (and not another transformers checkpoint).

    Keyword arguments are for reading from the hub.

    Raises:
        ModelError: there is no such model.
    """
    check_loadable(name_or_path)
    try:
        return bool(AutoConfig.from_pretrained(name_or_path, **kwargs).model_type == BlockSkimConfig.model_type)
    except ConfigError as error:
        raise ModelError(f"{name_or_path}: config.json: {error}") from error
    except LOADING_ERRORS as error:
        raise ModelError(f"{name_or_path}: {_first_line(error)}") from error


def load_source(backbone: str | Path, kwargs: dict[str, Any]) -> PreTrainedModel:
    """Load a checkpoint of transformers with its QA head where it has one; ``kwargs`` are for ``from_pretrained``.

    Raises:
        ModelError: there is no such model, it has no safetensors weights, or its family is not supported.
    """
    check_loadable(backbone)
    try:
        config = AutoConfig.from_pretrained(backbone)
    except LOADING_ERRORS as error:
        raise ModelError(f"{backbone}: {_first_line(error)}") from error
    adapter_for(config.model_type)
    answers = any("QuestionAnswering" in name for name in config.architectures or [])
    loader = AutoModelForQuestionAnswering if answers else AutoModel
    try:
        source: PreTrainedModel = loader.from_pretrained(backbone, **{"use_safetensors": True, **kwargs})
    except LOADING_ERRORS as error:
        raise ModelError(f"{backbone}: {_first_line(error)}") from error
    return source


def _encoder_from_config(config: PreTrainedConfig) -> PreTrainedModel:
    """The bare encoder, without the pooling layer that QA never uses."""
    encoder: PreTrainedModel
    try:
        encoder = AutoModel.from_config(copy.deepcopy(config), add_pooling_layer=False)
    except TypeError:
        encoder = AutoModel.from_config(copy.deepcopy(config))
    return encoder


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


AutoModelForQuestionAnswering.register(BlockSkimConfig, BlockSkimForQuestionAnswering)
